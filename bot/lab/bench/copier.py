"""The least that copies: it hears a trade, signs and posts, on our own transport and signer.

It stores nothing, judges nothing and survives nothing. What our path costs more is what that costs.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from bot.config.venue import Contracts
from bot.errors import BotError
from bot.lab.testbed import PATIENCE_S, Testbed
from bot.model.amounts import floor_to_tick, market_amounts
from bot.model.intent import mirror
from bot.model.leader import LeaderFill
from bot.model.market import Side, TokenId
from bot.model.order import Order, OrderKind, OrderState
from bot.model.units import MICRO
from bot.polymarket import wire
from bot.polymarket.clob import Clob
from bot.polymarket.signer import OrderSigner
from bot.polymarket.stream import Stream
from bot.polymarket.transport import Transport

#: What the bot's settings ask for, said once more: it buys for so much where he bought so much.
STAKE, LEAST = 5 * MICRO, 25 * MICRO
_WORSE = 20_000


class Copier:
    """Copies what each leader of a simulation buys, once a token."""

    def __init__(self, on: Testbed) -> None:
        address = on.address
        self._transport = Transport(address["clob_url"], timeout_s=10, requests_per_s=10_000)
        self._signer = OrderSigner(
            address["private_key"],
            chain_id=address["chain_id"],
            contracts=Contracts(),
            signature_type=0,
            funder=None,
        )
        self._clob = Clob(self._transport, self._signer, 0, timeout_s=10)
        self._leaders = {wallet.lower() for wallet in address["leaders"]}
        self._bought: Counter[tuple[str, str]] = Counter()
        self._seen: set[tuple[str, ...]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.stream = Stream(address["rtds_url"], _subscription, ping_s=5)

    async def run(self, heard: Callable[[], None]) -> None:
        """Copy until cancelled; `heard` is called when it has logged in and is about to listen."""
        await self._clob.read_clock()
        await self._clob.login()
        heard()
        try:
            await self.stream.run(self._on_frame)
        finally:
            await self._transport.close()

    async def _on_frame(self, text: str) -> None:
        found = wire.rtds(text)
        if found is None or found[1].wallet not in self._leaders or found[1].side is Side.SELL:
            return
        fill = found[1]
        if fill.group in self._seen:
            return
        self._seen.add(fill.group)
        before = self._bought[fill.wallet, fill.token]
        after = self._bought[fill.wallet, fill.token] = before + fill.usdc
        if before < LEAST <= after:
            task = asyncio.create_task(self._copy(fill), name="copy")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, fill: LeaderFill) -> None:
        market = await self._clob.public.market(fill.condition)
        assert market is not None
        price = floor_to_tick(fill.usdc * MICRO // fill.shares + _WORSE, market.tick)
        amounts = market_amounts(Side.BUY, price, STAKE, market.tick)
        now = time.time_ns() // 1000
        signed = self._signer.sign(
            TokenId(fill.token),
            Side.BUY,
            amounts,
            neg_risk=market.neg_risk,
            owner=self._clob.owner,
            now_us=now,
        )
        await self._clob.post(
            Order(
                id=signed.id, intent_id=None, attempt=1, portfolio=mirror(fill.wallet),
                condition=fill.condition, token=fill.token, side=Side.BUY, kind=OrderKind.FAK,
                price=price, **amounts._asdict(), reserved=0, body=signed.body,
                state=OrderState.POSTING, created_us=now, deadline_us=now + MICRO,
            )
        )  # fmt: skip


@contextmanager
def copying(on: Testbed) -> Iterator[None]:
    """Copy what happens on a testbed, in a thread, until left. Raises what broke it."""
    listening, loop = Event(), asyncio.new_event_loop()
    failed: list[BaseException] = []

    def work() -> None:
        asyncio.set_event_loop(loop)
        copier = Copier(on)
        task = loop.create_task(copier.run(listening.set))
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # told to whoever waits, in the other thread
            failed.append(error)
        finally:
            loop.close()

    thread = Thread(target=work, name="copier", daemon=True)
    thread.start()
    try:
        if not listening.wait(PATIENCE_S):
            raise failed[0] if failed else BotError("the bare copier did not start")
        yield
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(lambda: [t.cancel() for t in asyncio.all_tasks(loop)])
        thread.join(PATIENCE_S)
        if failed:
            raise failed[0]


def _subscription() -> list[str]:
    topics = [{"topic": "activity", "type": "trades"}]
    return [json.dumps({"action": "subscribe", "subscriptions": topics})]
