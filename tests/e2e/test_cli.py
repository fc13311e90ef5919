"""botctl end to end: a live bot against the simulated exchange, under a real supervisord."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from bot.ledger.files import migrate
from tests.e2e.botctl import BOTCTL, answer, botctl, plain

PATIENCE_S = 120


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(1)  # each look is a program of its own
    return found


@pytest.fixture
def home():
    # Short: socket paths are limited, and pytest's folders are long.
    path = Path(tempfile.mkdtemp(prefix="e2e-"))
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def exchange(*arguments):
    process = subprocess.Popen(
        [BOTCTL, "sim", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=plain(),
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        assert process.wait(timeout=60) == 0


def configure(home, addresses, extra=""):
    key = home / "key"
    key.touch(0o600)
    key.write_text(addresses["private_key"])
    names = ("clob_url", "market_ws_url", "user_ws_url", "data_url", "gamma_url", "rtds_url")
    lines = [
        'mode = "live"',
        "[venue]",
        *(f'{n} = "{addresses[n]}"' for n in names),
        "[account]",
        "signature_type = 0",
    ]
    lines += [f'key_file = "{key}"', "[detect]", "poll_s = 1", extra]
    for i, wallet in enumerate(addresses["leaders"]):
        lines += ["[[leaders]]", f'wallet = "{wallet}"', f'label = "leader {i}"']
    path = home / "config.toml"
    path.write_text("\n".join(lines))
    return ("--home", home, "--config", path)


LIVE = {"BOT_I_UNDERSTAND": "live"}


@pytest.fixture
def bot(home):
    """A running bot that has decided on a few trades."""
    with exchange() as addresses:
        where = configure(home, addresses)
        started = botctl("up", *where, counted=True, **LIVE)
        assert started.returncode == 0, started.stderr
        try:
            until(
                lambda: answer(botctl("status", "--json", *where))["today"]["copied"] >= 3,
                "trades are copied",
            )
            yield where
        finally:
            botctl("down", *where)


def test_a_running_bot_is_seen_steered_and_stopped(bot):
    status = botctl("status", *bot)
    assert status.returncode == 0, status.stdout
    assert status.stdout.startswith("copybot live · RUNNING · following 4 wallets")

    second = botctl("up", *bot, **LIVE)
    assert second.returncode == 78
    assert "already running" in second.stderr

    assert "paused" in botctl("pause", "--for", "2h", "--reason", "lunch", *bot).stdout
    now = answer(botctl("status", "--json", *bot))
    said = (now["control"], now["control_reason"], now["control_actor"])
    assert said == ("paused", "lunch", "operator")
    assert botctl("halt", *bot).returncode == 0
    refused = botctl("pause", *bot)
    assert (
        refused.returncode == 2
        and "stays halted" in refused.stderr
        and "does not soften" in refused.stderr
    )
    unsure = botctl("resume", *bot)
    assert unsure.returncode == 2 and "--yes" in unsure.stderr
    assert botctl("resume", "--yes", *bot).returncode == 0

    trades = answer(botctl("trades", "--json", *bot))["trades"]
    copied = next(t for t in trades if t["verdict"] == "copied")
    steps = [s["step"] for s in answer(botctl("why", copied["tx"], "--json", *bot))["steps"]]
    assert steps[0] == "seen" and {"queued", "copied", "signed", "posted"} <= set(steps)
    assert "copied" in botctl("why", copied["tx"][:20], *bot).stdout

    leaders_come_and_go(bot)
    secrets_are_nowhere(bot[1])

    stopped = botctl("down", *bot)
    assert stopped.returncode == 0, stopped.stderr
    assert botctl("down", *bot).returncode == 4
    readable_when_dead(bot)


def leaders_come_and_go(bot) -> None:
    followed = answer(botctl("status", "--json", *bot))["following"]
    wrong = botctl("follow", "0x" + "zz" * 20, *bot)
    assert wrong.returncode == 2 and "40 hex digits" in wrong.stderr
    unknown = botctl("mute", "nobody", *bot)
    assert unknown.returncode == 2 and "botctl leaders" in unknown.stderr
    said = botctl("follow", "0x" + "12" * 20, "--label", "new one", *bot)
    assert said.returncode == 0 and "new one: followed" in said.stdout, said.stderr
    assert botctl("mute", "leader 1", *bot).returncode == 0

    def following(number: int) -> bool:
        return answer(botctl("status", "--json", *bot))["following"] == number

    until(lambda: following(followed + 1), "it is followed without a restart")
    assert "muted" in botctl("leaders", *bot).stdout
    assert botctl("unfollow", "new one", *bot).returncode == 0
    until(lambda: following(followed), "and no more")


def secrets_are_nowhere(home: Path) -> None:
    key = (home / "key").read_text().removeprefix("0x")
    for path in home.rglob("*"):
        if path.is_file() and path.name != "key":
            content = path.read_bytes()
            assert key.encode() not in content and bytes.fromhex(key) not in content, path
            assert path.name == "config.toml" or path.stat().st_mode & 0o077 == 0, path
    for worker, pid in pids(home).items():
        assert key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{pid}/environ")
        if worker == "executor" and os.geteuid() != 0:
            # Non-dumpable: not even its own user looks inside. tests/e2e/test_root.py does.
            with pytest.raises(PermissionError):
                environment.read_bytes()
        else:
            assert key.encode() not in environment.read_bytes()


def pids(home: Path) -> dict[str, int]:
    """Return the process of every worker."""
    return {
        w["worker"]: w["pid"] for w in answer(botctl("status", "--json", "--home", home))["workers"]
    }


def readable_when_dead(bot) -> None:
    dead = botctl("status", *bot)
    assert dead.returncode == 3
    assert "NOT RUNNING" in dead.stdout and "botctl up starts it" in dead.stdout
    for verb in ("positions", "orders", "trades", "daily", "leaders"):
        for flags in ((), ("--json",)):
            process = botctl(verb, *flags, *bot, counted=True)
            assert process.returncode == 0, process.stderr
            assert process.stdout
            assert "\x1b" not in process.stdout
    header, *rows = botctl("orders", "--full", *bot).stdout.splitlines()
    assert header.split("\t")[1] == "ORDER"
    assert all(len(row.split("\t")) == len(header.split("\t")) for row in rows)
    assert all(len(row.split("\t")[1]) == 66 for row in rows)
    assert "executor" in botctl("logs", "executor", "-n", "5", *bot).stdout
    with sqlite3.connect(bot[1] / "ledger-live.db") as ledger:
        assert (
            ledger.execute(
                "SELECT COUNT(*) FROM event WHERE kind = 'live.acknowledged'"
            ).fetchone()[0]
            == 1
        )
        assert ledger.execute("SELECT COUNT(*) FROM boot WHERE exit_code = 0").fetchone()[0] == 3
    ledger.close()


def test_a_hung_worker_is_noticed_and_restarted(home):
    with exchange() as addresses:
        where = configure(home, addresses, "[runtime]\nhung_s = 5")
        assert botctl("up", *where, **LIVE).returncode == 0
        try:
            hung = running("monitor", where)
            os.kill(hung, signal.SIGSTOP)
            until(lambda: running("monitor", where) not in (None, hung), "a new monitor")
        finally:
            assert botctl("down", *where).returncode == 0


def test_a_crash_loop_stops_entries_instead_of_spinning(home):
    with exchange() as addresses:
        where = configure(home, addresses, "[runtime]\ncrash_boots = 2")
        assert botctl("up", *where, counted=True, **LIVE).returncode == 0
        try:
            first = until(lambda: running("executor", where), "an executor")
            os.kill(first, signal.SIGKILL)
            second = until(lambda: (p := running("executor", where)) != first and p, "a restart")
            os.kill(second, signal.SIGKILL)
            now = until(
                lambda: (
                    (s := answer(botctl("status", "--json", *where)))["control"] == "paused" and s
                ),
                "the brake",
            )
            assert "crash_loop: executor" in now["control_reason"]
            assert now["control_until_us"] > now["control_since_us"], "it ends by itself"
            until(
                lambda: "the next attempt comes within 30 s" in botctl("status", *where).stdout,
                "the brake is told",
            )
        finally:
            botctl("down", *where)


def row_of(worker, where):
    found = answer(botctl("status", "--json", *where))["workers"]
    return next(w for w in found if w["worker"] == worker)


def running(worker, where):
    """Return the pid of a worker that is at work, or None."""
    row = row_of(worker, where)
    return row["pid"] if row["state"] == "running" else None


def test_a_bad_key_ends_the_start_at_once_and_says_why(home):
    with exchange() as addresses:
        where = configure(home, addresses)
        (home / "key").write_text("0x1234")
        refused = botctl("up", *where, counted=True, **LIVE)
        assert refused.returncode == 78
        assert "executor: private key from account.key_file" in refused.stderr
        assert "expected 64 hex digits, found 4 characters" in refused.stderr
        assert botctl("down", *where).returncode == 4, "nothing is left running"
        (home / "key").write_text(addresses["private_key"])
        assert botctl("up", *where, **LIVE).returncode == 0, (
            "what was mended is not held against it"
        )
        assert botctl("down", *where).returncode == 0


def test_live_refuses_failpoints_before_anything_starts(home):
    with exchange() as addresses:
        where = configure(home, addresses)
        refused = botctl("up", *where, **LIVE, BOT_FAILPOINTS=str(home))
        assert refused.returncode == 78
        assert "never armed in mode live" in refused.stderr
        assert not (home / "ledger-live.db").exists()


def test_a_worker_without_an_exchange_waits_and_is_not_called_running(home):
    with exchange() as addresses:
        where = configure(home, addresses)
    late = botctl("up", "--wait", "8", *where, **LIVE)
    try:
        assert late.returncode == 3 and "not running after 8 s" in late.stderr
        until(lambda: row_of("executor", where)["state"] == "waiting", "it says that it waits")
        now = answer(botctl("status", "--json", *where))
        assert now["exit_code"] == 3
        until(
            lambda: answer(botctl("status", "--json", *where))["alerts"],
            "an alert that nothing gets done",
        )
    finally:
        assert botctl("down", *where).returncode == 0


def test_a_key_in_the_environment_is_refused_under_supervisord(home):
    with exchange() as addresses:
        where = configure(home, addresses)
        refused = botctl("up", *where, **LIVE, BOT_PRIVATE_KEY=addresses["private_key"])
        assert refused.returncode == 78
        assert "BOT_PRIVATE_KEY: not under botctl up" in refused.stderr
        assert addresses["private_key"] not in refused.stderr + refused.stdout
        assert botctl("down", *where).returncode == 4, "nothing was started"


def test_live_needs_an_acknowledgement(home):
    where = configure(home, {
        n: "http://127.0.0.1:1" if n.endswith("url") and "ws" not in n and n != "rtds_url" else
        "ws://127.0.0.1:1" for n in ("clob_url", "market_ws_url", "user_ws_url", "data_url",
        "gamma_url", "rtds_url")} | {"private_key": "0x" + "11" * 32, "leaders": [
        "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"]})  # fmt: skip
    process = botctl("up", *where)
    assert process.returncode == 78
    assert "BOT_I_UNDERSTAND=live" in process.stderr
    assert not (home / "ledger-live.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("statsu",), 2, "did you mean status?"),
        (("frobnicate",), 2, "unknown verb"),
        (("status", "--nonsense"), 2, "No such option"),
        (("status",), 4, "no ledger in"),
        (("trades",), 4, "botctl up creates it"),
        (("down",), 4, "no supervisor answers"),
        (("logs",), 4, "no logs in"),
        (("logs", "nobody"), 2, "logs: expected one of"),
        (("why", "0x"), 4, "no ledger"),
        (("up",), 78, "no configuration"),
        (("config", "check", "--config", "/nonexistent.toml"), 78, "cannot be read"),
        (("pause", "--for", "soon"), 2, "--for: expected a time span"),
        (("sim", "--port", "99999999"), 2, "--port"),
        (("sim", "--scenario", "/nonexistent.json"), 78, "does not exist"),
    ],
)
def test_mistakes_are_named_in_one_line_with_their_code(home, arguments, code, message):
    process = botctl(*arguments, "--home", home)
    assert process.returncode == code, process.stderr
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    as_json = botctl(*arguments, "--json", "--home", home)
    assert as_json.returncode == code
    assert answer(as_json)["code"] == code


def test_a_port_in_use_is_refused():
    with exchange() as addresses:
        port = addresses["clob_url"].rsplit(":", 1)[1]
        process = botctl("sim", "--port", port)
        assert process.returncode == 78
        assert f"--port {port}" in process.stderr


def test_a_long_home_is_refused_before_anything_is_written(home):
    deep = home / ("x" * 90)
    with exchange() as addresses:
        where = configure(home, addresses)
        process = botctl("up", "--home", deep, *where[2:], **LIVE)
    assert process.returncode == 78
    assert "use a shorter --home" in process.stderr


def test_why_asks_for_more_when_it_cannot_tell(home):
    migrate(home / "ledger-live.db", "live")
    for ident, message in (
        ("0x12", "at least 6 characters"),
        ("0x123456", "nothing in the ledger"),
        ("' OR 1=1 --", "why: expected"),
    ):
        process = botctl("why", ident, "--home", home)
        assert process.returncode == 2
        assert message in process.stderr


def test_config_show_names_the_origin_of_every_value(home):
    path = home / "config.toml"
    path.write_text(
        'mode = "live"\n[account]\nsignature_type = 0\n'
        '[[leaders]]\nwallet = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"\n'
    )
    shown = answer(botctl("config", "show", "--json", "--config", path, BOT__RISK__MIN_SHARES="7"))[
        "config"
    ]
    assert shown["mode"]["origin"] == str(path)
    assert shown["risk.min_shares"]["origin"] == "BOT__RISK__MIN_SHARES"
    assert shown["risk.breaker_errors"]["origin"] == "default"
    assert botctl("config", "check", "--config", path).returncode == 0
    path.write_text("mode = 7")
    assert botctl("config", "check", "--config", path).returncode == 78


def test_version_and_help():
    assert botctl("version").stdout.startswith("copybot 0.")
    assert answer(botctl("version", "--json"))["schema"] == 1
    bare = botctl()
    assert bare.returncode == 0
    assert "botctl why" in bare.stdout


def test_reading_verbs_load_nothing_heavy():
    code = (
        "import sys; from bot.cli import main;"
        "heavy = {'sqlalchemy', 'web3', 'boto3', 'py_clob_client_v2', 'alembic', 'aiohttp'}"
        " & set(sys.modules); sys.exit(repr(heavy) if heavy else 0)"
    )
    process = subprocess.run(
        [str(BOTCTL.parent / "python"), "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
