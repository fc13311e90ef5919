"""Hard limits, pure: an entry and the state it meets -> None (allowed) or a Skip.

Exits meet none of them: the operator's `halt` alone stops those. A guard that raises counts as
"no" (hummingbot#2534: a kill switch that failed in its own check stopped nothing).
"""

from collections.abc import Callable
from dataclasses import dataclass

from bot.config.schema import RiskSettings
from bot.model.control import ControlMode
from bot.model.decision import Proposal, Skip, SkipReason


@dataclass(frozen=True, slots=True)
class Usage:
    """What counts against the limits, read in the transaction that reserves. All micro-USDC."""

    mode: ControlMode
    tripped: str | None  #: why the breaker stops entries, also where a timed pause has ended
    lock: str | None  #: reason of a lock on this leader or market
    position_lock: (
        str | None
    )  #: reason of a lock on this (portfolio, token): the operator has closed it
    market_stake: int  #: cost held and reserved in the proposal's market
    total_stake: int  #: the same over all markets
    bought_today: int  #: bought and reserved this UTC day
    cash: int  #: collateral that no order in flight has reserved
    fee: int  #: highest fee the proposal can cost
    skew_s: int = 0  #: the exchange's clock minus ours


#: With a clock that is further off, a leader trade's age is a guess.
MAX_SKEW_S = 2

Guard = Callable[[Proposal, Usage, RiskSettings], Skip | None]


def check(proposal: Proposal, usage: Usage, limits: RiskSettings) -> Skip | None:
    """Return None if the proposal may become an order, else the first guard's Skip."""
    for guard in _GUARDS:
        try:
            skip = guard(proposal, usage, limits)
        except Exception as error:  # a guard that cannot answer says no
            return Skip(
                SkipReason.GUARD_ERROR,
                {"guard": guard.__name__.strip("_"), "error": type(error).__name__},
            )
        if skip is not None:
            return skip
    return None


def _halted(_: Proposal, usage: Usage, __: RiskSettings) -> Skip | None:
    return Skip(SkipReason.HALTED, {}) if usage.mode is ControlMode.HALTED else None


def _locked(_: Proposal, usage: Usage, __: RiskSettings) -> Skip | None:
    if usage.position_lock is None:
        return None
    return Skip(SkipReason.POSITION_LOCKED, {"reason": usage.position_lock})


def _paused(_: Proposal, usage: Usage, __: RiskSettings) -> Skip | None:
    if usage.tripped or usage.lock:
        return Skip(SkipReason.PAUSED, {"reason": usage.tripped or usage.lock})
    return None if usage.mode is ControlMode.RUNNING else Skip(SkipReason.PAUSED, {})


def _clock(_: Proposal, usage: Usage, __: RiskSettings) -> Skip | None:
    if abs(usage.skew_s) <= MAX_SKEW_S:
        return None
    return Skip(SkipReason.CLOCK_SKEW, {"skew_s": usage.skew_s, "at_most_s": MAX_SKEW_S})


def _min_size(proposal: Proposal, _: Usage, limits: RiskSettings) -> Skip | None:
    if proposal.shares >= limits.min_shares:
        return None
    return Skip(
        SkipReason.BELOW_MIN_SIZE, {"shares": proposal.shares, "min_shares": limits.min_shares}
    )


def _market(proposal: Proposal, usage: Usage, limits: RiskSettings) -> Skip | None:
    return _over(
        SkipReason.MARKET_LIMIT,
        proposal.usdc + usage.fee,
        usage.market_stake,
        limits.max_market_usdc,
    )


def _exposure(proposal: Proposal, usage: Usage, limits: RiskSettings) -> Skip | None:
    return _over(
        SkipReason.EXPOSURE, proposal.usdc + usage.fee, usage.total_stake, limits.max_exposure_usdc
    )


def _volume(proposal: Proposal, usage: Usage, limits: RiskSettings) -> Skip | None:
    return _over(
        SkipReason.DAILY_VOLUME, proposal.usdc, usage.bought_today, limits.max_daily_volume_usdc
    )


def _balance(proposal: Proposal, usage: Usage, _: RiskSettings) -> Skip | None:
    return _over(SkipReason.NO_BALANCE, proposal.usdc + usage.fee, 0, usage.cash)


def _over(reason: SkipReason, wanted: int, used: int, limit: int) -> Skip | None:
    if used + wanted <= limit:
        return None
    return Skip(reason, {"wanted_usdc": wanted, "used_usdc": used, "limit_usdc": limit})


_GUARDS: tuple[Guard, ...] = (
    _halted,
    _locked,
    _paused,
    _clock,
    _min_size,
    _balance,
    _market,
    _exposure,
    _volume,
)
