"""How the sources of leaders' trades do: which is heard, how late, what it misses."""

from dataclasses import dataclass

from bot.ledger.sources import of_row
from bot.model.source import SourceHealth
from bot.model.units import MICRO, printable
from bot.report.reader import Report

#: A source that was not heard for so long is silent.
SILENT_US = 120 * MICRO
#: With fewer of its trades told in time, it is degraded.
GOOD = 0.9
#: What nobody has stored for so long is what another life has known.
OLD_US = 60 * MICRO
_TITLES = {"chain": "chain", "rtds": "stream", "data_api": "Data API", "hook": "hook"}


@dataclass(frozen=True, slots=True)
class Source:
    """One source. Shares are from 0 to 1, None where too little is known."""

    name: str
    title: str
    state: str  #: live, degraded, silent, unknown
    heard_s: int | None  #: how long ago it was heard
    lag_s: float | None  #: how late it tells of a trade, after its block's second
    hit_share: float | None  #: of the chain's trades, told in time
    phantom_share: float | None  #: of what it told first, of nothing
    note: str


def sources(found: Report) -> list[Source]:
    """Return every source that is switched on, as the monitor has last stored it."""
    return [
        _source(of_row(row), row["updated_us"], found.now_us)
        for row in found.rows("SELECT * FROM source ORDER BY name")
    ]


def _source(known: SourceHealth, updated_us: int, now_us: int) -> Source:
    hits, phantoms = known.hits.share, known.phantoms
    return Source(
        name=known.name,
        title=_TITLES.get(known.name, known.name),
        state=_state(known, updated_us, now_us),
        heard_s=None if known.heard_us is None else max(now_us - known.heard_us, 0) // MICRO,
        lag_s=None if known.lag_us is None else round(known.lag_us / MICRO, 1),
        hit_share=None if hits is None else round(hits, 4),
        phantom_share=None if phantoms is None else round(phantoms, 4),
        note=printable(known.note, 80),
    )


def _state(known: SourceHealth, updated_us: int, now_us: int) -> str:
    if now_us - updated_us > OLD_US:
        return "unknown"  # nobody watches
    if known.heard_us is None or now_us - known.heard_us > SILENT_US:
        return "silent"
    return "degraded" if known.hits.share is not None and known.hits.share < GOOD else "live"
