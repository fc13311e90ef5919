"""What a long history costs: the same reads and writes after a thousand trades and after many.

The trades are written past the verbs, in bulk; everything that is measured goes through them.
"""

import asyncio
import itertools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bot import report
from bot.detect.fold import Sight
from bot.detect.intake import Intake
from bot.ledger import (
    agenda,
    bursts,
    control,
    facts,
    intents,
    leaders,
    markets,
    orders,
    positions,
    roster,
)
from bot.ledger.db import Ledger, Tx
from bot.ledger.files import migrate
from bot.model.leader import LeaderFill, Wallet
from bot.model.market import ConditionId, Side, TokenId
from bot.model.units import MICRO, utc_day
from bot.report import lists
from bot.report.status import status

FEW = 1_000
#: Whose trades they are, over how many markets: one a second, however long that takes.
LEADERS, MARKETS = 100, 2_000
ROUNDS = 60
#: One trade in so many was copied.
COPIED = 50
_TRADES = """
    CREATE TEMP TABLE n AS
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n)
    SELECT i, printf('0x%064x', i) AS hash, printf('0x%040x', i % :leaders) AS wallet,
        'mirror/' || printf('0x%040x', i % :leaders) AS portfolio, 's' || i AS signal,
        CAST(i % :markets AS TEXT) AS market, CAST(i % :markets * 2 AS TEXT) AS token,
        :now - (:n - i) * 1000000 AS at, i % :copied = 0 AS copied FROM n
"""
_HISTORY = (
    """INSERT INTO leader_trade (id, tx, wallet, token, side, condition, outcome, title, shares,
        usdc, emitted_shares, emitted_usdc, signals, traded_s, seen_us)
        SELECT i, hash, wallet, token, 'BUY', market, 'Yes', 'A market', 20000000, 10000000,
        20000000, 10000000, 1, at / 1000000, at FROM n""",
    """INSERT INTO leader_trade_source (trade_id, source, shares, usdc)
        SELECT i, 'rtds:1', 20000000, 10000000 FROM n""",
    """INSERT INTO signal (id, kind, portfolio, condition, token, trade_id, seq, shares, usdc,
        leader_watched, source, seen_us, decided)
        SELECT signal, 'increase', portfolio, market, token, i, 0, 20000000, 10000000, 20000000,
        'rtds', at, 1 FROM n""",
    """INSERT INTO intent (id, kind, portfolio, condition, token, state, target, price, budget,
        opened_us, due_us, ended_us, signal_id, deadline_us, burst_us, tries, waits)
        SELECT i, 'entry', portfolio, market, token, 'reached', 0, 500000, 5000000, at, at, at,
        signal, at, at, 0, '' FROM n WHERE copied""",
    """INSERT INTO decision (signal_id, verdict, reason, numbers, intent_id, boot_id, decided_us)
        SELECT signal, iif(copied, 'copied', 'skipped'), iif(copied, NULL, 'too_small'), '{}',
        iif(copied, i, NULL), 1, at FROM n""",
    """INSERT INTO orders (id, intent_id, attempt, portfolio, condition, token, side, kind, price,
        maker_amount, taker_amount, reserved, body, state, created_us, deadline_us, sends, sent_us,
        last_sent_us, matched, doubted, ended_us)
        SELECT hash, i, 1, portfolio, market, token, 'BUY', 'FAK', 500000, 5000000, 10000000, 0,
        x'7b7d', 'filled', at, at, 1, at, at, 10000000, 0, at FROM n WHERE copied""",
    """INSERT INTO fill (trade_id, order_id, portfolio, condition, token, side, shares, usdc, fee,
        settlement, matched_us, settled_us)
        SELECT 't' || i, hash, portfolio, market, token, 'BUY', 10000000, 5000000, 0, 'confirmed',
        at, at FROM n WHERE copied""",
    # Twenty positions are open, as many as after a thousand trades; the others were closed.
    """INSERT INTO position (portfolio, token, condition, shares, cost, realized, updated_us)
        SELECT portfolio, token, MAX(market), 0, 0, SUM(1000000), MAX(at) FROM n WHERE copied
        GROUP BY portfolio, token""",
    """UPDATE position SET shares = 10000000, cost = 5000000 WHERE rowid IN
        (SELECT rowid FROM position ORDER BY updated_us DESC LIMIT 20)""",
    """INSERT INTO leader_position (wallet, token, condition, shares, watched, peak, updated_us)
        SELECT wallet, token, MAX(market), SUM(20000000), SUM(20000000), SUM(20000000), MAX(at)
        FROM n GROUP BY wallet, token""",
    """INSERT INTO tally (day, kind, key, n)
        SELECT date(at / 1000000, 'unixepoch'), 'seen', wallet, COUNT(*) FROM n GROUP BY 1, 3""",
)


def measure(history: int, tell: Callable[[str], None]) -> dict[str, float]:
    """Return what each read and write costs after `history` trades, as a multiple of its cost
    after a thousand.

    A million trades take half a minute and two gigabytes, which are deleted.
    """
    with tempfile.TemporaryDirectory(prefix="copybot-growth-") as folder:
        now_us, paths = time.time_ns() // 1000, []
        for number in (FEW, history):
            tell(f"growth: {number} trades")
            paths.append(Path(folder) / f"ledger-{number}.db")
            migrate(paths[-1], "demo")
            _fill(paths[-1], number, now_us)
        return asyncio.run(_ratios(paths[0], paths[1], history, now_us))


def _fill(path: Path, number: int, now_us: int) -> None:
    ledger = sqlite3.connect(path, isolation_level=None)
    ledger.execute("PRAGMA synchronous = OFF")
    values = {
        "n": number, "now": now_us, "leaders": LEADERS, "markets": MARKETS,
        "copied": COPIED,
    }  # fmt: skip
    ledger.execute("BEGIN")
    ledger.execute(_TRADES, values)
    for statement in _HISTORY:
        ledger.execute(statement)
    ledger.execute("COMMIT")
    # As a worker's own pruning and SQLite's upkeep would have left it.
    ledger.execute("PRAGMA optimize")
    ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()


async def _ratios(few: Path, many: Path, history: int, now_us: int) -> dict[str, float]:
    async with Ledger(few).open() as less, Ledger(many).open() as more:
        with report.read(few) as shown_less, report.read(many) as shown_more:
            sides = [
                await _works(ledger, shown, history, now_us)
                for ledger, shown in ((less, shown_less), (more, shown_more))
            ]
            return {name: await _ratio(sides[0][name], sides[1][name]) for name in sides[0]}


async def _works(
    ledger: Ledger, shown: report.Report, history: int, now_us: int
) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return what is measured, by name: the writes and reads of workers, and the screens."""
    wallets = [(Wallet(f"0x{i:040x}"), "") for i in range(LEADERS)]
    await ledger.transact(roster.follow, wallets, now_s=0)
    intake = Intake(ledger, lambda _: None, lambda: now_us, provisional=lambda: True)
    await intake.load()
    written, old_s = itertools.count(history + 1), now_us // MICRO - 10 * FEW * FEW

    async def drawn(screen: Callable[[report.Report], Any]) -> None:
        screen(shown)

    return {
        "store": lambda: intake.take([_sight(next(written), now_us)]),
        "look": lambda: ledger.look(_agenda, now_us),
        "decide": lambda: ledger.look(_decision, now_us),
        "health": lambda: ledger.look(_health, now_us),
        "prune": lambda: ledger.transact(facts.prune, old_s),
        "status": lambda: drawn(status),
        "trades": lambda: drawn(lambda found: lists.trades(found, 20)),
        "orders": lambda: drawn(lambda found: lists.orders(found, 20)),
        "leaders": lambda: drawn(lists.leaders),
        "daily": lambda: drawn(lambda found: lists.daily(found, 7)),
    }


def _sight(number: int, now_us: int) -> Sight:
    market = number % MARKETS
    fill = LeaderFill(
        tx=f"0x{number:064x}", wallet=f"0x{number % LEADERS:040x}", token=TokenId(str(market * 2)),
        side=Side.BUY, shares=20 * MICRO, usdc=10 * MICRO, condition=ConditionId(str(market)),
        outcome="Yes", title="A market", traded_s=now_us // MICRO,
    )  # fmt: skip
    return Sight("rtds:1", fill, (fill.shares, fill.usdc), now_us)


def _agenda(tx: Tx, now_us: int) -> None:
    agenda.leaving(tx, 50)
    agenda.raising(tx, 50)
    agenda.entering(tx, (), 50)
    intents.exits(tx)
    intents.entries(tx, now_us)
    orders.in_flight(tx)


def _decision(tx: Tx, now_us: int) -> None:
    wallet, token = f"0x{7:040x}", str(7 * 2)
    portfolio, condition = f"mirror/{wallet}", str(7)
    control.newest_boot(tx, "executor")
    agenda.alone(tx, f"s{FEW // 2}")
    markets.knows(tx, condition)
    control.locks(tx, [f"leader:{wallet}", f"market:{condition}"], now_us=now_us)
    control.read(tx, now_us=now_us)
    positions.budget(tx, condition, utc_day(now_us))
    positions.shares_of(tx, portfolio, token)
    bursts.last(tx, portfolio, token)
    bursts.spent(tx, portfolio, token, now_us)
    intents.open_on(tx, portfolio, token)
    intents.exit_stands_in(tx, token)
    orders.moving(tx, portfolio, condition)
    leaders.exposure_decided(tx, wallet, condition, token)
    facts.both_ways(tx, wallet, condition, token, now_us // MICRO - 600)


def _health(tx: Tx, now_us: int) -> None:
    control.stalled(tx, now_us)
    orders.unproven(tx, now_us)
    intents.standing_since(tx, now_us)
    facts.recent_markets(tx, now_us - 60 * MICRO)


async def _ratio(few: Callable[[], Awaitable[Any]], many: Callable[[], Awaitable[Any]]) -> float:
    """Return the medians' ratio; in turns, so that a busy moment of the machine hits both."""
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for work, times in zip((few, many), costs, strict=True):
            began = time.perf_counter()
            await work()
            times.append(time.perf_counter() - began)
    return round(statistics.median(costs[1]) / statistics.median(costs[0]), 2)
