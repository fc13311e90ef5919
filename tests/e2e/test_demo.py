"""The demo through the real command: sim, supervisord, three workers, verdict."""

import json
import random

import pytest

from tests.e2e.botctl import answer, botctl, lab
from tests.samples import SAMPLES, needs_shared

KEYS = {
    "ok", "leader_trades", "followups", "decisions", "copied", "skipped", "orders", "venue_orders",
    "duplicates", "lost", "ledger_matches_venue", "realized_pnl_usdc", "latency_ms", "memory_mb",
    "recovered_s",
}  # fmt: skip


def assert_pass(verdict: dict) -> None:
    assert verdict["ok"], verdict["problems"]
    assert verdict.keys() >= KEYS
    assert verdict["decisions"] == verdict["leader_trades"] + verdict["followups"]
    assert verdict["orders"] == verdict["venue_orders"]
    assert verdict["duplicates"] == verdict["lost"] == 0
    assert verdict["ledger_matches_venue"] is True
    assert set(verdict["memory_mb"]) == {"monitor", "executor", "health"}


def test_the_demo_passes_and_shows_every_kind_of_trade():
    process = botctl("demo", "--json", counted=True)
    verdict = answer(process)
    assert_pass(verdict)
    assert process.returncode == 0
    assert verdict["leader_trades"] >= 60
    assert {"too_small", "price_band", "opposite_held", "not_held"} <= set(verdict["skipped"])
    assert verdict["copied"] > 0
    assert verdict["latency_ms"]["detect_to_post"]["p50"] > 0


@pytest.mark.parametrize("worker", ["monitor", "executor", "health"])
def test_killing_a_worker_changes_nothing_in_the_verdict(worker):
    changed = ("--kill", worker, "--seed", "2", "--signature-type", "3")
    verdict = answer(botctl("demo", "--json", *changed))
    assert_pass(verdict)
    assert verdict["killed"] == worker
    assert verdict["recovered_s"] > 0


def test_the_summary_is_for_people():
    process = lab("demo", "--seed", "3")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "PASS" in process.stdout
    assert "\x1b" not in process.stdout + process.stderr


def session(repeats: int) -> list[dict]:
    def event(number: int, trader: str, size: float, side: str = "BUY", **more) -> dict:
        return {
            "trader": "0x" + trader * 40, "market_id": "0x" + "b" * 64, "token_id": "7",
            "outcome": "Up", "side": side, "price": 0.42, "size": size,
            "tx_hash": f"0x{number:064x}", "source_ts_ms": 1_787_107_543_000 + number * 900,
            "title": "A \x1b[31mred\x1b[0m title\u202e", "slug": "s", **more,
        }  # fmt: skip

    events = []
    for number in range(12):
        twin = event(number, "d", 40, "SELL")
        events += [event(number, "a", 120), twin, twin, event(number, "e", 40, "SELL")]
    events *= repeats
    random.Random(5).shuffle(events)
    return events


@pytest.mark.parametrize("follow", ["all", "0x" + "d" * 40])
def test_a_recorded_session_comes_out_exact_however_often_its_rows_repeat(tmp_path, follow):
    path = tmp_path / "feed.json"
    path.write_text(json.dumps({"events": session(3)}))
    verdict = answer(lab("demo", "--json", "--feed", path, "--follow", follow, "--repeat", "2"))
    assert_pass(verdict)
    totals = {(t["tx"], t["wallet"][2].lower(), t["side"]): t["shares"] for t in verdict["totals"]}
    expected = (
        {"d": ("SELL", "80")}
        if follow != "all"
        else {"a": ("BUY", "120"), "d": ("SELL", "80"), "e": ("SELL", "40")}
    )
    assert totals == {
        (f"0x{n:064x}", w, side): shares
        for n in range(12)
        for w, (side, shares) in expected.items()
    }


@needs_shared
def test_the_recorded_production_session_is_followed():
    feed = SAMPLES / "01_rtds_session_120_events_2026-08-19.json"
    verdict = answer(lab("demo", "--json", "--feed", feed, "--follow", "all"))
    assert_pass(verdict)
    truth: dict = {}
    for e in json.loads(feed.read_text())["events"]:
        key = (e["tx_hash"], e["trader"], e["token_id"], e["side"])
        truth[key] = truth.get(key, 0) + round(e["size"] * 1_000_000)
    assert {
        (t["tx"], t["wallet"].lower(), t["token"], t["side"]): t["shares_micros"]
        for t in verdict["totals"]
    } == truth
    assert len({tx for tx, *_ in truth}) == 49


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--kill", "nobody"), 2, "--kill: expected one of monitor, executor, health"),
        (("--feed", "/nonexistent.json"), 78, "cannot be read"),
        (("--trades", "5"), 2, "--trades"),
        (("--follow", "0x12"), 78, "trades nowhere in this session"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, code, message):
    process = botctl("demo", *arguments)
    assert process.returncode == code, process.stderr
    assert message in process.stderr
    assert len(process.stderr.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"events": [{"trader": "0x',
        '{"events": [{}]}',
        '{"events": [{"trader": 1}]}',
        "\x00\x01",
        '{"events": NaN}',
    ],
)
def test_a_bad_feed_is_refused_before_anything_starts(tmp_path, text):
    path = tmp_path / "feed.json"
    path.write_text(text)
    process = botctl("demo", "--feed", path, "--json")
    assert process.returncode == 78
    assert answer(process)["ok"] is False
    assert "Traceback" not in process.stderr


def test_the_benchmark_measures_what_users_meet():
    process = lab("bench", "--json", "--trades", "4", "--history", "10000")
    found = answer(process)
    assert process.returncode == (1 if found["missed"] else 0), "a budget missed is an error"
    assert found["ok"] is not bool(found["missed"])
    assert found["floors"]["sum_ms"] > 0
    names = ("cold", "warm", "burst", "fifty_makers")
    assert set(found["scenarios"]) == {*names, *(f"{name}_rtt30" for name in names)}
    for name, one in found["scenarios"].items():
        assert one["copied"] == one["asked"] > 0, name
        assert 0 < one["p50_ms"] <= one["p99_ms"], name
        assert 0 < one["copier_p50_ms"] < 30_000, f"{name}: the bare copier copied nothing"
        assert set(one["stages"]) == {"seen_to_signed", "signed_to_sent"}, name
    assert found["scenarios"]["warm"]["requests_before_post"] == 0
    assert found["scenarios"]["cold"]["requests_before_post"] > 0
    assert found["scenarios"]["cold_rtt30"]["copier_p50_ms"] > 30, "the way there counts"
    assert set(found["growth"]) >= {"store", "look", "decide", "health", "status"}


@pytest.mark.parametrize("source", ["chain", "rtds", "activity"])
def test_each_source_alone_is_enough_for_a_demo(source):
    verdict = answer(botctl("demo", "--source", source, "--json"))
    assert_pass(verdict)
    assert verdict["copied"] > 0


def test_many_leaders_in_a_crowd_are_all_seen():
    asked = ("--leaders", "1200", "--feed-rate", "60", "--seconds", "10")
    found = answer(lab("demo", *asked, "--json"))
    # So short a time proves nothing about what grows, or about cores.
    measured = ("memory went from", "the monitor took", "what waits grew")
    left = [p for p in found["problems"] if not any(word in p for word in measured)]
    assert left == []
    assert (found["leaders"], found["fills"]) == (1200, 600)
    assert found["leader_trades"] >= 20 and found["orders"] > 0
    assert (found["missed"], found["duplicates"], found["dropped"]) == (0, 0, 0)
    assert set(found["cpu_cores"]) == {"monitor", "executor", "health"}


def test_a_source_that_there_is_not_is_refused():
    for words in (["--source", "moon"], ["--no-chain", "--source", "chain"]):
        process = botctl("demo", *words)
        assert process.returncode == 2 and "--source" in process.stderr


def test_a_soak_tells_what_grows_and_comes_to_rest():
    found = answer(lab("soak", "--json", "--hours", "0.1"))
    # So short a run proves nothing about growth: that is told, and may be too much.
    growth = [p for p in found["problems"] if "went from" in p or "the ledger grew" in p]
    assert found["problems"] == growth
    assert found["trades"] > 20 and found["orders"] > 0 and found["markets"] > 0
    assert set(found["gauges"]) == {"monitor", "executor", "health"}
    for gauges in found["gauges"].values():
        assert min(gauges["pss_bytes"] + gauges["handles"] + gauges["tasks"]) > 0
