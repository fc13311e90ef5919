"""The doctor: every source of leaders' trades, measured against the service as it is.

What no document says, or says otherwise: how late each source tells, what it leaves out, how much a
provider gives at once, whether the stream lives, whether the Data API answers for everybody. Where
nobody who trades is followed, the busiest wallets of the stream stand in.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from bot import report
from bot.config.schema import Settings
from bot.detect.assemble import exchanges
from bot.detect.fold import Sight
from bot.detect.freshness import BEHIND_S
from bot.detect.reader import SETTLED, Provider
from bot.errors import Unavailable
from bot.lab.watching import Watching, watching
from bot.ledger import roster
from bot.ledger.db import Tx
from bot.model import totals
from bot.model.leader import FactKind, FactState, Word
from bot.model.units import MICRO, printable
from bot.polymarket import chain, wire
from bot.polymarket.rpc import Refused, Wanted
from bot.report.sources import Source
from bot.report.sources import sources as known

#: How long the stream is listened to before its busiest wallets are chosen, and how many are.
LISTENED_S, CANARIES = 15.0, 5
#: What a provider is asked for, ever more, until it refuses.
BLOCKS, TOPICS = (10, 100, 500, 1_000, 2_000, 5_000, 10_000), (100, 250, 500, 1_000, 2_000)
#: Who gives fewer at once takes minutes to fill a gap of an hour.
FEW_BLOCKS = 100
#: Providers are compared over so many of their newest final blocks.
COMPARED = 20


@dataclass(frozen=True, slots=True)
class Lags:
    """How late a source told of trades, after the second of their block, in seconds."""

    trades: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class ProviderFound:
    """What a provider gives. None: it gave nothing, or did not answer."""

    name: str
    head: int | None
    behind_s: int | None  #: how old its newest block is
    finalized: bool  #: whether it says which blocks are
    blocks: int | None  #: the widest range of logs that it gave
    topics: int | None  #: the most wallets in one filter
    logs: int | None  #: orders filled in the compared blocks
    note: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured, and what of it is bad news."""

    seconds: int
    followed: list[str]
    sources: list[Source]
    lags: dict[str, Lags]
    frames: dict[str, int]  #: of the stream, by type
    connections: int  #: of the stream
    longest_silence_s: float | None  #: of the stream
    index_lag_s: int | None  #: what the Data API says of itself
    everybody: bool  #: whether the Data API answers for all wallets at once
    providers: list[ProviderFound]
    problems: list[str] = field(default_factory=list)


class _Stream:
    """What the stream has told: frames by type, wallets, and the longest time without any."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        self.wallets: Counter[str] = Counter()
        self._last: float | None = None
        self.silence_s: float | None = None

    def hear(self, text: str) -> None:
        try:
            found = wire.rtds(text)
        except wire.BadInput:
            self.frames["unreadable"] += 1
            return
        if found is None:
            return
        kind, fill = found
        now = time.monotonic()
        if self._last is not None:
            self.silence_s = max(self.silence_s or 0.0, round(now - self._last, 2))
        self._last = now
        self.frames[kind] += 1
        self.wallets[fill.wallet] += 1


class _Late:
    """When each source first told of each trade, against the block's own second."""

    def __init__(self) -> None:
        self._first: dict[totals.Group, dict[str, int]] = defaultdict(dict)
        self._block_s: dict[totals.Group, int] = {}

    def note(self, sight: Sight) -> None:
        if sight.fill.kind is not FactKind.TRADE:
            return
        self._first[sight.fill.group].setdefault(sight.source.split(":")[0], sight.seen_us)
        if sight.state in (FactState.MINED, FactState.FINAL):
            self._block_s[sight.fill.group] = sight.fill.traded_s

    def found(self) -> dict[str, Lags]:
        lags: dict[str, list[float]] = defaultdict(list)
        for group, block_s in self._block_s.items():
            for source, at_us in self._first[group].items():
                lags[source].append((at_us - block_s * MICRO) / MICRO)
        return {name: _lags(sorted(values)) for name, values in sorted(lags.items())}


def _lags(values: Sequence[float]) -> Lags:
    def at(part: int) -> float:
        return round(values[max(0, -(-len(values) * part // 100) - 1)], 2)

    return Lags(len(values), at(50), at(95))


def measure(
    settings: Settings, wallets: Sequence[str], seconds: int, watch: Callable[[str], None]
) -> Found:
    """Measure for so long. Nothing is bought, and a bot that runs is not disturbed."""
    return asyncio.run(_measure(settings, wallets, seconds, watch))


async def _measure(
    settings: Settings, wallets: Sequence[str], seconds: int, watch: Callable[[str], None]
) -> Found:
    stream, late = _Stream(), _Late()
    async with watching(settings, wallets, late.note) as on:
        on.watch.rtds.stream.heard_text = stream.hear
        watch(f"listening for {seconds} s")
        async with asyncio.TaskGroup() as group:
            group.create_task(on.run(seconds))
            group.create_task(_follow_busiest(on, stream, min(LISTENED_S, seconds / 4)))
        watch("asking providers how much they give")
        providers = await _compared(
            [(p, await _provider(p, settings)) for p in on.watch.chain.providers], settings
        )
        with report.read(on.path) as found:
            rows = known(found)
        followed = [str(wallet) for wallet in on.watch.intake.wallets()]
        result = Found(
            seconds, followed, rows, late.found(), dict(stream.frames),
            on.watch.rtds.stream.epoch, stream.silence_s, on.watch.freshness.lag_s,
            on.watch.tail.answered_us is not None, providers,
        )  # fmt: skip
        result.problems.extend(problems(result, settings))
        return result


async def _follow_busiest(on: Watching, stream: _Stream, seconds: float) -> None:
    await asyncio.sleep(seconds)
    busiest = [wallet for wallet, _ in stream.wallets.most_common(CANARIES)]

    def follow(tx: Tx) -> None:
        for wallet in busiest:
            roster.say(tx, wallet, Word.FOLLOW, now_s=int(time.time()))

    await on.ledger.transact(follow)


async def _provider(provider: Provider, settings: Settings) -> ProviderFound:
    known = exchanges(settings.venue)
    name, rpc = provider.name, provider.rpc
    try:
        head = await rpc.block("latest")
        if head is None:
            return ProviderFound(name, None, None, False, None, None, None, "no newest block")
        final = None
        with suppress(Refused):
            final = await rpc.block("finalized")
        number = head.number
        nobody = _of(known, 1)
        blocks = await _most(BLOCKS, lambda n: rpc.logs(nobody, max(number - n + 1, 0), number))
        topics = await _most(TOPICS, lambda n: rpc.logs(_of(known, n), number, number))
        age_s = max(int(time.time()) - head.at_s, 0)
        return ProviderFound(name, number, age_s, final is not None, blocks, topics, None)
    except (Unavailable, Refused) as error:
        return ProviderFound(name, None, None, False, None, None, None, printable(error, 120))


async def _compared(
    found: Sequence[tuple[Provider, ProviderFound]], settings: Settings
) -> list[ProviderFound]:
    """Return them with how many orders each has in the same blocks, which all have as final."""
    heads = [each.head for _, each in found if each.head is not None]
    last = max(min(heads, default=0) - SETTLED, 0)
    wanted = Wanted(tuple(exchanges(settings.venue).exchanges), ((chain.ORDER_FILLED,),))
    result = []
    for provider, each in found:
        if each.head is not None:
            try:
                logs = await provider.rpc.logs(wanted, max(last - COMPARED + 1, 0), last)
                each = replace(each, logs=len(logs))
            except (Unavailable, Refused) as error:
                each = replace(each, note=printable(error, 120))
        result.append(each)
    return result


async def _most(sizes: Sequence[int], ask: Callable[[int], Awaitable[object]]) -> int | None:
    """Return the largest size that is given, or None."""
    found = None
    for size in sizes:
        try:
            await ask(size)
        except (Refused, Unavailable):
            break  # what was too much is refused by some and left unanswered by others
        found = size
    return found


def _of(known: chain.Addresses, wallets: int) -> Wanted:
    topics = tuple(f"0x{number:064x}" for number in range(1, wallets + 1))
    return Wanted(tuple(known.exchanges), ((chain.ORDER_FILLED,), None, topics))


def problems(found: Found, settings: Settings) -> list[str]:
    """Return what of it is bad news, each with what it means."""
    detect = settings.detect
    told = [f"{row.title}: {row.state}" for row in found.sources if row.state != "live"]
    if detect.rtds and (found.longest_silence_s or detect.silence_s + 1) > detect.silence_s:
        told.append(f"stream: silent for over {detect.silence_s} s: it is subscribed to again then")
    if found.index_lag_s is not None and found.index_lag_s > BEHIND_S:
        told.append(f"Data API: its index is {found.index_lag_s} s behind")
    if detect.data_api and not found.everybody:
        told.append("Data API: no answer for everybody's trades: each leader is asked about alone")
    told += [problem for each in found.providers for problem in _of_provider(each)]
    logs = {each.name: each.logs for each in found.providers if each.logs is not None}
    if len(set(logs.values())) > 1:
        counted = ", ".join(f"{name} {number}" for name, number in logs.items())
        told.append(f"providers disagree about the orders of final blocks: {counted}")
    if detect.chain and len(logs) < 2:
        told.append("fewer than two providers of the chain answer: what one leaves out is missed")
    return told


def _of_provider(found: ProviderFound) -> list[str]:
    if found.head is None:
        return [f"{found.name}: {found.note}"]
    told = []
    if (found.behind_s or 0) > BEHIND_S:
        told.append(f"{found.name}: its newest block is {found.behind_s} s old")
    if not found.finalized:
        told.append(f"{found.name}: says of no block that it is final: {SETTLED} are waited for")
    if (found.blocks or 0) < FEW_BLOCKS:
        told.append(f"{found.name}: gives logs of {found.blocks or 0} blocks at once")
    return told
