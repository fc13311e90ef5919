"""Recorded leaders: replay a session of real trades through the simulation's feeds.

The file is JSON: `{"events": [...]}`, one event a filled order. Every field is checked; a bad file
is refused with the event's number and the field, before anything starts.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from bot.errors import ConfigError
from bot.sim import recording
from bot.sim.entities import MICRO, SimMarket, new_market
from bot.sim.rows import FeedRow

MAX_BYTES = 64 * 1024 * 1024
MAX_MICROS = 10**12 * MICRO
#: Combinations tried to find how often each repeated row really happened.
MAX_TRIES = 100_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """One transaction: its rows as they were sent, repeats included, and what really happened."""

    at_us: int  #: after the first one
    sent: tuple[FeedRow, ...]
    facts: tuple[FeedRow, ...]


def load(path: Path, rng: random.Random, start_s: int) -> tuple[list[SimMarket], list[Recorded]]:
    """Return the markets and transactions of a recorded session; raises ConfigError.

    Times are moved so that the session begins at `start_s`.
    """
    events = _read(path)
    parsed = [_event(event, f"{path}: event {i}") for i, event in enumerate(events, 1)]
    if not parsed:
        raise ConfigError(f"{path}: expected at least one event, found none")
    markets = _markets(parsed, rng, path)
    by_tx: dict[str, list[dict[str, Any]]] = {}
    for event in parsed:
        by_tx.setdefault(event["tx"], []).append(event)
    first = min(event["at_ms"] for event in parsed)
    recorded = []
    for tx, rows in by_tx.items():
        at_ms = min(row["at_ms"] for row in rows) - first
        sent = tuple(_row(row, markets, tx, start_s + at_ms // 1000) for row in rows if row["said"])
        # What the stream left out others have told in whole answers.
        facts = (
            true_rows(sent)
            if sent
            else tuple(_row(row, markets, tx, start_s + at_ms // 1000) for row in rows)
        )
        recorded.append(Recorded(at_ms * 1000, sent, facts))
    return list(markets.values()), sorted(recorded, key=lambda r: r.at_us)


def true_rows(sent: tuple[FeedRow, ...]) -> tuple[FeedRow, ...]:
    """Return the rows of one transaction as often as they really happened.

    A feed may repeat rows, and identical rows may both be real. The taker's row, the largest, is
    there once and equals the sum of the others. Of the counts that fulfil this, the truth is the
    one nearest to how often each row was sent for each time the taker's was. Where no counts do,
    repeats are taken for repeats.
    """
    counts = Counter(sent)
    taker = max(counts, key=lambda row: row.shares)
    others = [row for row in counts if row is not taker]
    choices = [range(1, counts[row] + 1) for row in others]
    if others and prod(len(c) for c in choices) <= MAX_TRIES:
        sent_each = counts[taker]

        def distance(found: tuple[int, ...]) -> int:
            return sum(
                abs(n * sent_each - counts[row]) for n, row in zip(found, others, strict=True)
            )

        for found in sorted(product(*choices), key=distance):
            # Recorded sizes are rounded numbers: a hundredth of a share is equal.
            if (
                abs(
                    sum(n * row.shares for n, row in zip(found, others, strict=True)) - taker.shares
                )
                <= 10_000
            ):
                return taker, *(row for n, row in zip(found, others, strict=True) for _ in range(n))
    return tuple(counts)


def _read(path: Path) -> list[Any]:
    try:
        if recording.is_recording(path):
            return recording.events(path)
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path}: expected at most {MAX_BYTES} bytes, found {path.stat().st_size}"
            )
        document = json.loads(path.read_text("utf-8"), parse_float=Decimal, parse_constant=Decimal)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; give a file with --feed"
        ) from None
    except (ValueError, RecursionError, ArithmeticError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise ConfigError(f"{path}: not valid JSON: {reason}") from None
    events = document.get("events") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise ConfigError(f"{path}: expected a list `events`, found {type(events).__name__}")
    return events


def _event(event: Any, where: str) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise ConfigError(f"{where}: expected an object, found {type(event).__name__}")
    side = _text(event, "side", where, 4)
    if side not in ("BUY", "SELL"):
        raise ConfigError(f"{where}: side: expected BUY or SELL, found {_show(side)}")
    at_ms = event.get("source_ts_ms")
    if type(at_ms) is not int or not 0 < at_ms < 10**14:
        raise ConfigError(
            f"{where}: source_ts_ms: expected milliseconds since 1970, found {_show(at_ms)}"
        )
    token = _text(event, "token_id", where, 78)
    if not token.isascii() or not token.isdigit() or int(token) >= 2**256:
        raise ConfigError(f"{where}: token_id: expected a decimal uint256, found {_show(token)}")
    shares, price = _number(event, "size", where, MAX_MICROS), _number(event, "price", where, MICRO)
    if shares == 0 or not 0 < price < MICRO:
        raise ConfigError(
            f"{where}: size and price: expected a size above 0 and a price between 0 and 1"
        )
    return {
        "tx": _hex(event, "tx_hash", where, 64), "wallet": _hex(event, "trader", where, 40),
        "condition": _hex(event, "market_id", where, 64), "token": token, "side": side,
        "at_ms": at_ms,
        "shares": shares, "price": price,
        # Hostile text is passed on as it is: the bot must survive it.
        "title": _text(event, "title", where, 2000), "outcome": _text(event, "outcome", where, 200),
        "slug": _text(event, "slug", where, 500), "said": event.get("said", True) is True,
    }  # fmt: skip


def _text(event: dict[str, Any], field: str, where: str, most: int) -> str:
    value = event.get(field)
    if not isinstance(value, str) or len(value) > most:
        raise ConfigError(
            f"{where}: {field}: expected text of at most {most} characters, found {_show(value)}"
        )
    return value


def _hex(event: dict[str, Any], field: str, where: str, digits: int) -> str:
    value = _text(event, field, where, digits + 2).lower()
    if (
        len(value) != digits + 2
        or not value.startswith("0x")
        or any(c not in "0123456789abcdef" for c in value[2:])
    ):
        raise ConfigError(
            f"{where}: {field}: expected 0x and {digits} hex digits, found {_show(value)}"
        )
    return value


def _number(event: dict[str, Any], field: str, where: str, most: int) -> int:
    value = event.get(field)
    try:
        number = (
            Decimal(value)
            if isinstance(value, (int, str, Decimal)) and not isinstance(value, bool)
            else None
        )
    except InvalidOperation:
        number = None
    if isinstance(value, str) and not value.isascii():
        number = None
    # Compared unscaled: 1e999999 times a million overflows.
    if number is None or not number.is_finite() or not 0 <= number <= most // MICRO:
        raise ConfigError(
            f"{where}: {field}: expected a number from 0 to {most // MICRO}, found {_show(value)}"
        )
    return int((number * MICRO).to_integral_value())


def _show(value: object) -> str:
    return ascii(str(value)[:40])


def _markets(events: list[dict[str, Any]], rng: random.Random, path: Path) -> dict[str, SimMarket]:
    found: dict[str, SimMarket] = {}
    for event in events:
        condition = event["condition"]
        tokens = {e["token"]: e["outcome"] for e in events if e["condition"] == condition}
        if condition in found:
            continue
        if len(tokens) > 2:
            raise ConfigError(
                f"{path}: market_id {condition}: expected at most two tokens, found {len(tokens)}"
            )
        market = new_market(rng, event["title"], fee_rate=70_000)
        # The outcome that nobody traded gets an id of its neighbour's kind.
        ids, labels = [*tokens, str(int(event["token"]) ^ 1)][:2], [*tokens.values(), "other"][:2]
        prices = {e["price"] for e in events if e["condition"] == condition}
        market.condition, market.tokens, market.outcomes = (
            condition,
            (ids[0], ids[1]),
            (labels[0], labels[1]),
        )
        market.slug = event["slug"]
        # A V3 outcome token has zeros in bits 40 to 103 of its id.
        market.version = (
            "v2" if all(int(token) >> 40 & (1 << 64) - 1 == 0 for token in market.tokens) else "v1"
        )
        market.tick = next((t for t in (10_000, 1_000) if all(p % t == 0 for p in prices)), 100)
        found[condition] = market
    return found


def _row(event: dict[str, Any], markets: dict[str, SimMarket], tx: str, at_s: int) -> FeedRow:
    usdc = event["shares"] * event["price"] // MICRO
    return FeedRow(
        tx,
        event["wallet"],
        event["token"],
        event["side"],
        event["shares"],
        usdc,
        event["price"],
        markets[event["condition"]],
        "",
        at_s,
    )
