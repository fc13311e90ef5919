"""Virtual time: what would be a thread's runs at once, so that a seed tells one story anywhere."""

import asyncio
import threading

import pytest

from bot.lab.virtual import clock


def test_nothing_runs_beside_virtual_time():
    async def story():
        loop = asyncio.get_running_loop()
        before = loop.time()
        where = await asyncio.to_thread(threading.get_ident)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        assert loop.time() == before, "and takes no time"
        await asyncio.sleep(3_600)
        return where, loop.time() - before

    assert clock.run(story()) == (threading.get_ident(), 3_600)
