"""When leaders are polled: the hot ones often, all others less, new ones twice at once."""

import math

from bot.detect.heat import AFTER, COLD, DAY_S, HOUR_S, LAG_S, WARM, Heat
from bot.model.leader import Wallet

A, B = Wallet("0xa"), Wallet("0xb")


def polled(heat, now):
    """Poll whoever is due; return who it was."""
    found = []
    while (wallet := heat.take(now)) is not None:
        found.append(wallet)
    for wallet in found:
        heat.polled(wallet, now)
    return found


def test_who_is_new_is_polled_at_once_and_again_before_long():
    heat = Heat(10)
    heat.watch([(A, 0.0), (B, 0.0)], 0.0)
    assert sorted(polled(heat, 0.0)) == [A, B]
    assert heat.wait_s(0.0) == LAG_S, "what he did while we started shows late"
    assert sorted(polled(heat, float(LAG_S))) == [A, B]
    assert heat.wait_s(LAG_S) == 10


def test_the_longer_he_has_done_nothing_the_seldomer_he_is_polled():
    for quiet_s, factor in ((HOUR_S - 60, 1), (HOUR_S + 60, WARM), (DAY_S + 60, COLD)):
        heat = Heat(10)
        heat.watch([(A, 0.0)], 0.0)
        polled(heat, 0.0)
        assert polled(heat, quiet_s) == [A]
        assert heat.wait_s(quiet_s) == 10 * factor


def test_who_was_seen_elsewhere_is_polled_soon():
    heat = Heat(10)
    heat.watch([(A, 0.0)], 0.0)
    polled(heat, 0.0)
    polled(heat, DAY_S + 60.0)
    heat.active(A, DAY_S + 99.0, DAY_S + 100.0)
    assert heat.wait_s(DAY_S + 100.0) == AFTER * 10
    assert polled(heat, DAY_S + 130.0) == [A]
    assert heat.wait_s(DAY_S + 130.0) == 10, "he is hot again"
    heat.active(A, DAY_S + 131.0, DAY_S + 131.0)
    assert heat.wait_s(DAY_S + 131.0) == 9, "sooner is soon enough"


def test_who_is_being_polled_is_not_taken_twice():
    heat = Heat(10)
    heat.watch([(A, 0.0)], 0.0)
    assert heat.take(0.0) == A
    assert heat.take(1_000.0) is None
    heat.active(A, 1_000.0, 1_000.0)
    assert heat.take(2_000.0) is None
    heat.polled(A, 1_000.0, jitter=2)
    assert heat.wait_s(1_000.0) == 2 * LAG_S


def test_who_is_not_watched_any_more_is_not_polled():
    heat = Heat(10)
    heat.watch([(A, 0.0), (B, 0.0)], 0.0)
    assert heat.take(0.0) == A
    heat.watch([(B, 0.0)], 0.0)
    heat.polled(A, 0.0)
    heat.active(A, 0.0, 0.0)
    assert polled(heat, 0.0) == [B]
    heat.watch([], 1.0)
    assert polled(heat, math.inf) == []
