"""Somebody else's detector reports trades: signed, once, near its time, and provisional."""

import asyncio
import json
import socket
import time

import httpx
import pytest

from bot.config.schema import DetectSettings
from bot.config.secrets import hook_secret
from bot.detect.fold import Sight
from bot.detect.health import Health
from bot.detect.hook import Hook, Refused, signed
from bot.errors import ConfigError
from bot.failpoints import Injected
from bot.model.leader import FactState
from bot.model.source import ENOUGH
from bot.runtime import now_us
from bot.web.hook import AT, SIGNATURE, serve
from tests.exits import at, decided
from tests.rig import M, rig, until

SECRET = b"0123456789abcdef0123456789abcdef"


def report(r, **changes):
    market = r.market()
    trade = {
        "tx": "0x" + "ab" * 32, "wallet": r.leader, "token": market.tokens[0],
        "condition": market.condition, "side": "BUY", "size": 100, "price": "0.51",
        "timestamp": int(time.time()), "title": "Rain\x1b[2J?",
    }  # fmt: skip
    return json.dumps({"trades": [{**trade, **changes}]}).encode()


def hook(r, now=now_us, **more):
    return Hook(r.intake, SECRET, now, boot_id=1, **more)


async def taken(found, body, when=None, secret=SECRET):
    when = str(int(time.time())) if when is None else when
    return await found.take(body, when, signed(secret, when, body))


async def test_a_report_is_a_provisional_sight_of_a_leader(tmp_path):
    async with rig(tmp_path) as r, r.working():
        assert await taken(hook(r), report(r)) == 1
        await decided(r, 1)
        assert r.reasons() == ["copied"]
        stored = r.query("SELECT state, shares, title FROM leader_trade")
        assert stored == [{"state": "provisional", "shares": 100 * M, "title": "Rain\ufffd[2J?"}]
        assert r.value("SELECT source FROM signal") == "hook"
        # The same trade, of which more is known, or that the stream tells as well, is no other one.
        assert await taken(hook(r), report(r, size=120)) == 1
        assert await taken(hook(r), report(r, size=110)) == 0
        assert r.value("SELECT shares FROM leader_position") == 120 * M


async def test_what_nobody_has_signed_or_what_comes_again_is_refused(tmp_path):
    async with rig(tmp_path) as r:
        found, now = hook(r), int(time.time())

        async def status(body, at=None, secret=SECRET) -> int:
            with pytest.raises(Refused) as refused:
                await taken(found, body, at, secret)
            return refused.value.status

        assert await status(report(r), secret=b"x" * 32) == 401
        for at in (str(now - 100), str(now + 100), "", "-1", "1e9", "9" * 40):
            assert await status(report(r), at) == 401, at
        for body in (
            b"",
            b"[]",
            b'{"trades": []}',
            b"\xff",
            report(r, size=0),
            report(r, side="X"),
        ):
            assert await status(body) == 400, body
        assert await status(report(r, timestamp=now + 3600)) == 400
        assert r.value("SELECT COUNT(*) FROM leader_trade") == 0
        stranger = report(r, wallet="0x" + "12" * 20)
        assert await taken(found, stranger, str(now)) == 0, "nobody follows him"
        assert await status(stranger, str(now)) == 409, "it was taken before"
        found = hook(r, remembered=2)
        assert [await taken(found, stranger, str(now + n)) for n in range(2)] == [0, 0]
        assert await status(report(r)) == 429


async def test_none_is_taken_twice_where_our_clock_leaps_back(tmp_path):
    async with rig(tmp_path) as r:
        clock = [now_us()]
        found, at = hook(r, lambda: clock[0]), str(clock[0] // M)
        assert await taken(found, report(r), at) == 1
        clock[0] += 600 * M
        assert await taken(found, report(r), str(clock[0] // M)) == 0, "nothing new, and taken"
        clock[0] -= 600 * M
        with pytest.raises(Refused, match="time"):
            await taken(found, report(r), at)


async def test_what_could_not_be_stored_may_come_again(tmp_path):
    async with rig(tmp_path) as r:
        found, when, body = hook(r), str(int(time.time())), report(r)

        def breaks() -> None:
            raise Injected("the ledger is away")

        with at("seen.written", breaks), pytest.raises(Injected):
            await taken(found, body, when)
        assert found.heard_us is None
        assert await taken(found, body, when) == 1


async def test_it_is_heard_over_http_on_loopback(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with rig(tmp_path) as r, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        found, at, body = hook(r), str(int(time.time())), report(r)
        server = asyncio.create_task(serve(found, "127.0.0.1", port))
        said = {AT: at, SIGNATURE: signed(SECRET, at, body)}

        async def up() -> bool:
            try:
                return (await http.get("/")).status_code == 404
            except httpx.TransportError:
                return False

        for _ in range(1_000):
            if await up():
                break
            await asyncio.sleep(0.01)
        assert (await http.post("/trades", content=body)).status_code == 401
        answer = await http.post("/trades", content=body, headers=said)
        assert (answer.status_code, answer.json()) == (202, {"signals": 1})
        assert (await http.post("/trades", content=body, headers=said)).status_code == 409
        assert (await http.post("/trades", content=b"x" * 70_000)).status_code == 413
        with pytest.raises(ConfigError, match="hook_port"):
            await serve(found, "127.0.0.1", port)
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
        await until(lambda: found.heard_us is not None, "it was heard")


async def test_who_reports_what_never_was_is_not_acted_on(tmp_path):
    async with rig(tmp_path) as r:
        fill = await r.sees()
        health = Health(r.ledger, lambda: now_us() + 600 * M, {"rtds": True, "hook": True})
        for number in range(2 * int(ENOUGH)):
            each = fill.__class__(**{**_values(fill), "tx": f"0x{number:064x}"})
            health.note(Sight("hook:1", each, (1, 1), 1))
            health.note(Sight("chain", each, (0, 0), 2, FactState.REVERTED))
        assert not health.haunted
        health.judge()
        assert health.haunted and health.found["hook"].phantoms == 1
        assert health.found["rtds"].phantoms is None


def _values(fill):
    return {name: getattr(fill, name) for name in fill.__slots__}


def test_it_is_off_and_needs_a_secret_of_ours_alone(tmp_path):
    assert DetectSettings().hook_port is None
    with pytest.raises(ValueError, match="hook_secret_file"):
        DetectSettings(hook_port=8900)
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        hook_secret(path)
    path.chmod(0o600)
    assert hook_secret(path) == SECRET
    path.write_text("short")
    with pytest.raises(ConfigError, match="32 characters"):
        hook_secret(path)
