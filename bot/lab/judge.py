"""The checker: what the ledger says against what is true at the simulated exchange.

It shares no code with the executor. Nothing but this decides whether a demo, a drill or a storm
has passed.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from bot.model.units import decimal_text
from bot.report import Report, audit, laws

#: A leader trade is complete when less than a hundredth of a share is missing.
TOLERANCE = 10_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong; nothing where every promise held."""

    missing: list[str]  #: leader trades without a complete row or a decision
    twice: list[str]  #: orders at the exchange that no intent asked for
    differences: list[str]  #: cash or shares that the ledger has otherwise
    broken: list[str]  #: counts that do not add up, orders that never ended

    @property
    def problems(self) -> list[str]:
        """Return everything that is wrong."""
        return [*self.missing, *self.twice, *self.differences, *self.broken]


def settled(found: Report, truth: dict[str, Any]) -> bool:
    """Return whether nothing is undecided, in flight or unsettled, here and there."""
    return audit.rests(found) and bool(truth["settled"]) and not missing(found, truth)


def judge(found: Report, truth: dict[str, Any]) -> Judgement:
    """Compare a ledger with the exchange it traded on."""
    known = {r["id"]: r for r in found.rows("SELECT id, state, intent_id FROM orders")}
    ours = {ident: r["state"] for ident, r in known.items() if r["intent_id"] is not None}
    strangers = [order for order in truth["orders"] if order not in known]
    broken = []
    signals, decisions = (
        found.value("SELECT COUNT(*) FROM signal"),
        found.value("SELECT COUNT(*) FROM decision"),
    )
    if decisions != signals:
        broken.append(f"{decisions} decisions for {signals} signals")
    for order, state in ours.items():
        landed = order in truth["orders"]
        if not landed and state in ("filled", "partial", "cancelled"):
            broken.append(f"order {order[:14]} is {state} here, and the exchange never had it")
        if state in ("posting", "unknown", "open"):
            broken.append(f"order {order[:14]} is still {state}")
    broken += [*laws.broken(found), *audit.mismatches(found)]
    twice = [
        f"order {order[:14]} is at the exchange, and no intent asked for it" for order in strangers
    ]
    twice += oversignalled(found, truth)
    repeated = len(truth["orders"]) - len(set(truth["orders"]))
    twice += [f"{repeated} orders are at the exchange twice"] if repeated else []
    return Judgement(missing(found, truth), twice, differences(found, truth), broken)


def oversignalled(found: Report, truth: dict[str, Any]) -> list[str]:
    """Return leader trades that were signalled as more than they were (law 7).

    What was in a block that others took the place of was told rightly.
    """
    undone: Counter[tuple[str, ...]] = Counter()
    for tx, wallet, token, side, shares in truth.get("undone", []):
        undone[tx, wallet.lower(), token, side] += shares
    signalled = found.rows(
        "SELECT t.tx, t.wallet, t.token, t.side, t.shares, SUM(s.shares) AS told"
        " FROM leader_trade t JOIN signal s ON s.trade_id = t.id"
        " GROUP BY t.id HAVING SUM(s.shares) > t.shares + ?",
        TOLERANCE,
    )
    signalled = [
        r
        for r in signalled
        if r["told"]
        > r["shares"] + TOLERANCE + undone[r["tx"], r["wallet"].lower(), r["token"], r["side"]]
    ]
    return [
        f"leader trade {r['tx'][:14]}: {decimal_text(r['shares'])} shares,"
        f" signalled as {decimal_text(r['told'])}"
        for r in signalled
    ]


def missing(found: Report, truth: dict[str, Any]) -> list[str]:
    """Return leader trades that are absent, of another size, or without a decision."""
    known = {
        (r["tx"], r["wallet"].lower(), r["token"], r["side"]): r
        for r in found.rows(
            "SELECT t.*, (SELECT COUNT(*) FROM signal s"
            " JOIN decision d ON d.signal_id = s.id WHERE s.trade_id = t.id)"
            " AS decisions FROM leader_trade t"
        )
    }
    followed = {
        r["wallet"].lower() for r in found.rows("SELECT wallet FROM leader WHERE active = 1")
    }
    problems = []
    for tx, wallet, token, side, shares in truth["leader_trades"]:
        row = known.get((tx, wallet.lower(), token, side))
        if wallet.lower() in followed and (
            row is None or abs(row["shares"] - shares) > TOLERANCE or not row["decisions"]
        ):
            seen = (
                "not seen"
                if row is None
                else f"{decimal_text(row['shares'])} shares, {row['decisions']} decisions"
            )
            problems.append(
                f"leader trade {tx[:14]} {side}: {decimal_text(shares)} shares at the exchange,"
                f" {seen}"
            )
    return problems


def differences(found: Report, truth: dict[str, Any]) -> list[str]:
    """Return where cash and shares of the ledger are not those of the exchange."""
    cash = found.value("SELECT COALESCE(SUM(cash), 0) FROM account")
    positions = found.rows(
        "SELECT token, MAX(condition) AS condition, SUM(shares) AS shares FROM position"
        " GROUP BY token"
    )
    ours = {r["token"]: r["shares"] for r in positions}
    #: Settled here, and still to be redeemed there: shares that have become a claim.
    claims = {r["token"] for r in positions if r["condition"] in truth.get("payouts", {})}
    problems = (
        []
        if cash == truth["collateral"]
        else [
            f"cash: {decimal_text(cash)} in the ledger,"
            f" {decimal_text(truth['collateral'])} at the exchange"
        ]
    )
    for token in sorted({*ours, *truth["shares"]}):
        here, there = ours.get(token, 0), truth["shares"].get(token, 0)
        if here != there and not (token in claims and here == 0):
            problems.append(
                f"token {token[:12]}…: {decimal_text(here)} in the ledger,"
                f" {decimal_text(there)} there"
            )
    return problems
