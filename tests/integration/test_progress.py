"""What a worker says of its progress with every beat."""

import asyncio

import pytest

from bot.config.home import Home
from bot.runtime import Boot, now_us
from bot.watchdog import Watchdog
from tests.rig import M, rig


@pytest.mark.parametrize(
    ("before_s", "told_s", "stored_s"),
    [
        (-60, -5, -5),
        (-5, -60, -5),  # one source has ended, another was last heard long ago
        (-5, None, -5),
        (3_600, -5, 0),  # the clock was set back
        (None, -5, -5),
    ],
)
async def test_progress_never_goes_back_and_is_never_ahead(tmp_path, before_s, told_s, stored_s):
    async with rig(tmp_path) as r:
        await r.boots()
        home = Home(tmp_path)
        boot = Boot(
            "executor", r.settings, home, r.ledger, r.boot_id, asyncio.Event(),
            Watchdog(home, (), hung_s=30),
        )  # fmt: skip
        began = now_us()
        boot.progress_us = None if before_s is None else began + before_s * M
        boot.progressed = lambda: None if told_s is None else began + told_s * M
        await boot.beat()
        stored = r.value("SELECT progress_us FROM boot WHERE id = ?", r.boot_id)
        least = began + stored_s * M
        assert least <= stored <= (least if stored_s else now_us())
