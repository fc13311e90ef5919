"""Whether a source is heard that tells only what is in a block: without one, entries stop.

A stream alone tells of what may never have happened (FINDINGS of our own: one that was cut off from
all others bought what it was told). Exits go on.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from bot.ledger import control
from bot.ledger.db import Ledger, Tx
from bot.model.units import MICRO

logger = structlog.get_logger(__name__)
#: So long entries go on after the last word of such a source.
PATIENCE_US = 15 * MICRO
LOOK_S = 1.0
_ALERT = "sources:unseen"


class Authority:
    """Locks entries while nobody answers who knows, and unlocks them when somebody does."""

    def __init__(
        self,
        ledger: Ledger,
        heard: Mapping[str, Callable[[], int | None]],
        now_us: Callable[[], int],
    ) -> None:
        """`heard` tells when each such source was last heard, in microseconds, by its name."""
        self._ledger, self._heard, self._now, self._began = ledger, heard, now_us, now_us()
        self._locked: bool | None = None  #: as this life has stored it

    def absent(self, name: str) -> bool:
        """Return whether a source has not been heard for too long, or since we began."""
        if name not in self._heard:
            return True
        return self._now() - max(self._heard[name]() or 0, self._began) > PATIENCE_US

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Lock entries, or unlock them, where that has changed."""
        unseen = all(self.absent(name) for name in self._heard)
        # What another life has locked stands until somebody was heard: it knew no more.
        if not unseen and not any(heard() for heard in self._heard.values()):
            return
        if unseen is self._locked:
            return
        await self._ledger.transact(_tell, self._words() if unseen else None, now_us=self._now())
        self._locked = unseen
        logger.warning("sources.unseen" if unseen else "sources.seen")

    def _words(self) -> str:
        names = " and ".join(self._heard) or "nothing that tells what is in a block"
        return f"{names} not heard for {PATIENCE_US // MICRO} s; exits go on"


def _tell(tx: Tx, words: str | None, *, now_us: int) -> None:
    if words is None:
        control.unlock(tx, control.UNSEEN)
        control.clear_alerts(tx, set(), _ALERT, now_us=now_us)
        return
    control.lock(tx, control.UNSEEN, words)
    control.alert(tx, _ALERT, "critical", f"entries have stopped: {words}", now_us=now_us)
