"""What tests of exits ask of a rig, and what they let the exchange do to it."""

import contextlib
from collections.abc import Callable, Iterator

from bot import failpoints
from bot.ledger import signals
from bot.ledger.db import run
from bot.model.intent import Portfolio, mirror
from bot.model.market import Side
from bot.model.signal import Wish
from bot.report import laws
from bot.report.audit import mismatches
from bot.report.reader import read
from bot.runtime import now_us
from tests.rig import M, Rig, until

CENT = 10_000
RESTS = "SELECT 1 FROM orders WHERE kind = 'GTD' AND state = 'open'"


def follower(r: Rig, leader: int = 0) -> Portfolio:
    """Return the portfolio that follows a leader."""
    return mirror(r.settings.leaders[leader].wallet)


def waits(r: Rig) -> str:
    """Return what the standing exit waits for; '' if none stands."""
    return r.value("SELECT waits FROM intent WHERE state = 'open' AND kind = 'exit'") or ""


def exit_of(r: Rig, leader: int = 0) -> dict:
    """Return the newest exit of a leader's portfolio."""
    newest = "SELECT * FROM intent WHERE kind = 'exit' AND portfolio = ? ORDER BY id DESC LIMIT 1"
    return r.query(newest, follower(r, leader))[0]


def sold(r: Rig, token: str = "%") -> int:
    """Return how many shares were sold."""
    sql = "SELECT COALESCE(SUM(shares), 0) FROM fill WHERE side = 'SELL' AND token LIKE ?"
    return r.value(sql, token)


def held(r: Rig) -> int:
    """Return how many shares everybody holds together."""
    return r.value("SELECT COALESCE(SUM(shares), 0) FROM position")


def shares(r: Rig, leader: int = 0, outcome: int = 0) -> int:
    """Return how many shares of an outcome a leader's portfolio holds."""
    sql = "SELECT COALESCE(SUM(shares), 0) FROM position WHERE portfolio = ? AND token = ?"
    return r.value(sql, follower(r, leader), r.market().tokens[outcome])


async def entered(r: Rig, **more) -> int:
    """Follow an entry to its settled end and return what we hold."""
    await r.sees(**more)
    await until(lambda: r.value("SELECT COUNT(*) FROM fill") > 0, "a fill")
    await r.settled()
    return held(r)


async def decided(r: Rig, number: int) -> None:
    """Wait until so many signals are decided."""
    await until(lambda: len(r.reasons()) == number, f"{number} decisions")


async def wishes(r: Rig, wish: str, portfolio: str = "") -> None:
    """Let the operator ask something about a portfolio's shares of the first token."""
    key = (portfolio or follower(r), r.market().condition, r.market().tokens[0])
    if wish == Wish.CANCEL:
        wish = f"{wish} {r.value(RESTS.replace('1', 'id', 1))}"
    await r.ledger.transact(signals.ask, *key, str(wish), now_us=now_us())
    r.execution.doorbell.set()


async def later(r: Rig) -> None:
    """Let so much time have passed since his last trade that the next is of another burst."""
    await r.ledger.transact(
        run, "UPDATE burst SET first_us = first_us - 200000000, last_us = last_us - 200000000"
    )


async def empties(r: Rig) -> None:
    """Take every order off the book, and wait until the bot has seen it."""
    for order in list(r.sim.exchange.books[r.market().condition].orders.values()):
        r.sim.exchange.cancel(order.id, "")
    token = r.market().tokens[0]
    await until(lambda: (book := r.books.book(token)) and not book.bids, "an empty book")


async def resting(r: Rig, sold: int = 1000 * M) -> int:
    """Let a leader sell so much of the 1,000 shares that he bought, where nobody bids.

    Return what we hold while the exit rests.
    """
    ours = await entered(r, shares=1000 * M)
    await empties(r)
    await r.sees(Side.SELL, shares=sold)
    await until(lambda: r.value(RESTS), "an exit rests")
    return ours


def bids(r: Rig, price: int, count: int, side: str = "BUY") -> None:
    """Let somebody bid, or offer, so many shares of the first token."""
    maker = next(a for a in r.sim.exchange.accounts.values() if a.name == "maker")
    r.sim.exchange.inside(maker, r.market().tokens[0], side, price, count * M, "GTC")


def offers_only(r: Rig, count: int) -> None:
    """Take all but so many shares of what is offered of the first token away."""
    for order in list(r.sim.exchange.books[r.market().condition].orders.values()):
        if order.side == "SELL":
            r.sim.exchange.cancel(order.id, "")
    bids(r, 520_000, count, "SELL")


def deaf(r: Rig) -> None:
    """Let the user channel say nothing more: lookups are the only evidence."""
    r.sim.director.do_stream("user", "silent")


def assert_lawful(r: Rig) -> None:
    """Every law is kept, and every sum in the ledger adds up."""
    with read(r.path) as found:
        assert laws.broken(found) == [] and mismatches(found) == []


async def rests_at(r: Rig, wanted: int) -> None:
    """Come to rest with `wanted` shares, and every law kept.

    Less than a sellable unit more may be left, at most.
    """
    await r.settled()
    assert wanted <= held(r) < wanted + 2 * CENT
    assert_lawful(r)
    r.assert_equal_to_exchange()


@contextlib.contextmanager
def at(point: str, act: Callable[[], None]) -> Iterator[list[str]]:
    """Let something happen when an executor that starts in this block first reaches a failpoint."""
    struck: list[str] = []

    def reached(name: str) -> None:
        if name == point and not struck:
            struck.append(name)
            act()

    hook = failpoints.hook.set(reached)
    try:
        yield struck
    finally:
        failpoints.hook.reset(hook)
