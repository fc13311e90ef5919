"""How a source does: what it misses, how late it is, how often it tells of nothing. Pure."""

from dataclasses import dataclass, replace

#: What is counted fades: of a hundred things the hundred-and-first takes one away.
KEPT = 0.99
#: With fewer than so many, a rate says nothing.
ENOUGH = 20.0


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of the last hundred or so were good."""

    good: float = 0.0
    bad: float = 0.0

    def add(self, *, good: bool) -> "Rate":
        """Return it with one more."""
        return Rate(self.good * KEPT + good, self.bad * KEPT + (not good))

    @property
    def share(self) -> float | None:
        """Return which part was good, from 0 to 1; None where too little is known."""
        total = self.good + self.bad
        return self.good / total if total >= ENOUGH else None


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """What is known of a source. Times are in microseconds."""

    name: str
    heard_us: int | None = None  #: when it last told of anything, or answered
    lag_us: int | None = None  #: a running mean: from a block's own second to its word of a trade
    hits: Rate = Rate()  #: trades that the chain has, and it told of in time
    real: Rate = Rate()  #: what it told before a block had it: was it in one in the end?
    note: str = ""

    def saw(self, lag_us: int) -> "SourceHealth":
        """Return it with one more trade told of, so late."""
        before = self.lag_us
        mean = lag_us if before is None else before + (lag_us - before) // 20
        return replace(self, lag_us=mean, hits=self.hits.add(good=True))

    def missed(self) -> "SourceHealth":
        """Return it with one more trade that it did not tell of in time."""
        return replace(self, hits=self.hits.add(good=False))

    def proven(self, *, real: bool) -> "SourceHealth":
        """Return it with one more of its early words proven, or proven to be of nothing."""
        return replace(self, real=self.real.add(good=real))

    @property
    def phantoms(self) -> float | None:
        """Return which part of its early words were of nothing, from 0 to 1; None: not known."""
        return None if self.real.share is None else 1 - self.real.share
