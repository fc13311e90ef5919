"""The CLOB over REST: post an order, look for evidence, read markets, books and balances."""

import asyncio
import json
import time

import structlog
from aiolimiter import AsyncLimiter

from bot.errors import ConfigError, Unavailable
from bot.model.fill import Evidence, Fill, Unreadable
from bot.model.market import TokenId
from bot.model.order import Deferred, LiveOrder, Order, OrderId, Outcome, Unknown
from bot.model.units import printable
from bot.polymarket import trades, wire
from bot.polymarket.answers import (
    END_CURSOR,
    ApiKey,
    Asset,
    Balance,
    Cancelled,
    ClosedOnly,
    Page,
    Refusal,
)
from bot.polymarket.auth import Credentials, l1_headers, l2_headers
from bot.polymarket.outcomes import read_outcome
from bot.polymarket.public import Public, decoded
from bot.polymarket.signer import OrderSigner, is_v3
from bot.polymarket.transport import NoAnswer, NotSent, Reply, Transport

logger = structlog.get_logger(__name__)
#: Half of the documented ceiling of balance updates.
BALANCES_PER_10_S = 25
#: A trade's market is asked for no longer than this: the other trades wait.
FACTS_S = 3
#: Half of what an answer takes is the error of the clock that is read from it.
SLOW_CLOCK_S = 2.0


class Clob:
    """One wallet at the exchange."""

    def __init__(
        self,
        transport: Transport,
        signer: OrderSigner,
        signature_type: int,
        *,
        timeout_s: float,
        public: Public | None = None,
    ) -> None:
        self._http, self._signer, self._type, self._timeout_s = (
            transport,
            signer,
            signature_type,
            timeout_s,
        )
        self._credentials: Credentials | None = None
        self.public = public or Public(transport)
        self._balances = AsyncLimiter(BALANCES_PER_10_S, 10)
        #: (monotonic, exchange) seconds when its clock was last read; what happens to ours shows at
        #: once.
        self._clock: tuple[float, int] | None = None

    @property
    def owner(self) -> str:
        """Return the id of the API key, which owns every order."""
        assert self._credentials is not None
        return self._credentials.key

    async def login(self) -> None:
        """Create API credentials, or derive those that exist. They are kept in memory only.

        Raises ConfigError if the exchange refuses the wallet, Unavailable if nobody answers.
        """
        for method, path in (("POST", "/auth/api-key"), ("GET", "/auth/derive-api-key")):
            headers = l1_headers(self._signer.signer, now_s=self._now_s())
            try:
                reply = await self._http.send(method, path, headers=headers)
            except (NotSent, NoAnswer) as error:
                raise Unavailable(f"{method} {path}: {error}") from None
            if reply.status == 200:
                found = decoded(reply, ApiKey)
                self._credentials = Credentials(found.apiKey, found.secret, found.passphrase)
                return
            if not _refusal(reply):
                raise Unavailable(f"{method} {path}: HTTP {reply.status}")
        raise ConfigError(
            f"account: the exchange refuses {self._signer.address}: HTTP {reply.status}"
            f" {printable(_refusal(reply))}"
        )

    async def restriction(self) -> str | None:
        """Return why no entry of this account can be placed from here, or None.

        The region is tested before authentication, so an empty order without credentials tells
        (docs: geoblock). Raises Unavailable if nobody answers.
        """
        try:
            reply = await self._http.send("POST", "/order", body="{}")
        except (NotSent, NoAnswer) as error:
            raise Unavailable(f"POST /order: {error}") from None
        if reply.status == 403 and "restricted in your region" in _refusal(reply).lower():
            return f"the exchange takes no orders from this region: {printable(_refusal(reply))}"
        if reply.status == 403 and not _refusal(reply):
            return "a gateway refuses our orders with a page (HTTP 403)"
        closed = decoded(await self._evidence("/auth/ban-status/closed-only", {}), ClosedOnly)
        if closed.closed_only:
            return "the exchange lets this account close positions only"
        return None

    async def _log_in_again(self) -> None:
        # A clock has leapt, or the key was forgotten there; deriving it again gives the same one.
        try:
            await self.read_clock()
            await self.login()
        except ConfigError as error:
            raise Unavailable(str(error)) from None

    async def read_clock(self) -> int:
        """Read the exchange's clock and return `skew_s`; raises Unavailable."""
        began = time.monotonic()
        try:
            reply = await self._http.send("GET", "/time")
        except (NotSent, NoAnswer) as error:
            raise Unavailable(f"GET /time: {error}") from None
        took = time.monotonic() - began
        if took > SLOW_CLOCK_S:
            raise Unavailable(f"GET /time: answered after {took:.1f} s, too late to set a clock by")
        self._clock = began + took / 2, decoded(reply, int)
        return self.skew_s

    @property
    def skew_s(self) -> int:
        """Return the exchange's time minus ours in whole seconds; 0 before it was first read.

        Counted on from the last reading by the monotonic clock, so a leap of the machine's own
        clock, or a suspended machine, shows before the next reading.
        """
        return self._now_s() - int(time.time())

    def _now_s(self) -> int:
        # Requests are stamped with the exchange's time: exits go on while our clock is wrong.
        if self._clock is None:
            return int(time.time())
        return self._clock[1] + int(time.monotonic() - self._clock[0])

    async def post(self, order: Order) -> Outcome:
        """Send an order's stored bytes once and return what the answer proves.

        Only the HMAC headers differ between two posts of one order. Never raises for what the
        network or the exchange does.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._private("POST", "/order", order.body)
        except TimeoutError:
            return Unknown("timeout")
        except NotSent as error:
            return Deferred(f"not sent: {error}")
        except NoAnswer as error:
            return Unknown(str(error))
        if reply.status == 401:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._log_in_again()
            except (Unavailable, TimeoutError) as error:
                return Deferred(f"HTTP 401, {error}")
            if self.owner == json.loads(order.body)["owner"]:
                return Deferred("HTTP 401, logged in again")
        return read_outcome(
            reply.status,
            reply.body,
            order_id=order.id,
            maker_amount=order.maker_amount,
            retry_after=reply.retry_after,
        )

    async def order(self, order_id: OrderId) -> LiveOrder | None:
        """Return a live order, or None. None proves nothing: filled orders are not found either."""
        reply = await self._evidence(f"/data/order/{order_id}", {})
        if reply.status == 404 or reply.body.strip() in (b"", b"null"):
            return None
        found = decoded(reply, wire.OpenOrder)
        status = found.status.upper().removeprefix("ORDER_STATUS_")
        return LiveOrder(OrderId(found.id)) if status in ("LIVE", "DELAYED") else None

    async def cancel(self, order_id: OrderId) -> bool:
        """Ask for an order's cancel; return whether the exchange says that it is cancelled.

        `not_canceled` is no end: the order may be live, or filled (docs: cancels and their races).
        Raises Unavailable if nobody answers.
        """
        body = json.dumps({"orderID": order_id}, separators=(",", ":"))
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._private("DELETE", "/order", body)
        except (NotSent, NoAnswer, TimeoutError) as error:
            raise Unavailable(f"DELETE /order: {error}") from None
        if reply.status == 401:
            await self._log_in_again()
        return order_id in decoded(reply, Cancelled).canceled

    async def open_orders(self) -> list[LiveOrder]:
        """Return every order of ours that rests at the exchange."""
        found, unreadable = await self._pages("/data/orders", {}, wire.OpenOrder)
        if unreadable:
            raise Unavailable(f"GET /data/orders: unreadable row: {unreadable[0].why}")
        return [LiveOrder(OrderId(order.id)) for order in found]

    async def fills(self, condition: str | None, *, after_s: int) -> Evidence:
        """Return our fills of a condition (None: of all) since `after_s`, all pages of them."""
        params = {"after": str(after_s), **({"market": condition} if condition else {})}
        shown, unreadable = await self._pages("/data/trades", params, trades.Trade)
        found: list[Fill] = []
        for trade in shown:
            evidence = await self.read_trade(trade)
            found += evidence.fills
            unreadable += evidence.unreadable
        return Evidence(tuple(found), tuple(unreadable))

    async def read_trade(self, trade: trades.Trade) -> Evidence:
        """Return what one trade says of our orders.

        One of a market that nobody tells is unreadable.
        """
        condition = trade.market.lower()
        market = self.public.told.get(condition)
        if market is None:
            try:
                async with asyncio.timeout(FACTS_S):
                    market = await self.public.market(condition)
            except (Unavailable, TimeoutError):
                market = None  # it costs what it names, not the rest of the answer
        if market is None:
            why = f"trade {printable(trade.id, 80)}: market {trade.market[:20]} is unknown"
            return Evidence((), (Unreadable(why, _token(trade.asset_id)),))
        try:
            wallet = self._signer.maker
            found = trades.our_fills(trade, owner=self.owner, wallet=wallet, market=market)
        except wire.BadInput as error:
            why = f"trade {printable(trade.id, 80)}: {error}"
            return Evidence((), (Unreadable(why, _token(trade.asset_id)),))
        return Evidence(tuple(found))

    async def _pages(
        self, path: str, params: dict[str, str], kind: type[wire.T]
    ) -> tuple[list[wire.T], list[Unreadable]]:
        """Return all rows of all pages, and why those are missing that nobody could read."""
        found: list[wire.T] = []
        unreadable: list[Unreadable] = []
        cursor = "MA=="
        while cursor != END_CURSOR:
            page = decoded(await self._evidence(path, {**params, "next_cursor": cursor}), Page)
            for row in page.data:
                try:
                    found.append(wire.decode(bytes(row), kind))
                except wire.BadInput as error:
                    unreadable.append(Unreadable(str(error), _named(bytes(row))))
            if page.next_cursor == cursor:
                raise Unavailable(f"GET {path}: the cursor does not move")
            cursor = page.next_cursor
        return found, unreadable

    async def shares(self, token: TokenId) -> int:
        """Return our settled shares of a token in micro-shares."""
        kind = "CONDITIONAL-V2" if is_v3(token) else "CONDITIONAL"
        return await self._balance({"asset_type": kind, "token_id": token})

    async def collateral(self) -> int:
        """Return our collateral at the exchange in micro-USDC."""
        return await self._balance({"asset_type": "COLLATERAL"})

    async def _balance(self, params: dict[str, str]) -> int:
        asked = {**params, "signature_type": str(self._type)}
        await self._balances.acquire()
        await self._evidence(
            "/balance-allowance/update", asked
        )  # it answers from a cache otherwise
        reply = await self._evidence("/balance-allowance", asked)
        text = decoded(reply, Balance).balance
        if not text.isascii() or not text.isdigit() or len(text) > 30:
            raise Unavailable(f"GET /balance-allowance: unreadable balance {printable(text, 40)!r}")
        return int(text)

    async def _evidence(self, path: str, params: dict[str, str]) -> Reply:
        for again in (False, True):
            headers = self._headers("GET", path, None)
            reply = await self._http.read(path, params, headers, purpose="evidence")
            if reply.status != 401:
                return reply
            if not again:
                await self._log_in_again()
        raise Unavailable(f"GET {path}: HTTP 401; the exchange does not know this API key")

    async def _private(self, method: str, path: str, body: str | None) -> Reply:
        return await self._http.send(
            method, path, headers=self._headers(method, path, body), body=body
        )

    def _headers(self, method: str, path: str, body: str | None) -> dict[str, str]:
        assert self._credentials is not None
        return l2_headers(
            self._signer.signer, self._credentials, method, path, body, now_s=self._now_s()
        )

    @property
    def user_auth(self) -> dict[str, str]:
        """Return the credentials the user channel asks for in its first frame."""
        assert self._credentials is not None
        found = self._credentials
        return {"apiKey": found.key, "secret": found.secret, "passphrase": found.passphrase}


def _named(row: bytes) -> TokenId | None:
    """Return the token that an otherwise unreadable row names, or None."""
    try:
        return _token(wire.decode(row, Asset).asset_id)
    except wire.BadInput:
        return None


def _token(text: str) -> TokenId | None:
    try:
        return wire.token_id(text)
    except wire.BadInput:
        return None


def _refusal(reply: Reply) -> str:
    """Return the text of the exchange's own refusal, or '' where a gateway or nobody speaks."""
    if reply.status not in (400, 401, 403):
        return ""
    try:
        return wire.decode(reply.body, Refusal).error
    except wire.BadInput:
        return ""
