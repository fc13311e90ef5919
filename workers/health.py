"""health: judge the others, restart what hangs, alert, prune.

It trades nothing and holds no key.
"""

import asyncio
import sys
from functools import partial

import structlog

from bot.config.home import WORKERS
from bot.ledger import control, facts, intents, markets, orders
from bot.ledger.db import Tx
from bot.model.units import MICRO
from bot.runtime import Boot, now_us, run, until_stopped
from bot.watchdog import CHECK_S, Problems

logger = structlog.get_logger(__name__)
PRUNE_S = 3600.0
#: Between two transactions that prune: those who trade come first.
PAUSE_S = 0.2
UNKNOWN_ALERT_US = 60 * MICRO
STANDING_ALERT_S = 3600
#: Without any source at work for this long something is wrong.
STALLED_S = 15


async def health(boot: Boot) -> None:
    """Look at everything every second until stopped."""
    await boot.ready()
    await until_stopped(boot, _watch(boot), _prune(boot))


async def _watch(boot: Boot) -> None:
    while True:
        at = now_us()
        await boot.watchdog.tell(boot.ledger, at, "worker:", partial(_problems, at=at))
        boot.progress_us = now_us()
        await asyncio.sleep(CHECK_S)


def _problems(tx: Tx, at: int) -> Problems:
    """Return what only the ledger knows.

    Workers that get nothing done, orders that stay unknown.
    """
    text = f"lives but got no work done for {STALLED_S} s; are its sources or the exchange away?"
    problems = {
        f"stalled:{name}": f"{name} {text}" for name in control.stalled(tx, at - STALLED_S * MICRO)
    }
    old = orders.unproven(tx, at - UNKNOWN_ALERT_US)
    if old:
        text = f"{old} orders without a proven end for a minute; botctl orders lists them"
        problems["orders_unknown"] = text
    standing = intents.standing_since(tx, at - STANDING_ALERT_S * MICRO)
    if standing:
        text = f"{standing} exits have stood for an hour; botctl intents says what they wait for"
        problems["exits_standing"] = text
    return problems


async def _prune(boot: Boot) -> None:
    while True:
        at = now_us()
        before_s = at // MICRO - boot.settings.runtime.keep_days * 86_400
        trades = await boot.ledger.transact(facts.prune, before_s)
        told = await boot.ledger.transact(markets.prune, at - markets.KEPT_US)
        if trades or told:
            logger.info("ledger.pruned", leader_trades=trades, markets=told)
        more = trades == facts.PRUNED_AT_ONCE or told == markets.PRUNED_AT_ONCE
        await asyncio.sleep(PAUSE_S if more else PRUNE_S)


if __name__ == "__main__":
    others = tuple(name for name in WORKERS if name != "health")
    sys.exit(run("health", health, watches=others))
