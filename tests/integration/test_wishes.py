"""What `botctl close` asks for, read from the ledger of a bot that works."""

import asyncio
from pathlib import Path

import click
import pytest
import typer

from bot.cli.output import Cli
from bot.cli.positions import close
from bot.config.home import Home
from bot.errors import UsageError
from bot.model.control import ControlMode
from bot.model.market import Side
from bot.model.signal import Wish
from tests.exits import (
    CENT,
    RESTS,
    bids,
    decided,
    empties,
    entered,
    exit_of,
    follower,
    held,
    rests_at,
    sold,
    wishes,
)
from tests.rig import M, rig, steer, stored_order, until


def at(folder: Path) -> typer.Context:
    context = typer.Context(click.Command("close"))
    context.obj = Cli(home=Home(folder), config=None, json=False)
    return context


async def test_what_is_being_bought_is_closed_as_well(tmp_path):
    """Its entry is in flight: nothing is held yet, and nothing may be in the end."""
    async with rig(tmp_path) as r:
        await stored_order(r, posted=True)
        assert held(r) == 0
        await asyncio.to_thread(close, at(tmp_path), all_=True)
        asked = r.query("SELECT portfolio, token, note FROM signal WHERE kind = 'operator'")
        token = r.market().tokens[0]
        assert asked == [{"portfolio": follower(r), "token": token, "note": "close"}]
        async with r.working():
            await decided(r, 2)
            await until(lambda: r.value("SELECT 1 FROM orders WHERE side = 'SELL'"), "sold again")
            await r.settled()
            assert held(r) < 10_000
            await r.sees(shares=500 * M)
            await decided(r, 3)
            assert r.reasons()[2] == "position_locked"


async def test_nothing_is_closed_while_halted(tmp_path, capsys):
    async with rig(tmp_path) as r:
        async with r.working():
            await entered(r, shares=1000 * M)
        await steer(r, ControlMode.HALTED)
        with pytest.raises(UsageError, match="botctl resume"):
            await asyncio.to_thread(close, at(tmp_path), all_=True)
        await steer(r, ControlMode.RUNNING)
        token = r.market().tokens[0]
        await asyncio.to_thread(close, at(tmp_path), position=token[:12])
        assert "closing: 1" in capsys.readouterr().out
        assert r.value("SELECT COUNT(*) FROM signal WHERE kind = 'operator'") == 1
        assert r.value("SELECT COUNT(*) FROM fill WHERE side = ?", str(Side.SELL)) == 0


async def test_a_close_does_not_follow_a_collapse_down(tmp_path):
    """Its floor counts from what was last bid before it, not from what is bid first after it."""
    async with rig(tmp_path) as r, r.working():
        ours = await entered(r, shares=1000 * M)
        await empties(r)
        await wishes(r, Wish.CLOSE)
        await until(lambda: r.value(RESTS), "it rests")
        bids(r, 20_000, 400)
        least = r.value("SELECT price FROM orders WHERE kind = 'GTD'")
        assert least > 350_000 and exit_of(r)["price"] > 400_000
        await until(lambda: r.books.book(r.market().tokens[0]).bids, "they are seen")
        assert sold(r) == 0
        bids(r, 480_000, 400)
        await rests_at(r, ours % CENT)
        assert r.value("SELECT MIN(usdc * 1000000 / shares) FROM fill WHERE side = 'SELL'") >= least
