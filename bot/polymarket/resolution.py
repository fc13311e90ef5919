"""How a market has ended: what the CLOB and Gamma say of it, believed where both agree.

Prices near 0 and 1 prove nothing, `closed` alone neither, and each source is wrong at times. The
chain has the last word; until it is asked, a payout that these two agree on is what there is.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from urllib.parse import quote

import msgspec
import structlog

from bot.errors import Unavailable
from bot.model.market import ConditionId, TokenId
from bot.polymarket import wire
from bot.polymarket.public import decoded
from bot.polymarket.transport import Transport

logger = structlog.get_logger(__name__)
#: Numerators of the first and the second token: they pay numerator / sum a share.
Payouts = tuple[int, int]
Tokens = tuple[TokenId, TokenId]
Asked = tuple[ConditionId, Tokens]
#: Conditions in one request: more do not fit into a line of 8 kB.
AT_ONCE = 50
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

    async def ended(self, asked: Sequence[Asked]) -> dict[ConditionId, Payouts]:
        """Return what those of at most `AT_ONCE` markets pay that have ended: both say so, and
        agree.

        One request for all of them, and one more for each that Gamma says has ended. What cannot
        be read of one market leaves it out. Raises Unavailable if Gamma does not answer.
        """
        found: dict[ConditionId, Payouts] = {}
        tokens = dict(asked)
        for condition, by_gamma in (await self._by_gamma(tokens)).items():
            try:
                by_clob = await self._by_clob(condition, tokens[condition])
            except Unavailable as error:
                logger.warning("market.life_unknown", condition=condition, error=str(error))
                continue
            if by_clob == by_gamma:
                found[condition] = by_gamma
            else:
                logger.warning(
                    "market.disagreed", condition=condition, clob=by_clob, gamma=by_gamma
                )
        return found

    async def _by_clob(self, condition: ConditionId, tokens: Tokens) -> Payouts | None:
        reply = await self._clob.read(f"/markets/{quote(condition)}")
        if reply.status == 404:
            return None
        found = decoded(reply, _ClobMarket)
        won = {token.token_id: int(token.winner) for token in found.tokens}
        if not found.closed or found.condition_id != condition or set(won) != set(tokens):
            return None
        first, second = won[tokens[0]], won[tokens[1]]
        if first + second == 1:
            return (first, second)
        return (1, 1) if found.is_50_50_outcome and first + second == 0 else None

    async def _by_gamma(self, tokens: Mapping[ConditionId, Tokens]) -> dict[ConditionId, Payouts]:
        # Closed markets and those of the second version are hidden unless they are asked for.
        query = "&".join(f"condition_ids={quote(condition)}" for condition in tokens)
        reply = await self._gamma.read(
            f"/markets?{query}&closed=true&version=v1&version=v2&limit=100"
        )
        found: dict[ConditionId, list[Payouts | None]] = {}
        for raw in decoded(reply, list[msgspec.Raw]):
            try:
                row = wire.decode(bytes(raw), _GammaMarket)
                condition = ConditionId(row.conditionId)
                if condition in tokens and row.closed:
                    found.setdefault(condition, []).append(_paid(row, tokens[condition]))
            except wire.BadInput as error:
                logger.warning("market.refused", error=str(error))
        # Two rows of one market contradict each other, whatever they say.
        return {c: p[0] for c, p in found.items() if len(p) == 1 and p[0] is not None}


def _paid(row: _GammaMarket, tokens: Tokens) -> Payouts | None:
    """Return what a closed market pays a share of these tokens, or None: that is not known yet."""
    if "resolved" not in (row.umaResolutionStatus, row.resolutionStatus):
        return None
    try:
        ids = wire.decode(row.clobTokenIds, list[str])
        prices = tuple(Decimal(p) for p in wire.decode(row.outcomePrices, list[str]))
        payouts = _BY_PRICES.get(prices)
    except (wire.BadInput, ArithmeticError, TypeError):  # a signalling NaN cannot be looked up
        return None
    if payouts is None or set(ids) != set(tokens) or len(ids) != 2:
        return None
    return payouts if ids[0] == tokens[0] else (payouts[1], payouts[0])
