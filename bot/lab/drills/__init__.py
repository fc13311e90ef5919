"""Every drill, by family. `ALL` is the order in which they are listed and played."""

from bot.lab.drill import Drill
from bot.lab.drills import (
    accounts,
    answers,
    exits,
    exits_proof,
    feeds,
    kills,
    leaders,
    markets,
    operator,
    sabotage,
    storage,
    streams,
    supervision,
)
from bot.lab.drills.storage import can_mount

ALL: tuple[Drill, ...] = (
    *kills.DRILLS,
    *answers.DRILLS,
    *markets.DRILLS,
    *exits.DRILLS,
    *exits_proof.DRILLS,
    *streams.DRILLS,
    *feeds.DRILLS,
    *leaders.DRILLS,
    *supervision.DRILLS,
    *storage.DRILLS,
    *operator.DRILLS,
    *accounts.DRILLS,
    *sabotage.DRILLS,
)

__all__ = ["ALL", "can_mount"]
