"""Whether the ledger adds up: everything derived is recomputed from the fills."""

from dataclasses import astuple

from bot.ledger.orders import FLYING, UNSETTLED
from bot.model.amounts import CENT
from bot.model.fill import Fill, Payout, Settlement
from bot.model.market import Side
from bot.model.pnl import fold
from bot.report.reader import Report

#: A share pays at most 1; fees may bring a cost a little above what was paid.
PRICE_SLACK = 100_000


def mismatches(found: Report) -> list[str]:
    """Return where positions, days and cash do not follow from fills and payouts.

    Nothing in a sound ledger.
    """
    fills, paid = _fills(found), _payouts(found)
    days: dict[str, list[int]] = {}
    problems, cash = [], 0
    stored = {(r["portfolio"], r["token"]): r for r in found.rows("SELECT * FROM position")}
    for key in sorted({*fills, *paid, *stored}):
        folded, row = (
            fold(fills.get(key, []), paid.get(key, [])),
            stored.get(key, {"shares": 0, "cost": 0, "realized": 0}),
        )
        cash += folded.cash
        if row["shares"] >= CENT and row["cost"] > row["shares"] + PRICE_SLACK:
            problems.append(
                f"position of {key[0][:17]} in token {key[1][:12]}: bought above 1 a share"
            )
        if (row["shares"], row["cost"], row["realized"]) != astuple(folded.position):
            problems.append(
                f"position of {key[0][:17]} in token {key[1][:12]}: {folded.position} by its fills"
            )
        for day, total in folded.days.items():
            days[day] = [a + b for a, b in zip(days.get(day, [0] * 4), astuple(total), strict=True)]
    for row in found.rows("SELECT * FROM daily_pnl"):
        if days.pop(row["day"], [0] * 4) != [
            row[name] for name in ("realized", "fees", "bought", "sold")
        ]:
            problems.append(f"day {row['day']} does not follow from its fills")
    problems += [f"day {day} is missing" for day, total in days.items() if any(total)]
    stored_cash = found.value("SELECT COALESCE(SUM(cash - opening), 0) FROM account")
    return problems + (
        [] if stored_cash == cash else [f"cash has moved by {stored_cash}, {cash} by the fills"]
    )


def _fills(found: Report) -> dict[tuple[str, str], list[Fill]]:
    fills: dict[tuple[str, str], list[Fill]] = {}
    for row in found.rows("SELECT * FROM fill"):
        kept = {name: row[name] for name in Fill.__slots__}
        one = Fill(
            **{**kept, "side": Side(row["side"]), "settlement": Settlement(row["settlement"])}
        )
        fills.setdefault((row["portfolio"], row["token"]), []).append(one)
    return fills


def _payouts(found: Report) -> dict[tuple[str, str], list[Payout]]:
    paid: dict[tuple[str, str], list[Payout]] = {}
    for row in found.rows("SELECT * FROM settlement"):
        payout = Payout(row["at_us"], row["shares"], row["usdc"])
        paid.setdefault((row["portfolio"], row["token"]), []).append(payout)
    return paid


def rests(found: Report) -> bool:
    """Return whether nothing is undecided, in flight or unsettled, and no exit stands."""
    waiting = found.value(
        "SELECT (SELECT COUNT(*) FROM signal WHERE decided = 0)"
        f" + (SELECT COUNT(*) FROM orders WHERE {FLYING})"
        f" + (SELECT COUNT(*) FROM fill WHERE {UNSETTLED})"
        " + (SELECT COUNT(*) FROM intent WHERE state = 'open')"
    )
    return bool(waiting == 0)
