"""How a market has ended: what the CLOB and Gamma say of it, believed where both agree.

Prices near 0 and 1 prove nothing, `closed` alone neither, and each source is wrong at times. The
chain has the last word; until it is asked, a payout that these two agree on is what there is.
"""

from decimal import Decimal
from urllib.parse import quote

import msgspec
import structlog

from bot.errors import Unavailable
from bot.model.market import ConditionId, TokenId
from bot.polymarket import wire
from bot.polymarket.transport import Reply, Transport

logger = structlog.get_logger(__name__)
#: Numerators of the first and the second token: they pay numerator / sum a share.
Payouts = tuple[int, int]
_BY_PRICES: dict[tuple[Decimal, ...], Payouts] = {
    (Decimal(1), Decimal(0)): (1, 0),
    (Decimal(0), Decimal(1)): (0, 1),
    (Decimal("0.5"), Decimal("0.5")): (1, 1),
}


class _Token(msgspec.Struct):
    token_id: str
    winner: bool = False


class _ClobMarket(msgspec.Struct):
    condition_id: str
    closed: bool
    tokens: list[_Token]
    is_50_50_outcome: bool = False


class _GammaMarket(msgspec.Struct):
    conditionId: str
    closed: bool = False
    outcomePrices: str = "[]"
    clobTokenIds: str = "[]"
    umaResolutionStatus: str | None = None
    resolutionStatus: str | None = None


class Resolutions:
    """Asks both sources; no authentication."""

    def __init__(self, clob: Transport, gamma: Transport) -> None:
        self._clob, self._gamma = clob, gamma

    async def payouts(
        self, condition: ConditionId, tokens: tuple[TokenId, TokenId]
    ) -> Payouts | None:
        """Return what an ended market pays, or None: it has not ended, or they do not agree.

        Raises Unavailable if one of them does not answer, or not readably.
        """
        by_clob = await self._by_clob(condition, tokens)
        if by_clob is None:
            return None
        by_gamma = await self._by_gamma(condition, tokens)
        if by_gamma != by_clob:
            logger.warning("market.disagreed", condition=condition, clob=by_clob, gamma=by_gamma)
            return None
        return by_clob

    async def _by_clob(
        self, condition: ConditionId, tokens: tuple[TokenId, TokenId]
    ) -> Payouts | None:
        reply = await self._clob.read(f"/markets/{quote(condition)}")
        if reply.status == 404:
            return None
        found = _read(reply, _ClobMarket)
        won = {token.token_id: int(token.winner) for token in found.tokens}
        if not found.closed or found.condition_id != condition or set(won) != set(tokens):
            return None
        first, second = won[tokens[0]], won[tokens[1]]
        if first + second == 1:
            return (first, second)
        return (1, 1) if found.is_50_50_outcome and first + second == 0 else None

    async def _by_gamma(
        self, condition: ConditionId, tokens: tuple[TokenId, TokenId]
    ) -> Payouts | None:
        # Closed markets and those of the second version are hidden unless they are asked for.
        query = f"condition_ids={quote(condition)}&closed=true&version=v1&version=v2"
        found = _read(await self._gamma.read(f"/markets?{query}"), list[_GammaMarket])
        rows = [row for row in found if row.conditionId == condition and row.closed]
        if len(rows) != 1 or "resolved" not in (
            rows[0].umaResolutionStatus,
            rows[0].resolutionStatus,
        ):
            return None
        try:
            ids = wire.decode(rows[0].clobTokenIds, list[str])
            prices = tuple(Decimal(p) for p in wire.decode(rows[0].outcomePrices, list[str]))
            payouts = _BY_PRICES.get(prices)
        except (wire.BadInput, ArithmeticError, TypeError):  # a signalling NaN cannot be looked up
            return None
        if payouts is None or set(ids) != set(tokens) or len(ids) != 2:
            return None
        return payouts if ids[0] == tokens[0] else (payouts[1], payouts[0])


def _read(reply: Reply, kind: type[wire.T]) -> wire.T:
    if reply.status != 200:
        raise Unavailable(f"market's end: HTTP {reply.status}")
    try:
        return wire.decode(reply.body, kind)
    except wire.BadInput as error:
        raise Unavailable(f"market's end: unreadable answer: {error}") from None
