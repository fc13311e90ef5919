"""Gamma: the catalogue of markets. Minutes late, and it hides what is not asked for by name.

Closed markets and those of the second version are left out unless they are asked for, a page has
at most a hundred rows whatever limit is sent, and lists come as JSON inside strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import quote

import msgspec

from bot.model.market import ConditionId, Facts, TokenId
from bot.model.units import printable
from bot.polymarket import wire
from bot.polymarket.public import decoded
from bot.polymarket.transport import Reply, Transport

PAGE = 100
#: Conditions in one request: more do not fit into a line of 8 kB.
CONDITIONS_AT_ONCE = 50
TOKENS_AT_ONCE = 50
#: Events in one request: each brings all its markets along.
EVENTS_AT_ONCE = 10
_VERSIONS = "version=v1&version=v2"


class _Event(msgspec.Struct):
    id: str = ""


class _Fee(msgspec.Struct):
    rate: Decimal = Decimal(0)
    exponent: int = 1


class _Row(msgspec.Struct, rename="camel"):
    condition_id: str
    clob_token_ids: str
    outcomes: str
    order_price_min_tick_size: Decimal
    order_min_size: Decimal
    question: str = ""
    version: str = "v1"
    neg_risk: bool = False
    neg_risk_other: bool = False
    active: bool = True
    closed: bool = False
    accepting_orders: bool = False
    enable_order_book: bool = False
    uma_resolution_status: str | None = None
    fees_enabled: bool = False
    fee_schedule: _Fee | None = None
    events: list[_Event] = []


class _Nested(msgspec.Struct):
    id: str
    markets: list[msgspec.Raw] = []


class _Page(msgspec.Struct):
    markets: list[msgspec.Raw]
    next_cursor: str | None = None


@dataclass(slots=True)
class Listing:
    """Markets of one answer, and what could not be read of it."""

    facts: list[Facts] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    next_cursor: str | None = None


class Gamma:
    """Reads of the catalogue; no authentication. Every read raises Unavailable."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def markets(self, conditions: Sequence[ConditionId]) -> Listing:
        """Return what is listed of at most `CONDITIONS_AT_ONCE` markets that are not closed."""
        query = "&".join(f"condition_ids={quote(condition)}" for condition in conditions)
        reply = await self._http.read(
            f"/markets?{query}&limit={PAGE}&{_VERSIONS}", purpose="prefetch"
        )
        return listing(decoded(reply, list[msgspec.Raw]))

    async def of_tokens(self, tokens: Sequence[TokenId]) -> Listing:
        """Return what is listed of the markets of at most `TOKENS_AT_ONCE` outcome tokens."""
        query = "&".join(f"clob_token_ids={quote(token)}" for token in tokens)
        reply = await self._http.read(
            f"/markets?{query}&limit={PAGE}&{_VERSIONS}", purpose="prefetch"
        )
        return listing(decoded(reply, list[msgspec.Raw]))

    async def siblings(self, events: Sequence[str]) -> Listing:
        """Return the markets of at most `EVENTS_AT_ONCE` events."""
        query = "&".join(f"id={quote(event)}" for event in events)
        reply = await self._http.read(
            f"/events?{query}&limit={PAGE}&{_VERSIONS}", purpose="prefetch"
        )
        found = Listing()
        for raw in decoded(reply, list[msgspec.Raw]):
            try:
                nested = wire.decode(bytes(raw), _Nested)
            except wire.BadInput as error:
                found.refused.append(str(error))
                continue
            part = listing(nested.markets, nested.id)
            found.facts += part.facts
            found.refused += part.refused
        return found

    async def page(self, cursor: str | None, *, newest_first: bool = False) -> Listing:
        """Return a page of all markets that are not closed, and where the next one starts."""
        order = "&order=id&ascending=false" if newest_first else ""
        after = f"&after_cursor={quote(cursor)}" if cursor else ""
        reply = await self._read(
            f"/markets/keyset?closed=false&limit={PAGE}&{_VERSIONS}{order}{after}"
        )
        page = decoded(reply, _Page)
        found = listing(page.markets)
        found.next_cursor = page.next_cursor
        return found

    async def _read(self, path: str) -> Reply:
        # Whoever asks how our own markets have ended does not wait for this.
        return await self._http.read(path, purpose="prefetch")


def listing(rows: Sequence[msgspec.Raw], event: str | None = None) -> Listing:
    """Return what rows tell, of an `event` where they do not name it; what cannot be read of them
    is told and costs no other row.
    """
    found = Listing()
    for row in rows:
        try:
            found.facts.append(_facts(bytes(row), event))
        except wire.BadInput as error:
            found.refused.append(str(error))
    return found


def _facts(data: bytes, event: str | None) -> Facts:
    row = wire.decode(data, _Row)
    tokens = wire.decode(row.clob_token_ids, list[str])
    outcomes = wire.decode(row.outcomes, list[str])
    if len(tokens) != 2 or len(outcomes) != 2 or row.version not in ("v1", "v2"):
        raise wire.BadInput(
            "market: expected two tokens and outcomes of version v1 or v2,"
            f" found {len(tokens)} and {len(outcomes)} of {printable(row.version, 20)}"
        )
    if row.fees_enabled and row.fee_schedule is None:
        raise wire.BadInput("feeSchedule: expected one, as feesEnabled is true")
    charged = row.fee_schedule if row.fees_enabled and row.fee_schedule else _Fee()
    rate, exponent = wire.fee(charged.rate, charged.exponent, "feeSchedule")
    first, second = (TokenId(wire.token_id(token)) for token in tokens)
    told = event or (row.events[0].id if row.events else None)
    return Facts(
        condition=wire.condition_id(row.condition_id, "conditionId"),
        tokens=(first, second),
        outcomes=(printable(outcomes[0], 40), printable(outcomes[1], 40)),
        tick=wire.tick(row.order_price_min_tick_size, "orderPriceMinTickSize"),
        min_shares=wire.micros(row.order_min_size, "orderMinSize"),
        neg_risk=row.neg_risk,
        version="v1" if row.version == "v1" else "v2",
        fee_rate=rate,
        fee_exponent=exponent,
        accepting=_accepts(row),
        event=printable(told, 80) if told else None,
        title=printable(row.question, 200) or None,
    )


def _accepts(row: _Row) -> bool:
    # `active` stays true when a market closes, and a placeholder of a neg-risk event is no market.
    open_still = row.active and not row.closed and not row.uma_resolution_status
    return open_still and row.accepting_orders and row.enable_order_book and not row.neg_risk_other
