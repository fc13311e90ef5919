"""The one wiring of all that watches leaders: the worker uses it, and tests."""

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from bot.config.schema import Settings
from bot.config.secrets import hook_secret
from bot.config.venue import VenueSettings
from bot.detect.activity import Activity
from bot.detect.authority import Authority
from bot.detect.balances import Balances
from bot.detect.blocks import Blocks
from bot.detect.catalogue import Catalogue
from bot.detect.chain import ChainSource
from bot.detect.fold import Sight
from bot.detect.freshness import Freshness
from bot.detect.health import STREAM, Health
from bot.detect.holdings import Holdings
from bot.detect.hook import HOOK, Hook
from bot.detect.intake import Intake
from bot.detect.life import MarketLife
from bot.detect.live import Live
from bot.detect.reader import CHUNK, ChainReader, Provider
from bot.detect.roster import Roster
from bot.detect.rtds import Rtds
from bot.detect.tail import Tail
from bot.ledger import markets
from bot.ledger.db import Ledger
from bot.model import totals
from bot.model.leader import LeaderFill, Wallet
from bot.model.signal import Signal
from bot.model.units import MICRO
from bot.polymarket import chain
from bot.polymarket.data_api import DataApi
from bot.polymarket.gamma import Gamma
from bot.polymarket.listings import Listings
from bot.polymarket.resolution import Resolutions
from bot.polymarket.rpc import Rpc
from bot.polymarket.transport import Transport

#: What tells only what is in a block, as screens call it.
CHAIN, INDEX = "the chain", "the Data API"
#: A stream that was heard this recently is at work.
FRESH_S = 5
#: Below half of the limit of the Data API's activity (400 requests in ten seconds).
DATA_REQUESTS_PER_S = 20
LIFE_REQUESTS_PER_S = 5
CHAIN_REQUESTS_PER_S = 20


@dataclass(frozen=True, slots=True)
class Outside:
    """What reads the Data API, the CLOB, Gamma and each provider of the chain."""

    data: Transport
    clob: Transport
    gamma: Transport
    rpcs: tuple[Transport, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Outside":
        """Return one for these settings; nothing is connected yet."""
        venue, timeout_s = settings.venue, settings.execution.timeout_s

        def to(url: str, rate: int) -> Transport:
            return Transport(url, timeout_s=timeout_s, requests_per_s=rate)

        return cls(
            to(venue.data_url, DATA_REQUESTS_PER_S),
            to(venue.clob_url, LIFE_REQUESTS_PER_S),
            to(venue.gamma_url, LIFE_REQUESTS_PER_S),
            tuple(to(url, CHAIN_REQUESTS_PER_S) for url in venue.rpc_urls),
        )

    async def close(self) -> None:
        """Close every connection."""
        for transport in (self.data, self.clob, self.gamma, *self.rpcs):
            await transport.close()


@dataclass(frozen=True, slots=True)
class Tells:
    """Whom the sources tell: of a signal, of a leader's purchase before it is one, of a market that
    has ended, and of every sight.
    """

    signal: Callable[[Signal], None]
    warm: Callable[[LeaderFill], None]
    ended: Callable[[str], None]
    seen: Callable[[Sight], None] = lambda _: None


class Watch:
    """All that watches leaders, wired together."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        outside: Outside,
        tells: Tells,
        now_us: Callable[[], int],
        *,
        boot_id: int,
    ) -> None:
        self._settings, self._now, detect = settings, now_us, settings.detect
        self._told = tells.seen
        self.catalogue = Catalogue(ledger, Gamma(outside.gamma), detect.catalogue, now_us)
        self.listings = Listings(
            settings.venue.market_ws_url, lambda: ledger.look(markets.some_token),
            self.catalogue.named,
        )  # fmt: skip
        self.intake = Intake(
            ledger, tells.signal, now_us, tells.warm, self.catalogue.want,
            self._seen,
            provisional=lambda: self.acts_on() == "provisional",
        )  # fmt: skip
        self.rtds = Rtds(
            settings.venue.rtds_url, self.intake, boot_id=boot_id, silence_s=detect.silence_s,
            reconnect_s=detect.reconnect_s, now_us=now_us,
        )  # fmt: skip
        self.hook = self._hook(boot_id)
        self._wire_chain(ledger, outside)
        self._wire_index(ledger, outside)
        self.life = MarketLife(
            ledger, Resolutions(outside.clob, outside.gamma), tells.ended, now_us
        )
        heard = {CHAIN: lambda: self.chain.answered_us, INDEX: self._index_heard_us}
        on = {CHAIN: detect.chain, INDEX: detect.data_api}
        self.authority = Authority(ledger, {n: heard[n] for n in heard if on[n]}, now_us)
        watched = {
            totals.CHAIN: detect.chain, STREAM: detect.rtds, totals.INDEX: detect.data_api,
            HOOK: detect.hook_port is not None,
        }  # fmt: skip
        self.health = Health(ledger, now_us, watched)
        self.roster = Roster(ledger, self.intake, self._watch)

    def _hook(self, boot_id: int) -> Hook | None:
        detect = self._settings.detect
        if detect.hook_port is None or detect.hook_secret_file is None:
            return None
        return Hook(self.intake, hook_secret(detect.hook_secret_file), self._now, boot_id=boot_id)

    def _wire_chain(self, ledger: Ledger, outside: Outside) -> None:
        venue, intake = self._settings.venue, self.intake
        known, blocks = exchanges(venue), Blocks(intake.knows)
        reader = ChainReader(blocks, known, intake.wallets, intake.knows, self._now)
        self.chain = ChainSource(
            [Provider(Rpc(http, f"provider {i}")) for i, http in enumerate(outside.rpcs, 1)],
            reader, blocks, intake, ledger, self.catalogue.ask_tokens, known.stations, self._now,
        )  # fmt: skip
        self.live = [
            Live(
                url, f"provider {i}", lambda n: list(reader.filters(n)), self.chain.hear,
                chunk=CHUNK,
            )
            for i, url in enumerate(venue.rpc_ws_urls, 1)
        ]  # fmt: skip
        self.balances = Balances(
            self.chain.providers, ledger, intake, chain.TOKENS, lambda: self.chain.final, self._now
        )

    def _wire_index(self, ledger: Ledger, outside: Outside) -> None:
        api = DataApi(outside.data)
        self.activity = Activity(
            api, ledger, self.intake, self._settings.detect, self._now, self.balances.doubt_markets
        )
        self.tail = Tail(api, self.intake, self._now)
        self.freshness = Freshness(api)
        self.holdings = Holdings(
            api, ledger, self.intake, self.balances, self._now, lambda: self.freshness.behind
        )

    def _seen(self, sight: Sight) -> None:
        self.health.note(sight)
        self._told(sight)
        self.activity.active(Wallet(sight.fill.wallet), sight.fill.traded_s)

    def acts_on(self) -> str:
        """Return what counts now: without the chain, whoever risks no money sees what it can; a
        stream that tells too often of nothing is not believed.
        """
        if self._settings.mode != "live" and self.authority.absent(CHAIN):
            return "provisional"
        return "mined" if self.health.haunted else self._settings.detect.act_on

    def _index_heard_us(self) -> int | None:
        if self.freshness.behind:
            return None
        return max(self.activity.answered_us or 0, self.tail.answered_us or 0) or None

    def heard(self) -> dict[str, tuple[int | None, str]]:
        """Return when each source was heard, in microseconds, and what is to be said of it."""
        stream, now = self.rtds.stream, self._now()
        silent_us = int((time.monotonic() - stream.data_heard) * MICRO)
        haunted = "tells too often of what is in no block" if self.health.haunted else ""
        answering = sum(p.answered_us is not None for p in self.chain.providers)
        blocks = f"{answering} of {len(self.chain.providers)} providers, block {self.chain.head}"
        lag = (
            "" if self.freshness.lag_s is None else f"its index is {self.freshness.lag_s} s behind"
        )
        return {
            totals.CHAIN: (self.chain.answered_us, blocks if answering else ""),
            STREAM: (now - silent_us if stream.connected else None, haunted),
            totals.INDEX: (self._index_heard_us(), lag),
            HOOK: (self.hook.heard_us if self.hook else None, ""),
        }

    def detail(self) -> dict[str, object]:
        """Return each source's age, for the status screen."""
        stream, read, told = self.rtds.stream, self.chain.answered_us, self._index_heard_us()
        return {
            "rtds_age_s": int(time.monotonic() - stream.data_heard) if stream.connected else None,
            "data_api_age_s": (self._now() - told) // MICRO if told else None,
            "data_api_lag_s": self.freshness.lag_s,
            "chain_age_s": (self._now() - read) // MICRO if read else None,
            "acts_on": self.acts_on(),
            "refused_rows": self.intake.refused,
            "waiting_sights": self.rtds.waiting,
            "dropped_sights": self.rtds.dropped,
        }

    def progressed(self) -> int | None:
        """Return when a source was last known to be at work, microseconds."""
        stream = self.rtds.stream
        if stream.connected and time.monotonic() - stream.data_heard < FRESH_S:
            return self._now()
        return max(self._index_heard_us() or 0, self.chain.answered_us or 0) or None

    async def _watch(self, wallets: Sequence[Wallet]) -> None:
        """Watch others from now on. Chain, stream and tail ask the intake whom it knows."""
        self.activity.watch(wallets)
        for live in self.live:
            await live.stream.reconnect()

    async def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Read whom we follow, and return all that is to be run until stopped."""
        followed, detect = await self.intake.load(), self._settings.detect
        await self.health.load()
        tasks = [self.life.run(), self.roster.run()]
        if detect.catalogue != "off":
            tasks += [self.catalogue.run(followed), self.listings.run()]
        if detect.rtds:
            tasks.append(self.rtds.run())
        if detect.chain:
            tasks += [self.chain.run(), self.balances.run(), *(live.run() for live in self.live)]
        if detect.data_api:
            tasks += [self.activity.run(followed), self.tail.run(), self.freshness.run()]
        if detect.chain or detect.data_api:
            tasks.append(self.authority.run())
        return [*tasks, self.holdings.run(self.intake.wallets), self.health.run(self.heard)]


def exchanges(venue: VenueSettings) -> chain.Addresses:
    """Return which contracts are believed."""
    known = venue.exchanges
    believed = (known.standard, known.neg_risk, known.v3, *venue.other_exchanges)
    return chain.Addresses(frozenset(address.lower() for address in believed))
