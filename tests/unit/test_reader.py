"""How much a provider is asked for at once."""

from bot.detect.reader import CHUNK, MOST_LOGS, PATIENT, RANGE, Provider
from bot.polymarket.rpc import Rpc


def test_who_brings_much_is_asked_for_few_blocks():
    found = Provider(Rpc(None, "a"))
    for _ in range(20):
        found.succeeded(MOST_LOGS + 1)
    assert found.width == 1
    found.succeeded(MOST_LOGS)
    assert found.width == 1, "as much as that is enough"
    for _ in range(40):
        found.succeeded(MOST_LOGS // 2)
    assert found.width == 10 * RANGE


def test_who_has_refused_is_asked_for_less_and_slowly_for_more_again():
    found = Provider(Rpc(None, "a"))
    assert found.asks_less("too many blocks") and found.width == RANGE // 2
    assert found.asks_less("too many topics") and found.chunk == CHUNK // 2
    for _ in range(PATIENT - 1):
        found.succeeded(0)
    assert found.chunk == CHUNK // 2
    found.succeeded(0)
    assert found.chunk == CHUNK
    found.width = found.chunk = 1
    assert not found.asks_less("whatever")
