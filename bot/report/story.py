"""The story of a leader trade, a wish or an order: why it is there, and what became of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bot.errors import UsageError
from bot.model.units import decimal_text, printable
from bot.report.reader import Report


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a story."""

    step: str
    at_us: int
    what: str
    numbers: dict[str, Any] = field(default_factory=dict)


def why(found: Report, ident: str) -> list[Step]:
    """Return the story that the start of a tx, signal or order id names.

    It begins with a leader's trade; with a wish of the operator's, or a correction; or with an
    order that nobody here has decided. Raises UsageError if nothing, or more than one, begins so.
    """
    text = ident.strip().lower()
    if len(text) < 6 or not text.removeprefix("0x").isalnum():
        raise UsageError(
            f"why: expected at least 6 characters of a tx, signal or order id, found {ident[:40]!a}"
        )
    like = _begun_by(found, text) or text + "%"
    trades = found.rows(
        "SELECT DISTINCT t.* FROM leader_trade t LEFT JOIN signal s ON s.trade_id = t.id"
        " WHERE t.tx LIKE ? OR s.id LIKE ? ORDER BY t.seen_us, t.id LIMIT 50",
        like,
        like,
    )
    wishes = [] if trades else _wishes(found, like)
    orders = [] if trades or wishes else _foreign(found, like)
    count = len({t["tx"] for t in trades}) + len(wishes) + len(orders)
    if count == 0:
        raise UsageError(
            f"why: nothing in the ledger begins with {text[:80]}; botctl trades lists what was seen"
        )
    if count > 1:
        raise UsageError(f"why: {count} stories begin with {text[:80]}; give more characters")
    told = [step for trade in trades for step in _story(found, trade)]
    told += [step for wish in wishes for step in _wished(found, wish)]
    return told + [step for order in orders for step in _ordered(found, order)]


def _begun_by(found: Report, text: str) -> str | None:
    """Return the id of the signal for which the one order that begins with `text` was made.

    Several signals may have changed the intent that it is an attempt of.
    """
    orders = found.rows(
        "SELECT i.signal_id FROM orders o JOIN intent i ON i.id = o.intent_id WHERE o.id LIKE ?",
        text + "%",
    )
    return orders[0]["signal_id"] if len(orders) == 1 else None


def _wishes(found: Report, like: str) -> list[dict[str, Any]]:
    return found.rows(
        "SELECT * FROM signal WHERE trade_id IS NULL AND id LIKE ? ORDER BY seen_us LIMIT 50", like
    )


def _foreign(found: Report, like: str) -> list[dict[str, Any]]:
    return found.rows("SELECT * FROM orders WHERE intent_id IS NULL AND id LIKE ? LIMIT 50", like)


def _wished(found: Report, wish: dict[str, Any]) -> Iterator[Step]:
    what = wish["note"] or "shares have come or gone outside an entry"
    where = f"token {wish['token']} of {wish['portfolio']}"
    yield Step(wish["kind"], wish["seen_us"], f"{what}: {where}")
    yield from _decided(found, wish["id"])


def _story(found: Report, trade: dict[str, Any]) -> Iterator[Step]:
    yield Step(
        "seen",
        trade["seen_us"],
        f"leader {trade['wallet']} {trade['side']} {decimal_text(trade['shares'])}"
        f" {trade['outcome']}"
        f' for {decimal_text(trade["usdc"])} USDC  "{trade["title"]}"',
    )
    for total in found.rows(
        "SELECT * FROM leader_trade_source WHERE trade_id = ? ORDER BY source", trade["id"]
    ):
        yield Step(
            "source",
            trade["seen_us"],
            f"{total['source']} says {decimal_text(total['shares'])} shares",
        )
    for signal in found.rows("SELECT * FROM signal WHERE trade_id = ? ORDER BY seq", trade["id"]):
        kind = "signal" if signal["seq"] == 0 else f"follow-up {signal['seq']}"
        what = (
            f"{kind} {signal['id']} of {decimal_text(signal['shares'])} shares"
            f" from {signal['source']}"
        )
        yield Step("queued", signal["seen_us"], what)
        yield from _decided(found, signal["id"])


def _decided(found: Report, signal_id: str) -> Iterator[Step]:
    for decision in found.rows("SELECT * FROM decision WHERE signal_id = ?", signal_id):
        numbers = json.loads(decision["numbers"])
        reason = decision["reason"] or decision["verdict"]
        shown = ", ".join(f"{k} {_number(k, v)}" for k, v in numbers.items())
        yield Step(
            decision["verdict"],
            decision["decided_us"],
            f"{reason}: {shown}" if shown else reason,
            numbers,
        )
        for intent in found.rows("SELECT * FROM intent WHERE id = ?", decision["intent_id"]):
            yield from _intended(found, intent)


def _intended(found: Report, intent: dict[str, Any]) -> Iterator[Step]:
    at_least = "at least" if intent["kind"] == "entry" else "at most"
    what = (
        f"{intent['kind']} {intent['id']}: hold {at_least} {decimal_text(intent['target'])} shares"
    )
    yield Step("intent", intent["opened_us"], what)
    attempts = "SELECT * FROM orders WHERE intent_id = ? ORDER BY attempt"
    for order in found.rows(attempts, intent["id"]):
        yield from _ordered(found, order)
    if intent["state"] == "open":
        yield Step("waits", intent["due_us"], intent["waits"] or "for its order's end")
    else:
        yield Step(intent["state"], intent["ended_us"] or intent["opened_us"], intent["waits"])


def _ordered(found: Report, order: dict[str, Any]) -> Iterator[Step]:
    what = f"{order['side']} {order['kind']} order {order['id']}"
    if order["intent_id"] is None:
        what = f"{order['side']} order {order['id']} of this wallet that nobody here has decided"
        yield Step("found", order["created_us"], f"{what}: booked to {order['portfolio']}")
    else:
        price = decimal_text(order["price"])
        what += f" at {price}, attempt {order['attempt']}"
        yield Step("signed", order["created_us"], what)
    if order["sent_us"]:
        yield Step(
            "posted", order["sent_us"], f"sent {order['sends']} time{'s' * (order['sends'] > 1)}"
        )
    for f in found.rows("SELECT * FROM fill WHERE order_id = ? ORDER BY matched_us", order["id"]):
        yield Step(
            "filled",
            f["matched_us"],
            f"{decimal_text(f['shares'])} shares for {decimal_text(f['usdc'])} USDC,"
            f" fee {decimal_text(f['fee'])},"
            f" {f['settlement']}",
        )
    end = order["sent_us"] or order["created_us"]
    yield Step(order["state"], end, order["reason"] or f"order {order['state']}")


def _number(name: str, value: Any) -> str:
    counted = name.endswith(("_s", "_us")) or not isinstance(value, int)
    return printable(value, 80) if counted else decimal_text(value)
