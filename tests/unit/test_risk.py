"""Every guard says no when it must; a guard that raises says no too."""

from dataclasses import replace

import pytest

from bot.config.schema import RiskSettings
from bot.model.control import ControlMode
from bot.model.decision import Proposal, SkipReason
from bot.risk import breaker, guards

M = 1_000_000
LIMITS = RiskSettings()
ENTRY = Proposal("7", 500_000, 20 * M, 10 * M, {})
IDLE = guards.Usage(ControlMode.RUNNING, None, None, None, 0, 0, 0, 1000 * M, 0)


def reason(proposal, **usage):
    skip = guards.check(proposal, replace(IDLE, **usage), LIMITS)
    return skip.reason if skip else None


def test_an_idle_bot_may_enter():
    assert reason(ENTRY) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"mode": ControlMode.HALTED}, SkipReason.HALTED),
        ({"mode": ControlMode.PAUSED}, SkipReason.PAUSED),
        ({"lock": "protection"}, SkipReason.PAUSED),
        ({"position_lock": "closed by the operator"}, SkipReason.POSITION_LOCKED),
        ({"tripped": "breaker: daily loss limit reached"}, SkipReason.PAUSED),
        ({"market_stake": 40 * M + 1}, SkipReason.MARKET_LIMIT),
        ({"market_stake": 39 * M, "fee": M + 1}, SkipReason.MARKET_LIMIT),
        ({"total_stake": 490 * M + 1}, SkipReason.EXPOSURE),
        ({"bought_today": 9_990 * M + 1}, SkipReason.DAILY_VOLUME),
        ({"cash": 10 * M - 1}, SkipReason.NO_BALANCE),
        ({"cash": 10 * M, "fee": 1}, SkipReason.NO_BALANCE),
    ],
)
def test_each_limit_stops_an_entry(usage, expected):
    assert reason(ENTRY, **usage) is expected


def test_limits_allow_exactly_up_to_them():
    assert (
        reason(ENTRY, market_stake=40 * M, total_stake=490 * M, bought_today=9_990 * M, cash=10 * M)
        is None
    )


def test_fewer_than_five_shares_are_no_entry():
    assert reason(replace(ENTRY, shares=5 * M - 1)) is SkipReason.BELOW_MIN_SIZE


def test_a_guard_that_raises_counts_as_no():
    skip = guards.check(ENTRY, replace(IDLE, cash="broken"), LIMITS)
    assert skip.reason is SkipReason.GUARD_ERROR
    assert skip.numbers == {"guard": "balance", "error": "TypeError"}


def test_the_breaker_trips_on_loss_and_on_errors():
    assert breaker.tripped(25 * M - 1, 4, LIMITS) is None
    assert "daily loss" in breaker.tripped(25 * M, 0, LIMITS)
    assert "5 consecutive errors" in breaker.tripped(0, 5, LIMITS)
