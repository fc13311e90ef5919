"""One merged YES/NO book per condition: price-time matching, mint and merge.

Buying YES at p meets selling YES at p or less, and buying NO at 1 - p or more (mint: both
stakes make a pair). Selling meets mirrored (merge: a pair gives its dollar back).
"""

from collections.abc import Iterator

from bot.sim.entities import MICRO, Piece, SimMarket, SimOrder

Levels = dict[int, int]


class MergedBook:
    """Resting orders of one condition."""

    def __init__(self, market: SimMarket) -> None:
        self.market = market
        self.orders: dict[str, SimOrder] = {}

    def levels(self, token: str) -> tuple[Levels, Levels]:
        """Return (bids, asks) of a token as price -> shares; the other token's are mirrored."""
        bids: Levels = {}
        asks: Levels = {}
        for order in self.orders.values():
            side = bids if order.bid else asks
            side[order.yes_price] = side.get(order.yes_price, 0) + order.left
        if token == self.market.tokens[0]:
            return bids, asks
        return {MICRO - p: s for p, s in asks.items()}, {MICRO - p: s for p, s in bids.items()}

    def crossing(self, taker: SimOrder) -> Iterator[SimOrder]:
        """Yield the resting orders that `taker` crosses, best price first, oldest first."""
        makers = [o for o in self.orders.values() if o.bid != taker.bid]
        makers.sort(key=lambda o: (-o.yes_price if o.bid else o.yes_price, o.number))
        for maker in makers:
            if not _crosses(taker, self._price_for(taker, maker)):
                return
            yield maker

    def match(self, taker: SimOrder) -> list[Piece]:
        """Return what `taker` matches now, without booking it. Executes at the makers' prices."""
        pieces: list[Piece] = []
        wanted, budget = taker.left, taker.making - taker.spent
        for maker in self.crossing(taker):
            at = self._price_for(taker, maker)
            market_buy = taker.side == "BUY" and taker.kind in ("FAK", "FOK")
            shares = min(maker.left, budget * MICRO // at if market_buy else wanted)
            if shares <= 0:
                break
            mint = maker.token != taker.token
            maker_usdc = shares * maker.price // MICRO
            taker_usdc = shares - maker_usdc if mint else maker_usdc
            pieces.append(Piece(maker, shares, maker_usdc, taker_usdc, mint))
            wanted, budget = wanted - shares, budget - taker_usdc
            if shares < maker.left:
                break  # a rounding rest of the budget buys nothing
        return pieces

    @staticmethod
    def _price_for(taker: SimOrder, maker: SimOrder) -> int:
        return maker.price if maker.token == taker.token else MICRO - maker.price


def _crosses(taker: SimOrder, at: int) -> bool:
    # Exact: the order's own ratio, not a rounded price.
    if taker.side == "BUY":
        return at * taker.taking <= taker.making * MICRO
    return at * taker.making >= taker.taking * MICRO


def third(piece: Piece) -> Piece:
    """Return a third of a match: what is left of it where others were faster."""
    shares = piece.shares // 3
    usdc = (piece.maker_usdc * shares // piece.shares, piece.taker_usdc * shares // piece.shares)
    return Piece(piece.order, shares, *usdc, piece.mint)


def fee(market: SimMarket, pieces: list[Piece]) -> int:
    """Return the taker's fee in micro-USDC: shares x rate x (p(1-p))^exponent, cut to 5 decimals.

    p is the average price of the taker's own match, what it paid by what it got.
    """
    shares, usdc = sum(piece.shares for piece in pieces), sum(piece.taker_usdc for piece in pieces)
    if not shares:
        return 0
    exact = market.fee_rate * shares * (usdc * (shares - usdc)) ** market.fee_exponent
    return int(exact // (MICRO * shares ** (2 * market.fee_exponent) * 10)) * 10
