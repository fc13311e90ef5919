"""A limit slides; what is above waits for its turn, and only a tenth may wait."""

from bot.sim.limits import Limits, Window, endpoint


def test_requests_start_no_sooner_than_a_window_after_those_before():
    window = Window(2, 10)
    starts = []
    for now in (0.0, 1.0, 2.0, 3.0, 30.0):
        starts.append(window.start(now))
        window.take(starts[-1])
    assert starts == [0.0, 1.0, 10.0, 11.0, 30.0]


def test_a_tenth_may_wait_and_the_rest_is_refused():
    limits = Limits({"clob GET /book": 20})
    admitted = [limits.admit("clob GET /book", 100.0) for _ in range(25)]
    assert admitted == [0.0] * 20 + [10.0] * 2 + [None] * 3
    assert (limits.throttled, limits.refused) == (2, 3)
    assert limits.admit("clob GET /book", 111.0) == 0.0


def test_a_refused_request_counts_for_nothing():
    limits = Limits({"clob GET /book": 1})
    assert [limits.admit("clob GET /book", 0.0) for _ in range(3)] == [0.0, 10.0, None]
    assert limits.admit("clob GET /book", 25.0) == 0.0


def test_the_documented_number_of_balance_updates_pass():
    limits = Limits({})
    what = "clob GET /balance-allowance/update"
    assert [limits.admit(what, 5.0) for _ in range(56)] == [0.0] * 50 + [10.0] * 5 + [None]


def test_the_longer_window_counts_as_well():
    limits, what = Limits({}), "clob DELETE /cancel-all"
    bursts = [limits.admit(what, 10.0 * turn) for turn in range(24) for _ in range(250)]
    assert not any(bursts)
    # 6,000 in ten minutes are used up after four: the next one waits for the first to grow old.
    assert limits.admit(what, 240.0) == 360.0


def test_no_limits_limit_nothing():
    limits = Limits(None)
    assert not any(limits.admit("clob GET /ok", 0.0) for _ in range(1000))
    limits.set({"clob GET /ok": 1})
    limits.heal()
    assert not any(limits.admit("clob GET /ok", 0.0) for _ in range(1000))


def test_each_path_belongs_to_its_service():
    assert endpoint("GET", "/book") == "clob GET /book"
    assert endpoint("GET", "/gamma/markets/keyset") == "gamma GET /markets/keyset"
    assert endpoint("GET", "/v2/activity") == "data GET /v2/activity"
    assert endpoint("GET", "/api/geoblock") == "site GET /api/geoblock"
    assert [endpoint("GET", path) for path in ("/sim/truth", "/ws/market", "/rtds")] == ["", "", ""]
