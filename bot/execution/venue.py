"""What the executor needs of an exchange."""

from typing import Protocol

from bot.model import Book, Market, Order, OrderId, Outcome, TokenId
from bot.polymarket.wire import OpenOrder, Trade


class Venue(Protocol):
    """One wallet at one exchange. Every method but `post` may raise Unavailable."""

    @property
    def owner(self) -> str:
        """Return the id of the API key that owns our orders."""
        ...

    async def post(self, order: Order) -> Outcome:
        """Send the stored bytes once; never raises for network or exchange."""
        ...

    async def order(self, order_id: OrderId) -> OpenOrder | None:
        """Return a live order, or None, which proves nothing."""
        ...

    async def open_orders(self) -> list[OpenOrder]:
        """Return every order of this wallet that rests at the exchange."""
        ...

    async def trades(self, market: str | None, *, after_s: int) -> list[Trade]:
        """Return our trades of a condition, or of all."""
        ...

    async def market(self, condition: str) -> Market | None:
        """Return a market's facts, or None if the exchange has none that can be traded on."""
        ...

    def forget_market(self, condition: str) -> None:
        """Drop cached facts."""
        ...

    async def shares(self, token: TokenId) -> int:
        """Return our settled shares of a token in micro-shares."""
        ...

    @property
    def skew_s(self) -> int:
        """Return the exchange's clock minus ours in whole seconds, as last measured; 0 before that."""
        ...

    async def collateral(self) -> int:
        """Return our collateral in micro-USDC."""
        ...


class BookSource(Protocol):
    """Where current books come from."""

    async def watch(self, tokens: list[TokenId], *, max_age_us: int) -> None:
        """Keep these tokens' books current from now on; fetch those that are missing or older."""
        ...

    def book(self, token: TokenId) -> Book | None:
        """Return a book, or None if it was never seen."""
        ...
