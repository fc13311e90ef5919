"""Failpoints: named, one-shot, never armed where money is."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bot import failpoints
from bot.failpoints import POINTS, Injected

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(failpoints, "_folder", tmp_path)
    return tmp_path


def reached() -> set[str]:
    """Return every name that the code reaches, from its own text."""
    found = set()
    for path in [*ROOT.glob("bot/**/*.py"), *ROOT.glob("workers/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("failpoints.reach", "_reach")
            ):
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    found.add(name.value)
                elif isinstance(name, ast.JoinedStr):
                    suffix = name.values[-1].value
                    found |= {f"fill{suffix}", f"settlement{suffix}"}
    return found


def test_every_named_point_is_reached_and_every_reached_point_is_named():
    assert reached() == set(POINTS)


def test_nothing_happens_while_nothing_is_armed(folder):
    for name in POINTS:
        failpoints.reach(name)


def test_a_point_strikes_once(folder):
    (folder / "post.begun").write_text("raise")
    with pytest.raises(Injected, match=r"post\.begun"):
        failpoints.reach("post.begun")
    failpoints.reach("post.begun")


def test_always_strikes_again(folder):
    (folder / "post.begun").write_text("raise always")
    for _ in range(3):
        with pytest.raises(Injected):
            failpoints.reach("post.begun")


def struck(words: str, tmp_path) -> subprocess.Popen:
    (tmp_path / "post.begun").write_text(words)
    code = (
        "from pathlib import Path; from bot import failpoints as f;"
        f" f.arm(Path({str(tmp_path)!r})); f.reach('post.begun')"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


def test_kill_is_sigkill(tmp_path):
    assert struck("kill", tmp_path).wait(timeout=60) == -signal.SIGKILL


def test_stop_freezes_the_process(tmp_path):
    process = struck("stop", tmp_path)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.kill()
    process.wait(timeout=60)


def test_live_refuses_to_be_armed(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('mode = "live"\n[account]\nsignature_type = 0\n')
    environment = {
        **os.environ,
        "BOT_HOME": str(tmp_path),
        "BOT_CONFIG": str(config),
        failpoints.ENV: str(tmp_path),
    }
    process = subprocess.run(
        [sys.executable, "-m", "workers.monitor"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 78
    assert "never armed in mode live" in process.stdout
