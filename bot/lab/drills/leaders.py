"""What leaders do without an order, what nobody has seen of them, and who is wrong about it."""

from bot.lab.drill import Drill, Scene, expect

_SOLD = "SELECT COUNT(*) FROM orders WHERE side = 'SELL'"
_HELD = "SELECT COALESCE(SUM(shares), 0) FROM position"
_CENT = 10_000
_PROVIDERS = ("a", "b")


def _his(scene: Scene, leader: int = 0) -> int:
    """Return the whole shares of the first outcome that a leader has bought."""
    wallet = scene.on.address["leaders"][leader].lower()
    rows = [t for t in scene.on.truth()["leader_trades"] if t[1].lower() == wallet]
    return int(sum(shares if side == "BUY" else -shares for *_, side, shares in rows)) // 1_000_000


def _gone(scene: Scene) -> None:
    scene.until(lambda: scene.on.value(_HELD) < _CENT, "we hold nothing any more")


def _stays(scene: Scene, what: str) -> None:
    """Wait until the kinds of facts are stored, and see that nothing was sold."""
    scene.until(
        lambda: scene.on.value(
            "SELECT COUNT(*) FROM leader_trade WHERE kind = ? AND state = 'final'", what
        ),
        f"a {what} is final",
    )
    scene.rest()
    expect(not scene.on.value(_SOLD), "nothing sold")
    expect(scene.on.value(_HELD) > _CENT, "our copy to stay")


def _merge(scene: Scene) -> str:
    scene.enter()
    shares = _his(scene)
    scene.do("gift", market=0, shares=shares, outcome=1, leader=0)
    scene.do("pair", market=0, shares=shares, leader=0, merge=True)
    _gone(scene)
    return "he gave pairs back for cash: our exit followed"


def _split(scene: Scene) -> str:
    scene.enter()
    scene.do("pair", market=0, shares=500, leader=0)
    _stays(scene, "split")
    return "pairs made of cash are on no side: nothing was done"


def _convert(scene: Scene) -> str:
    scene.on.do("list", number=3, neg_risk=True, event="drilled")
    first = len(scene.on.address["markets"])
    scene.trade(0, first, outcome=1, usdc=60)
    scene.until(lambda: scene.held() > 0, "a first entry is on the chain")
    scene.do("convert", markets=[first], shares=_his(scene), leader=0)
    _gone(scene)
    return "his No of one market became Yes of the others: our exit followed"


def _transfer(scene: Scene) -> str:
    scene.enter()
    scene.do("gift", market=0, shares=-_his(scene), leader=0)
    scene.alerted("transfer:")
    _stays(scene, "transfer")
    return "he moved all of it to another wallet: no sale; it was told"


def _unseen_sale(scene: Scene) -> str:
    scene.enter()
    for name in _PROVIDERS:
        scene.do("node", name=name, hides=1)
        scene.do("stream", channel=name, mode="silent")
    scene.do("stream", channel="rtds", mode="silent")
    scene.fault("no_rows", on="GET /v2/", times=-1)
    scene.trade(0, 0, side="SELL")
    _gone(scene)
    source = scene.on.value("SELECT source FROM signal ORDER BY seen_us DESC LIMIT 1")
    expect(source == "correction", f"a correction, found {source}")
    return "nobody has told of his sale: his balance did, and our exit followed"


def _wrong_balance(scene: Scene) -> str:
    scene.enter()
    scene.do("node", name="a", zeros=True)
    before = scene.on.do("idle")["nodes"]["a"]
    scene.until(lambda: scene.on.do("idle")["nodes"]["a"] >= before + 2, "two sweeps")
    scene.rest()
    expect(not scene.on.value(_SOLD), "nothing sold")
    return "a provider said that he holds nothing, the other one did not: nothing was sold"


def _late_list(scene: Scene) -> str:
    scene.do("lags", positions_ms=3_600_000)
    scene.enter()
    scene.kill("monitor")
    scene.back("monitor")
    scene.trade(1, 1)
    scene.copied(2)
    scene.rest()
    expect(not scene.on.value(_SOLD), "nothing sold")
    return "the list of what he holds was an hour behind: nothing was sold"


DRILLS = [
    Drill("leaders.merge", "a leader gives pairs back for cash", _merge),
    Drill("leaders.split", "a leader makes pairs of cash", _split),
    Drill("leaders.convert", "a leader converts No of one market into Yes of others", _convert),
    Drill("leaders.transfer", "a leader moves his shares to another wallet", _transfer),
    Drill("leaders.unseen_sale", "no source tells of a sale", _unseen_sale),
    Drill("leaders.wrong_balance", "a provider says that leaders hold nothing", _wrong_balance),
    Drill("leaders.late_list", "the list of what leaders hold is an hour behind", _late_list),
]
