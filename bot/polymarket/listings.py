"""New markets as the market channel names them, before any list has them.

Told to whoever subscribes to at least one token with the custom flag, for all markets. It has a
connection of its own: were it one that keeps books, news of others' markets would pass for proof
that those books are current.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from bot.model.market import Facts, TokenId
from bot.model.units import printable
from bot.polymarket import wire
from bot.polymarket.stream import Stream

logger = structlog.get_logger(__name__)
#: Until any token is known there is nothing to subscribe to.
WAIT_S = 5.0
#: Something is said of an active market more often than this.
SILENCE_S = 60.0


class _NewMarket(msgspec.Struct):
    event_type: str = ""
    market: str = ""
    condition_id: str = ""
    assets_ids: list[str] = []
    clob_token_ids: list[str] = []
    outcomes: list[str] = []
    order_price_min_tick_size: str = ""


class Listings:
    """Calls `heard` with what is said of each new market: its tokens, outcomes and tick."""

    def __init__(
        self,
        url: str,
        some_token: Callable[[], Awaitable[TokenId | None]],
        heard: Callable[[Facts], None],
    ) -> None:
        self._some_token, self._heard = some_token, heard
        self._token: TokenId | None = None
        # Who hears nothing of the token either asks again: pongs alone prove no subscription.
        self.stream = Stream(
            url, self._subscription, ping_s=10, silence_s=SILENCE_S, reconnect_s=3 * SILENCE_S
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            if await self._choose():
                break
            await asyncio.sleep(WAIT_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_choosing(), name="listings.token")
            await self.stream.run(self._on_frame)

    async def _choose(self) -> bool:
        self._token = await self._some_token() or self._token
        return self._token is not None

    async def _keep_choosing(self) -> None:
        # The market of a token ends some day; the next subscription names another.
        while True:
            await asyncio.sleep(SILENCE_S)
            await self._choose()

    def _subscription(self) -> list[str]:
        frame = {"type": "market", "assets_ids": [self._token], "custom_feature_enabled": True}
        return [json.dumps(frame)]

    async def _on_frame(self, text: str) -> None:
        if "new_market" not in text:
            return
        try:
            events = wire.decode(text if text.startswith("[") else f"[{text}]", list[msgspec.Raw])
        except wire.BadInput as error:
            logger.warning("listing.refused", error=str(error))
            return
        for event in events:
            try:
                found = new_market(bytes(event))
            except wire.BadInput as error:
                logger.warning("listing.refused", error=str(error))
                continue
            if found is not None:
                self._heard(found)


def new_market(data: bytes) -> Facts | None:
    """Return what an event says of a new market, or None for another event; raises BadInput.

    What is needed besides to trade there, neg-risk above all, it does not say.
    """
    event = wire.decode(data, _NewMarket)
    if event.event_type != "new_market":
        return None
    tokens, outcomes = event.assets_ids or event.clob_token_ids, event.outcomes
    if len(tokens) != 2 or len(outcomes) != 2:
        raise wire.BadInput(
            f"new_market: expected two tokens and outcomes, found {len(tokens)}, {len(outcomes)}"
        )
    tick = event.order_price_min_tick_size
    return Facts(
        condition=wire.condition_id(event.market or event.condition_id, "market"),
        tokens=(wire.token_id(tokens[0]), wire.token_id(tokens[1])),
        outcomes=(printable(outcomes[0], 40), printable(outcomes[1], 40)),
        tick=wire.tick(tick, "order_price_min_tick_size") if tick else None,
    )
