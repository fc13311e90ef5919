"""What the engine itself does wrong on purpose, to one order or one cancel at a time."""

from dataclasses import dataclass, field

from bot.errors import ConfigError

KINDS = {
    "killed_late": "a FAK or FOK is answered as killed, and its fill shows `ms` later",
    "matched_more": "the amounts of an answer are 0.000001 above the sum of its trades",
    "split": "a match of several resting orders is settled in one transaction for each",
    "snatched": "others are faster: a FAK BUY gets a third of what it would have got",
    "trade_late": "a trade shows `ms` after the frames of its orders",
    "cancel_filled": "a cancel is accepted, and the order is filled `ms` later all the same",
    "cancel_denied": "a cancel says 'already canceled or matched', and the order stays live",
}


@dataclass(slots=True)
class Quirk:
    """One misbehaviour and how many times it happens (-1: always)."""

    do: str
    times: int = 1
    ms: int = 0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.do not in KINDS:
            raise ConfigError(f"quirk {self.do[:40]!a}: expected one of {', '.join(KINDS)}")


@dataclass(slots=True)
class Quirks:
    """The misbehaviours that wait for an order they fit."""

    waiting: list[Quirk] = field(default_factory=list)
    struck: int = 0

    def take(self, do: str) -> Quirk | None:
        """Return the first one of a kind that is left, and count it."""
        for quirk in self.waiting:
            if quirk.do == do and quirk.times != 0:
                quirk.times -= quirk.times > 0
                quirk.struck += 1
                self.struck += 1
                return quirk
        return None

    def idle(self) -> list[str]:
        """Return those that have not happened yet."""
        return [f"{quirk.do} at the engine" for quirk in self.waiting if not quirk.struck]
