"""The order life cycle is a table, and any other move raises."""

from itertools import product

import pytest

from bot.model.order import EDGES, IN_FLIGHT, OrderState, edge


@pytest.mark.parametrize(("old", "new"), list(product(OrderState, OrderState)))
def test_only_edges_of_the_table_may_be_gone(old, new):
    if new in EDGES[old]:
        assert edge(old, new) is new
    else:
        with pytest.raises(ValueError, match="no edge"):
            edge(old, new)


def test_an_end_is_for_ever_and_every_end_can_be_reached():
    ends = set(OrderState) - IN_FLIGHT
    assert all(not EDGES[end] for end in ends)
    assert set().union(*EDGES.values()) >= ends


def test_what_the_exchange_has_never_becomes_unseen():
    assert not EDGES[OrderState.OPEN] & {
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.POSTING,
        OrderState.UNKNOWN,
    }
