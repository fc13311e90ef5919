"""What sources send is written down, plays again, and is measured."""

import json
import stat

import httpx
import pytest

from bot.errors import ConfigError
from bot.sim import recording
from tests.e2e.botctl import answer, botctl, lab
from tests.e2e.test_cli import configure, exchange


@pytest.fixture
def home(tmp_path):
    return tmp_path


def configured(home, addresses):
    where = configure(home, addresses)
    chain = "".join(f"{n} = {json.dumps(addresses[n])}\n" for n in ("rpc_urls", "rpc_ws_urls"))
    config = where[-1].read_text()
    where[-1].write_text(config.replace("[account]", f"{chain}[account]", 1))
    return where


def test_a_session_is_recorded_and_plays_again(home):
    file = home / "session.jsonl"
    with exchange() as addresses:
        where = configured(home, addresses)
        found = answer(lab("record", file, "--seconds", "15", "--json", *where))
        again = botctl("record", file, *where)
    assert again.returncode == 2 and "name another file" in again.stderr
    assert found["lines"]["rtds"] > 10 and found["lines"]["data_api"] > 4, found
    for provider in (1, 2):
        assert found["lines"][f"chain provider {provider}"] > 2
        assert found["lines"][f"chain ws provider {provider}"] > 10
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    told = recording.events(file)
    leaders = {wallet.lower() for wallet in addresses["leaders"]}
    trades = {e["tx_hash"] for e in told if e["trader"].lower() in leaders}
    follow = ",".join(w for w in addresses["leaders"] if w.lower() in {
        e["trader"].lower() for e in told
    })  # fmt: skip
    verdict = answer(lab("demo", "--json", "--feed", file, "--follow", follow, "--speed", "5"))
    assert verdict["ok"], verdict["problems"]
    assert {row["tx"] for row in verdict["totals"]} == trades != set()


def test_the_doctor_measures_every_source(home):
    with exchange() as addresses:
        where = configured(home, addresses)
        found = lab("doctor", "--sources", "20s", "--json", *where)
        told = answer(found)
        ill = {"order": "node", "name": "b", "most_blocks": 50, "most_topics": 300, "hides": 2}
        httpx.post(f"{addresses['clob_url']}/sim/do", json=ill).raise_for_status()
        shown = lab("doctor", "--sources", "8s", *where)
        wrong = botctl("doctor", "--sources", "soon", *where)
    assert told["problems"] == [] and found.returncode == 0, told["problems"]
    assert {row["name"] for row in told["sources"]} == {"chain", "rtds", "data_api"}
    for source in ("chain", "rtds", "data_api"):
        assert told["lags"][source]["trades"] > 5 and told["lags"][source]["p95"] < 60, source
    assert told["everybody"] and told["frames"]["trades"] > 5 and told["connections"] == 1
    assert [p["blocks"] for p in told["providers"]] == [10_000, 10_000]
    assert all(p["finalized"] and p["topics"] >= 500 for p in told["providers"])
    assert shown.returncode == 1 and wrong.returncode == 2 and "--sources" in wrong.stderr
    for word in ("providers disagree", "provider 2: gives logs of 10 blocks", "longest silence"):
        assert word in shown.stdout, shown.stdout


def row(**changes):
    found = {
        "type": "TRADE", "transaction_hash": "0x" + "AB" * 32, "proxy_wallet": "0x" + "c" * 40,
        "condition_id": "0x" + "d" * 64, "token_id": "7", "outcome": "Up", "side": "BUY",
        "price": 0.42, "size": 10, "title": "t", "slug": "s", "timestamp": 1_790_000_000,
    }  # fmt: skip
    return found | changes


def line(source, said, asked=""):
    return json.dumps(
        {"at_us": 1_790_000_001_000_000, "source": source, "asked": asked, "text": said},
        separators=(",", ":"),
    )


def test_what_the_stream_left_out_is_told_by_whole_answers(tmp_path):
    payload = {
        "transactionHash": "0x" + "ef" * 32, "proxyWallet": "0x" + "c" * 40, "asset": "7",
        "conditionId": "0x" + "d" * 64, "side": "BUY", "price": 0.42, "size": 10,
    }  # fmt: skip
    frame = json.dumps({"topic": "activity", "type": "trades", "payload": payload})
    twice = {"data": [row(), row(), row(transaction_hash="0x" + "ef" * 32)]}
    lines = [
        line("rtds", ""), line("rtds", frame), line("rtds", frame),
        line("data_api", json.dumps({"data": [row()]}), "/v2/activity?user=1"),
        line("data_api", json.dumps(twice), "/v2/activity?user=1"),
        line("data_api", json.dumps(twice), "/v2/positions?user=1"), line("data_api", "no JSON"),
    ]  # fmt: skip
    path = tmp_path / "session.jsonl"
    path.write_text("\n".join(lines))
    assert recording.is_recording(path)
    found = recording.events(path)
    assert [(e["tx_hash"][:4], e["said"]) for e in found] == [
        ("0xef", True), ("0xef", True), ("0xab", False), ("0xab", False),
    ]  # fmt: skip
    for wrong in ("what", '{"at_us": 1}', '{"at_us": "1", "source": "rtds", "text": ""}'):
        path.write_text(f"{lines[0]}\n{wrong}")
        with pytest.raises(ConfigError, match="line 2"):
            recording.events(path)
