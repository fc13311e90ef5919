"""What is simulated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.sim.entities import MICRO
from bot.sim.streams import CEILING


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate: a seed, a port (0: any), a script or a recorded feed, and how fast."""

    seed: int = 1
    port: int = 0
    collateral: int = 1_000 * MICRO
    signature_type: int = 0
    feed: str | None = None
    trades: int = 72
    gap_ms: int = 150
    rtds_delay_ms: int = 50
    data_lag_ms: int = 1_000
    mined_ms: int = 300
    block_ms: int = 200
    confirmed_ms: int = 500
    failed_share: float = 0.03
    retried_share: float = 0.05
    #: A recorded session is played this many times faster, and each row of it so many times.
    feed_speed: int = 20
    repeat: int = 1
    #: Tell the scripted story again and again.
    loop: bool = False
    #: How late the Data API shows trades and holdings, where it is not `data_lag_ms`.
    activity_lag_ms: int | None = None
    positions_lag_ms: int | None = None
    global_lag_ms: int = 260_000
    #: In place of a story: so many leaders in a crowd of so many fills a second, for so long.
    crowd: tuple[int, int, int] | None = None
    #: Assets of one connection of the market channel; what is above gets no data.
    max_assets: int = CEILING
    #: Requests per 10 s by name in place of the documented ones (bot/sim/limits.py); null: none.
    limits: Mapping[str, int] | None = field(default_factory=dict)
    #: A wallet of type 3 is of the older generation.
    uups: bool = False
    #: Reads of orders by id show cancelled and matched ones too.
    ended_lookups: bool = False
    #: A mint or merge may cost a millionth more or less for each maker.
    grit: bool = False

    def data_lags_us(self) -> tuple[int, int, int]:
        """Return how late a wallet's trades, its holdings and everybody's trades show."""
        lags = (self.activity_lag_ms, self.positions_lag_ms)
        activity, positions = (self.data_lag_ms if lag is None else lag for lag in lags)
        return activity * 1000, positions * 1000, self.global_lag_ms * 1000
