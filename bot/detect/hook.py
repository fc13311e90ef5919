"""Source: a hook, through which somebody else's detector reports trades. Provisional.

A report is signed: HMAC-SHA256 of its time, a dot and its body, under a secret that both know. It
is taken once, and only while its time is near ours: who has overheard one can do nothing with it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable

import structlog
from cachetools import TTLCache

from bot.detect.fold import Sight
from bot.detect.intake import Intake
from bot.model.units import MICRO
from bot.polymarket.reports import reported
from bot.polymarket.wire import BadInput

logger = structlog.get_logger(__name__)
#: What a report is called as a source.
HOOK = "hook"
#: A report's time may be so far from ours, either way.
WINDOW_S = 30
#: Reports that are remembered, so that none is taken twice: those of a window, both ways.
REMEMBERED = 10_000
MOST_BYTES = 64 * 1024
_TIME = re.compile(r"[0-9]{1,12}")


class Refused(Exception):
    """A report that is not taken, with the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Hook:
    """Takes reports that are signed with a secret."""

    def __init__(
        self,
        intake: Intake,
        secret: bytes,
        now_us: Callable[[], int],
        *,
        boot_id: int,
        remembered: int = REMEMBERED,
    ) -> None:
        self._intake, self._secret, self._now = intake, secret, now_us
        self._source = f"{HOOK}:{boot_id}"
        #: Our clock, which never goes back here: what was forgotten would be taken once more.
        self._latest_s = 0
        self._taken: TTLCache[str, bool] = TTLCache(
            remembered, 2 * WINDOW_S + 1, timer=lambda: self._latest_s
        )
        self.heard_us: int | None = None  #: when a report was last taken

    async def take(self, body: bytes, at: str, signature: str) -> int:
        """Store what a report says of leaders; return how many signals were stored or grew.

        `at` is its time in seconds since 1970, `signature` 64 hex digits. Raises Refused, and
        takes nothing of it then.
        """
        proof = self._prove(body, at, signature)
        try:
            fills = reported(body)
        except BadInput as error:
            self._intake.refused += 1
            raise Refused(400, f"report: {error}") from None
        now = self._now()
        if any(fill.traded_s > now // MICRO + WINDOW_S for fill in fills):
            raise Refused(400, "report: timestamp: a trade that is still to come")
        self._taken[proof] = True
        try:
            stored = await self._intake.take(
                [Sight(self._source, fill, (fill.shares, fill.usdc), now) for fill in fills]
            )
        except BaseException:
            self._taken.pop(proof, None)  # it was not taken: it may come again
            raise
        self.heard_us = now
        return stored

    def _prove(self, body: bytes, at: str, signature: str) -> str:
        expected = signed(self._secret, at, body)
        given = signature.lower().encode("ascii", "replace")
        if not hmac.compare_digest(expected.encode(), given):
            raise Refused(401, "signature: not that of this body and time")
        now_s = self._latest_s = max(self._now() // MICRO, self._latest_s)
        if not _TIME.fullmatch(at) or abs(now_s - int(at)) > WINDOW_S:
            raise Refused(401, f"time: expected within {WINDOW_S} s of {now_s}")
        if expected in self._taken:
            raise Refused(409, "report: it was taken before")
        if len(self._taken) >= self._taken.maxsize:
            raise Refused(429, "too many reports; send several trades in one")
        return expected


def signed(secret: bytes, at: str, body: bytes) -> str:
    """Return the signature of a report as 64 hex digits."""
    text = at.encode("utf-8", "replace") + b"." + body
    return hmac.new(secret, text, hashlib.sha256).hexdigest()
