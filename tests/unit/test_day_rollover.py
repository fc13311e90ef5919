"""The UTC day turns over at midnight, and with it what counts as today's loss."""

from freezegun import freeze_time

from bot.ledger.control import ControlState
from bot.model.control import ControlMode
from bot.model.units import utc_day
from bot.runtime import now_us


def test_the_breaker_counts_losses_of_one_utc_day_since_the_last_resume():
    state = ControlState(
        ControlMode.RUNNING, "", "", 0, loss_day="2026-11-20", loss_base=-10_000_000
    )
    with freeze_time("2026-11-20T23:59:59.999999Z") as clock:
        assert state.loss(utc_day(now_us()), -25_000_000) == 15_000_000
        assert state.loss(utc_day(now_us()), 5_000_000) == 0
        clock.tick(0.000001)
        assert utc_day(now_us()) == "2026-11-21"
        assert state.loss(utc_day(now_us()), -3_000_000) == 3_000_000
