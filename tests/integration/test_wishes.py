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
from tests.exits import decided, entered, follower, held
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
