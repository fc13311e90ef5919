"""What the bot needs of the world, in its own words.

Adapters live above; nothing here knows them.
"""

from typing import Protocol

from bot.model.decision import Proposal, Skip, View
from bot.model.fill import Evidence
from bot.model.market import Book, Market, TokenId
from bot.model.order import LiveOrder, Order, OrderId, Outcome


class OrderVenue(Protocol):
    """One wallet at one exchange. Every method but `post` may raise Unavailable."""

    @property
    def owner(self) -> str:
        """Return the id of the API key that owns our orders."""
        ...

    @property
    def skew_s(self) -> int:
        """Return the exchange's clock minus ours in whole seconds; 0 before it was measured."""
        ...

    async def post(self, order: Order) -> Outcome:
        """Send the stored bytes once; never raises for network or exchange."""
        ...

    async def order(self, order_id: OrderId) -> LiveOrder | None:
        """Return an order that the exchange holds, or None, which proves nothing."""
        ...

    async def cancel(self, order_id: OrderId) -> bool:
        """Ask for an order's cancel; return whether the exchange says that it is cancelled.

        False proves nothing, and fills of a cancelled order may still show.
        """
        ...

    async def open_orders(self) -> list[LiveOrder]:
        """Return every order of this wallet that rests at the exchange."""
        ...

    async def fills(self, condition: str | None, *, after_s: int) -> Evidence:
        """Return this wallet's fills of a condition (None: of all) since `after_s`."""
        ...

    async def shares(self, token: TokenId) -> int:
        """Return our settled shares of a token in micro-shares."""
        ...

    async def collateral(self) -> int:
        """Return our collateral in micro-USDC."""
        ...


class MarketData(Protocol):
    """What is known of markets, kept current beside the loop."""

    async def market(self, condition: str) -> Market | None:
        """Return a market's facts, or None if the exchange has none that can be traded on.

        Raises Unavailable if nobody answers.
        """
        ...

    def at_hand(self, condition: str, token: TokenId, *, max_age_us: int) -> Market | None:
        """Return a market's facts if nobody need be asked: they and a fresh book are known."""
        ...

    def forget_market(self, condition: str) -> None:
        """Drop known facts: the exchange has said that they are old."""
        ...

    async def watch(self, tokens: list[TokenId], *, max_age_us: int) -> None:
        """Keep these tokens' books current from now on; fetch those missing or older than that."""
        ...

    def book(self, token: TokenId) -> Book | None:
        """Return a book, or None if it was never seen."""
        ...

    def last_bid(self, token: TokenId) -> int | None:
        """Return the best bid last seen, or None if none was seen in this life."""
        ...


class Strategy(Protocol):
    """Decides what one signal should become. Pure: same view, same answer."""

    def evaluate(self, view: View) -> Proposal | Skip:
        """Return the order this strategy wants, or why it wants none."""
        ...
