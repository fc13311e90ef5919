"""What happens to the wallet past the bot, and how `botctl reconcile` makes it good."""

import asyncio
import json
from functools import partial
from typing import Any

from bot.lab.drill import Drill, Scene, expect
from bot.lab.drills.supervision import steer
from bot.ledger import files
from bot.queue import Reconcile, ask
from bot.report import audit


def reconcile(scene: Scene, *, adopt: bool = False) -> dict[str, Any]:
    """Ask the executor, as `botctl reconcile` does, once nothing is in flight."""
    answers: list[dict[str, Any]] = []

    def quiet() -> bool:
        said = asyncio.run(ask(scene.on.home.socket("executor"), Reconcile(adopt), timeout_s=60))
        answers.append(json.loads(said or "{}"))
        return bool(answers[-1].get("quiet"))

    scene.until(quiet, "a comparison with nothing in flight")
    return answers[-1]


def _by_hand(scene: Scene) -> str:
    scene.enter()
    scene.do("settle", ways=["STUCK"])
    scene.do("by_hand", market=2, usdc=20)
    scene.until(
        lambda: "trade" in [d["kind"] for d in _asked(scene)["differences"]],
        "a trade by nobody here is shown while it is not final",
    )
    scene.trade(1, 3)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'paused'"),
        "entries to stop",
    )
    scene.until(lambda: scene.on.do("idle")["stuck"] == 1, "it is not mined")
    scene.on.do("release", way="MINED")
    scene.until(lambda: scene.on.truth()["settled"], "settled at the exchange")
    found = reconcile(scene)
    expect(not found["count"], f"nothing left, found {found['differences']}")
    held = scene.on.value("SELECT SUM(shares) FROM position WHERE portfolio = 'external'")
    expect(held, "what was bought by hand to be external")
    scene.trade()
    scene.copied(2)
    return "shown, entries locked until it was final, booked to external; ledger = exchange"


def _asked(scene: Scene) -> dict[str, Any]:
    said = asyncio.run(ask(scene.on.home.socket("executor"), Reconcile(False), timeout_s=60))
    found: dict[str, Any] = json.loads(said or '{"differences": []}')
    return found


def _moved(scene: Scene) -> str:
    scene.enter()
    scene.rest()
    scene.do("drain", usdc=100)
    scene.do("gift", market=0, shares=-3)
    scene.do("gift", market=3, shares=7)
    found = reconcile(scene)
    kinds = sorted(d["kind"] for d in found["differences"])
    expect(kinds == ["cash", "shares"], f"cash and shares we know of, found {kinds}")
    before = scene.on.value("SELECT COALESCE(SUM(realized), 0) FROM position")
    adopted = reconcile(scene, adopt=True)
    expect(not adopted["count"], f"nothing left, found {adopted['differences']}")
    expect(
        scene.on.value("SELECT COALESCE(SUM(realized), 0) FROM position") == before,
        "no profit from it",
    )
    scene.on.do("gift", market=3, shares=-7)
    with_fills = _mismatches(scene)
    expect(not with_fills, f"everything to follow from the fills, found {with_fills}")
    return (
        "collateral and shares that left elsewhere: shown, adopted at cost, no profit and no loss"
    )


def _mismatches(scene: Scene) -> list[str]:
    from bot import report

    with report.read(scene.on.ledger) as found:
        return audit.mismatches(found)


def _old_backup(scene: Scene, *, late: bool) -> str:
    scene.enter()
    scene.rest()
    backup = scene.on.home.path / "backup.db"
    files.backup(scene.on.ledger, backup)
    scene.trade()
    scene.copied(2)
    scene.rest()
    scene.on.down()
    scene.faults += 1
    files.restore(backup, scene.on.ledger, "demo")
    if late:
        scene.fault("error", on="GET /v2/activity", times=-1)
    scene.on.up()
    found = reconcile(scene)
    expect(not found["count"], f"nothing left, found {found['differences']}")
    booked = scene.on.value("SELECT COUNT(*) FROM event WHERE kind = 'trade.foreign'")
    expect(booked == 1, f"one trade booked that the backup did not know, found {booked}")
    theirs = scene.on.value("SELECT COUNT(*) FROM position WHERE portfolio = 'external'")
    expect(not theirs, "the ledger that was put aside to say whose order it was")
    steer(scene, "running")
    if late:
        # Now his trade shows again, and nobody remembers that it was copied.
        scene.on.do("heal")
        again = (
            "SELECT d.reason FROM decision d JOIN signal s ON s.id = d.signal_id"
            " WHERE s.kind = 'increase' AND s.token = ?"
        )
        token = scene.on.address["markets"][1]["tokens"][0]
        scene.until(lambda: scene.on.rows(again, token), "his forgotten trade is decided again")
        reasons = [row["reason"] for row in scene.on.rows(again, token)]
        expect(reasons == ["already_copied"], f"it to be passed over, found {reasons}")
    scene.trade(1, 2)
    scene.copied(2)
    scene.rest()
    there = len(scene.on.truth()["orders"])
    expect(there == 3, f"three orders at the exchange, found {there}")
    return (
        "the trade that the backup did not know was booked to its own portfolio"
        " before anything was decided"
    )


def _uncompared(scene: Scene) -> str:
    scene.enter()
    scene.rest()
    scene.on.down()
    scene.fault("reset", on="GET /data/trades", times=-1)
    scene.on.up()
    scene.trade()
    scene.trade(0, 0, side="SELL")
    scene.copied(2)
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision WHERE reason = 'paused'"),
        "the entry skipped",
    )
    scene.rest()
    scene.until(lambda: not scene.on.value("SELECT COUNT(*) FROM lock"), "the lock to go")
    scene.trade(1, 2)
    scene.copied(3)
    return "no entry before ledger and exchange could be compared; the exit ran"


DRILLS = [
    Drill("accounts.by_hand", "somebody trades by hand with our wallet", _by_hand),
    Drill("accounts.moved", "collateral and shares are moved elsewhere", _moved),
    Drill("accounts.uncompared", "at a start, ledger and exchange cannot be compared", _uncompared),
    Drill(
        "accounts.old_backup",
        "a backup is restored that is older than the last trade",
        partial(_old_backup, late=False),
    ),
    Drill(
        "accounts.old_backup_late",
        "the same, and the trade shows again only after the resume",
        partial(_old_backup, late=True),
    ),
]
