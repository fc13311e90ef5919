"""Drills of the checker: a law is broken on purpose, and the checker must notice."""

from functools import partial

from bot.lab.drill import Drill, Scene, expect
from bot.lab.virtual import simulate
from bot.lab.virtual.sabotage import SABOTAGES

_SEED = 11
#: A broken law shows soon, and the more is placed twice the longer every life takes.
_HONEST_ORDERS, _BROKEN_ORDERS = 150, 80
#: Lives are short here: a law that matters when a process dies needs many deaths.
_DEATH = 120


def _honest(_: Scene) -> str:
    verdict = simulate.run(_HONEST_ORDERS, _SEED, death=_DEATH)
    expect(verdict.ok, f"nothing wrong, found {verdict.problems[:3]}")
    return (
        f"{verdict.orders} orders in {verdict.lives} lives of a simulated executor:"
        " nothing lost, nothing twice"
    )


def _caught(_: Scene, name: str) -> str:
    verdict = simulate.run(_BROKEN_ORDERS, _SEED, SABOTAGES[name][1], death=_DEATH)
    expect(verdict.duplicates or verdict.lost, "the checker to notice")
    return (
        f"caught: {verdict.duplicates} orders twice or never stored,"
        f" {verdict.lost} leader trades lost"
    )


DRILLS = [
    Drill("sabotage.none", "the simulation with every law in force", _honest, alone=True),
    *(
        Drill(f"sabotage.{name}", f"on purpose: {what}", partial(_caught, name=name), alone=True)
        for name, (what, _) in SABOTAGES.items()
    ),
]
