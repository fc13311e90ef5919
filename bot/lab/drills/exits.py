"""What exits must do whatever the leader, the operator, the market or its book does meanwhile."""

from functools import partial

from bot.lab.drill import Drill, LawBroken, Scene, expect
from bot.lab.drills.stake import LATE, Stake, booked, botctl, cold, exit_drill, hold, law, ways
from bot.lab.drills.supervision import steer
from bot.lab.testbed import Overrides
from bot.model.amounts import CENT
from bot.model.intent import mirror
from bot.model.units import decimal_text

#: "At once", on a slow machine.
AT_ONCE_S = 12.0
#: Long enough for a pause that doubles to have become longer than that.
DOUBLED_S = 16.0
#: Longer than the pause between two pings: a pong that counts as data keeps a book fresh for ever.
_FRESH: Overrides = {"strategy": {"book_max_age_s": 12}}
_LARGE: Overrides = {
    "strategy": {"fixed_usdc": "50"},
    "risk": {"max_market_usdc": "200"},
}


def _unfollow(stake: Stake) -> None:
    """Restart without the leader in the configuration."""
    on = stake.scene.on
    on.down()
    text, entry = on.config.read_text(), f'[[leaders]]\nwallet = "{stake.wallet}"\n'
    expect(text.count(entry) == 1, "the leader in the configuration")
    on.config.write_text(text.replace(entry, ""))
    stake.scene.faults += 1
    on.up()


def _removed(scene: Scene, how: str) -> str:
    stake = hold(scene)
    _unfollow(stake)
    stake.leave(how)
    stake.reached()
    return "no longer followed, and still left with him"


def _removed_standing(scene: Scene) -> str:
    stake = hold(scene)
    stake.stand("full")
    _unfollow(stake)
    stake.bids()
    stake.reached()
    return "the exit that stood when he was removed was driven to its end"


def _unknown(scene: Scene, how: str) -> str:
    stake = hold(scene)
    scene.fault("status", on="GET /clob-markets/", status=404, times=-1)
    cold(scene)
    decided = scene.on.value("SELECT COUNT(*) FROM decision")
    if how == "tenth":
        scene.trade(stake.leader, stake.market, side="SELL", part=10)
    else:
        stake.leave(how)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision") > decided, "the exit is decided"
    )
    scene.on.do("heal")
    if how == "tenth":
        scene.trade(stake.leader, stake.market, side="SELL", part=10)
    stake.reached()
    return "decided on the last facts known, driven when they could be read"


def _hanging(scene: Scene) -> str:
    slow = hold(scene, alone=True)
    scene.trade(1, 1)
    healthy = Stake(scene, market=1, leader=1, exit_price=499_000)
    scene.until(lambda: healthy.shares() and booked(healthy), "a second market is entered")
    healthy.ours, healthy.leader_had = healthy.shares(), healthy.net()
    condition = scene.on.address["markets"][0]["condition"]
    scene.fault("hang", on="GET /clob-markets/", where=condition, times=-1)
    scene.fault("hang", on="GET /book", where=slow.token, times=-1)
    cold(scene)
    slow.leave("full")
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM leader_trade WHERE side = 'SELL'"),
        "he is seen",
    )
    healthy.leave("full")
    law(
        scene,
        lambda: healthy.shares() <= CENT,
        "the exit in the healthy market is done while the other one hangs",
        healthy.said,
        seconds=AT_ONCE_S,
    )
    scene.on.do("heal")
    slow.reached()
    healthy.rest()
    return "the healthy market's exit did not wait; the other one went when it could"


def _halted(scene: Scene, how: str) -> str:
    stake = hold(scene)
    steer(scene, "halted")
    scene.faults += 1
    stake.leave(how)
    stake.untouched(DOUBLED_S, "halted")
    steer(scene, "running")
    stake.reached(seconds=AT_ONCE_S)
    return "nothing while halted; at once after the resume"


def _thin(scene: Scene) -> str:
    stake = hold(scene, market=1, usdc=190)
    stake.exit_price = 499_000
    stake.leave("full")
    stake.bids(9)
    scene.faults += 1
    before = stake.ours + stake.theirs
    scene.until(lambda: stake.shares() <= before - 30_000_000, "what is bid is taken")
    stake.keeps(DOUBLED_S)
    stake.bids()
    stake.reached(seconds=AT_ONCE_S)
    return "what was bid at once, the rest when it was bid"


def _standing(scene: Scene, how: str) -> str:
    stake = hold(scene)
    stake.stand(how)
    stake.bids()
    stake.reached()
    return "sold when bids were back, and no more than the leader's part"


def _collapse(scene: Scene, how: str) -> str:
    stake = hold(scene)
    stake.leave(how)
    scene.do("best_bid", market=0, price=10_000)
    stake.untouched(8, "bids are below the floor")
    scene.on.do("best_bid", market=0)
    stake.reached()
    return "nothing below the floor; sold when bids were back"


def _frozen(scene: Scene, how: str) -> str:
    stake = hold(scene)
    stake.stand(how)
    scene.do("stream", channel="market", mode="lapsed")
    stake.bids()
    stake.reached()
    return "bids that the lapsed channel never told of were found"


def _ended(scene: Scene, payouts: tuple[int, int]) -> str:
    stake = hold(scene)
    held = stake.shares()
    cost, realized = _books(scene, stake)
    stake.stand("full")
    scene.on.do("life", market=stake.market, stage="resolved", payouts=payouts)
    expected = realized + held * payouts[0] // sum(payouts) - cost

    def settled() -> bool:
        row = scene.on.rows(
            "SELECT SUM(shares) AS shares, SUM(cost) AS cost, SUM(realized) AS realized,"
            " (SELECT SUM(realized) FROM daily_pnl) AS day FROM position WHERE token = ?",
            stake.token,
        )[0]
        near = all(abs(row[name] - expected) <= 10 for name in ("realized", "day"))
        return bool(near and not row["shares"] and not row["cost"])

    law(
        scene,
        settled,
        f"settled at {payouts[0]}:{payouts[1]}, nothing held, stake free, realised in the day",
        lambda: f"stake and realised {_books(scene, stake)}, expected (0, {expected})",
    )
    scene.rest()
    if stake.shares() != held:
        raise LawBroken(f"sold in a market that has ended: {stake.said()}")
    return f"settled at {payouts[0]}:{payouts[1]}, realised {decimal_text(abs(expected))}"


def _books(scene: Scene, stake: Stake) -> tuple[int, int]:
    row = scene.on.rows(
        "SELECT SUM(cost) AS cost, SUM(realized) AS realized FROM position WHERE token = ?",
        stake.token,
    )[0]
    return row["cost"], row["realized"]


def _dust(scene: Scene, leader: int = 0) -> str:
    stake = hold(scene, alone=True)
    stake.leave("full")
    stake.reached()
    expect(0 < stake.shares() < CENT, "less than one sellable unit to be left")
    # So much that what he does within ten minutes goes this way.
    scene.trade(leader, stake.market, outcome=1, usdc=150)
    law(scene, lambda: stake.shares(stake.other) > 0, "the other side is bought", stake.said)
    return f"{decimal_text(stake.shares())} shares left: they block nothing"


def _closed(scene: Scene, how: str) -> str:
    stake = hold(scene)
    stake.leave(how)
    stake.bids(0)
    scene.faults += 1
    stake.exit_price = 450_000  # a close counts from what was last bid: the ladder's last rung
    said = botctl(scene, "close", stake.token[:12], "--portfolio", stake.wallet)
    expect("closing: 1" in said, f"the position to be closed, said {said[:200]!a}")
    stake.bids()
    law(
        scene,
        lambda: stake.shares() <= stake.theirs + CENT,
        "what was his is closed whole, whatever part of his he sold",
        stake.said,
    )
    standing = "SELECT COUNT(*) FROM intent WHERE state = 'open'"
    scene.until(lambda: not scene.on.value(standing), "its exit to be reached")
    purchases = (
        "SELECT d.reason FROM decision d JOIN signal s ON s.id = d.signal_id"
        " WHERE s.kind = 'increase' AND s.token = ? AND s.portfolio = ?"
    )
    before = len(scene.on.rows(purchases, stake.token, mirror(stake.wallet)))
    scene.trade(stake.leader, stake.market, usdc=60)
    # One more decision would not do: on a slow machine his last sale is decided after the close.
    found = partial(scene.on.rows, purchases, stake.token, mirror(stake.wallet))
    scene.until(lambda: len(found()) > before, "his purchase is decided")
    reasons = [row["reason"] for row in found()][before:]
    expect(reasons == ["position_locked"], f"no entry for half an hour, found {reasons}")
    stake.closed = True
    stake.rest()
    return "closed whole, nothing of the other leader's, and nothing bought again"


def _close_halted(scene: Scene) -> str:
    stake = hold(scene, alone=True)
    steer(scene, "halted")
    scene.faults += 1
    said = botctl(scene, "close", "--all")
    expect("halted" in said and "botctl resume" in said, f"a refusal with the fix, said {said!a}")
    steer(scene, "running")
    said = botctl(scene, "close", "--all", "--at-any-price")
    scene.until(lambda: stake.shares() <= CENT, "closed")
    scene.rest()
    return "refused while halted, with the fix; closed after the resume"


def _endings() -> list[Drill]:
    ends = {"win": (1, 0), "lose": (0, 1), "half": (1, 1)}
    return [
        exit_drill(
            f"ended.{name}",
            f"a market ends {pays[0]}:{pays[1]} while an exit stands",
            partial(_ended, payouts=pays),
            plan=LATE,
        )
        for name, pays in ends.items()
    ]


DRILLS = [
    *ways(
        "removed", _removed,
        full="a leader is no longer followed, and sells all",
        tenth="a leader is no longer followed, and sells 10 % twice",
        complement="a leader is no longer followed, and buys the other side",
    ),
    exit_drill(
        "removed.standing", "a leader is removed while an exit stands", _removed_standing,
        plan=LATE,
    ),
    *ways(
        "unknown", _unknown,
        full="he sells all, and the market's facts answer 404 for a while",
        tenth="he sells 10 % twice, and the facts answer 404 the first time",
        complement="he buys the other side, and the facts answer 404 for a while",
    ),
    exit_drill("hanging", "two exits, and the endpoints of one market hang", _hanging),
    *ways(
        "halted", _halted,
        full="he sells all while the bot is halted; then it is resumed",
        complement="he buys the other side while the bot is halted",
    ),
    exit_drill("thin.full", "36 of 100 are bid, the rest later", _thin, "", _LARGE, LATE),
    *ways(
        "thin", _standing, plan=LATE,
        tenth="he sells 10 % twice while nothing is bid",
    ),
    *ways(
        "collapse", _collapse, plan=LATE,
        full="bids fall below the floor, and come back",
        tenth="bids fall, and what is to be sold is too small to rest",
        complement="he buys the other side, and bids fall below the floor",
    ),
    *ways(
        "frozen", _frozen, "", _FRESH, LATE,
        full="bids come back while the market channel has lapsed: pongs go on",
        complement="he buys the other side while the market channel has lapsed",
    ),
    *ways(
        "closed", _closed, plan=LATE,
        full="the operator closes while the leader sells all",
        tenth="the operator closes while the leader sells 10 % twice",
        complement="the operator closes while the leader buys the other side",
    ),
    exit_drill("closed.halted", "the operator closes everything while halted", _close_halted),
    *_endings(),
    exit_drill("dust.own", "0.008 shares are left; he buys the other side", _dust),
    exit_drill(
        "dust.other", "0.008 shares are left; another leader buys the other side",
        partial(_dust, leader=1),
    ),
]  # fmt: skip
