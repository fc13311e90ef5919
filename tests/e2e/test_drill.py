"""Drills through the real command: a sample of each family, a small storm, the simulation."""

import os
import re
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest

from bot.failpoints import POINTS
from bot.lab.drills import ALL
from tests.e2e.botctl import BOTCTL, answer, botctl, lab, plain

#: One of each kind that the others are like; `botctl drill --all` plays every one.
SAMPLE = {
    "kill": "decide.committed.lost post.sent.lost recovery.begun.arrives supervisor everything",
    "answers": "ten_lost frozen",
    "orders": "killed_reply delayed failed_exit drained closed_position",
    "storage": "locked corrupt",
    "accounts": "moved old_backup_late",
    "operator": "halt down restore_live",
    "exits": "closed.halted ended.half restart.full thin.tenth unmined.full",
    "streams": "user.silent",
    "feeds": "dropped stream_alone provider_omits",
    "leaders": "merge transfer",
    "hung": "inside.monitor",
    "loop": "slow",
    "guards": "survive",
    "clock": "back",
}


#: What workers do there is seen by no test of parts, so coverage counts their workers as well.
WHOLE = {"storage"}


@pytest.mark.parametrize("family", SAMPLE)
def test_a_sample_of_every_family_passes(family):
    names = [f"{family}.{name}" for name in SAMPLE[family].split()]
    play = partial(botctl, counted=True) if family in WHOLE else lab
    process = play("drill", *names, "--json", timeout=1800)
    found = answer(process)
    assert {d["name"]: d["found"] for d in found["drills"] if not d["passed"]} == {}
    assert found["ok"] and process.returncode == 0
    assert {d["name"] for d in found["drills"]} == set(names)
    assert all(d["duplicates"] == d["lost"] == 0 for d in found["drills"])
    if family == "kill":
        assert found["kills"] >= len(names)
        assert all(d["recovered_s"] > 0 for d in found["drills"])


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may mount: tests/e2e/test_root.py plays these drills"
)
def test_what_needs_root_is_named_and_not_failed():
    alone = botctl("drill", "storage.full", "storage.read_only")
    assert alone.returncode == 2
    assert "storage.full, storage.read_only mounts a small disk, which takes root" in alone.stderr
    found = answer(botctl("drill", "storage.schema", "storage.full", "--json", timeout=600))
    assert found["ok"] and [d["name"] for d in found["drills"]] == ["storage.schema"]
    assert found["left_out"] == ["storage.full"]


def test_an_interrupted_drill_leaves_neither_process_nor_folder():
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        process = subprocess.Popen(
            [BOTCTL, "drill", "kill.post.sent"],
            env={**plain(), "TMPDIR": folder},
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not (found := list(Path(folder).glob("copybot-*/run/executor.sock"))):
            assert time.monotonic() < deadline, "the workers never started"
            time.sleep(0.05)
        pids = {
            int(p.parent.name)
            for p in Path("/proc").glob("[0-9]*/environ")
            if folder.encode() in _bytes(p)
        }
        process.terminate()
        assert process.wait(timeout=120) == 130
        assert found and pids
        assert list(Path(folder).iterdir()) == []
        assert not [
            p
            for p in pids
            if p != process.pid and folder.encode() in _bytes(Path(f"/proc/{p}/environ"))
        ]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_every_failpoint_is_drilled_with_both_answers():
    found = answer(botctl("drill", "--list", "--json"))
    names = {d["name"] for d in found["drills"]}
    assert found["failpoints"] == POINTS
    # A cancel and a settlement wait for no answer to a POST.
    answered = {p for p in POINTS if not p.startswith("cancel.") and p != "settle.written"}
    assert {f"kill.{point}.arrives" for point in POINTS} <= names
    assert {f"kill.{point}.lost" for point in answered} <= names
    assert len(names) >= 60


def test_every_drill_that_the_readme_names_exists():
    lines = (Path(__file__).parents[2] / "README.md").read_text().splitlines()
    named = [
        word
        for line in lines
        for command in re.findall(r"botctl drill ([^`#|]+)", line)
        for word in command.split()
        if re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", word)
    ]
    known = [drill.name for drill in ALL]
    assert len(named) > 30
    assert [
        n for n in named if not any(name == n or name.startswith(f"{n}.") for name in known)
    ] == []


def test_kills_under_load_lose_nothing_and_buy_nothing_twice():
    process = lab("drill", "--storm", "--kills", "24", "--seed", "40", "--json")
    found = answer(process)
    assert found["ok"], found
    assert process.returncode == 0
    assert found["kills"] >= 24 and found["duplicates"] == found["lost"] == 0
    assert found["ledger_matches_venue"] is True
    assert found["orders"] > 0


def test_the_simulation_repeats_by_its_seed():
    first, second = (
        answer(botctl("drill", "--virtual", "--orders", "120", "--seed", "9", "--json"))
        for _ in range(2)
    )
    assert first == second
    assert first["ok"], first
    assert first["orders"] >= 120 and first["faults"]["deaths"] > 0


def test_broken_laws_are_caught():
    found = answer(lab("drill", "sabotage", "--json"))
    assert found["ok"], "each passes where the checker notices"
    assert len(found["drills"]) == 4


def test_sabotage_fails_the_simulation_and_prints_its_seed():
    process = botctl("drill", "--sabotage", "re_sign", "--orders", "60", "--seed", "11")
    assert process.returncode == 1
    assert "twice" in process.stdout and "seed 11" in process.stdout and "FAIL" in process.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name one, or a family"),
        (("nothing.like.this",), "no drill begins with 'nothing.like.this'"),
        (("--sabotage", "everything"), "--sabotage: expected one of re_sign"),
        (("--storm", "--kills", "0"), "--kills"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    process = botctl("drill", *arguments)
    assert process.returncode == 2
    assert message in process.stderr
