"""When each leader is polled: the sooner the less time has passed since his last trade. Pure."""

import heapq
import math
from collections.abc import Iterable

from bot.model.leader import Wallet

HOUR_S, DAY_S = 3600, 86_400
#: Of the shortest pause: who traded in the last hour, in the last day, and all others.
HOT, WARM, COLD = 1, 6, 90
#: How late rows usually are. What was done while a life began is found by its second poll.
LAG_S = 5
#: Who was just seen elsewhere is asked about so many of the shortest pauses later.
AFTER = 3


class Heat:
    """A schedule of polls, in seconds of any clock that only goes forward.

    `pause_s` is the shortest pause between two polls of a leader.
    """

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._active: dict[Wallet, float] = {}  #: when he last did something, as far as is known
        self._due: dict[Wallet, float] = {}
        self._queue: list[tuple[float, Wallet]] = []
        self._unknown: set[Wallet] = set()  #: who was not polled yet

    def watch(self, wallets: Iterable[tuple[Wallet, float]], now: float) -> None:
        """Poll exactly these wallets from now on, new ones at once; each with its last activity."""
        kept = dict(wallets)
        for wallet in self._due.keys() - kept.keys():
            del self._due[wallet], self._active[wallet]
            self._unknown.discard(wallet)
        for wallet in kept.keys() - self._due.keys():
            self._active[wallet] = kept[wallet]
            self._unknown.add(wallet)
            self._set(wallet, now)

    def active(self, wallet: Wallet, at: float, now: float) -> None:
        """Note that a leader did something: he is asked about soon."""
        if wallet in self._due:
            self._active[wallet] = max(at, self._active[wallet])
            asked = self._due[wallet] == math.inf
            if not asked and self._due[wallet] > now + AFTER * self._pause_s:
                self._set(wallet, now + AFTER * self._pause_s)

    def take(self, now: float) -> Wallet | None:
        """Return a leader whose poll is due, and be asked about him no more until `polled`."""
        while self._queue and self._queue[0][0] <= now:
            due, wallet = heapq.heappop(self._queue)
            if self._due.get(wallet) == due:
                self._due[wallet] = math.inf
                return wallet
        return None

    def polled(self, wallet: Wallet, now: float, jitter: float = 1.0) -> None:
        """Note that a leader was polled, whatever came of it: when is he next?"""
        if wallet in self._unknown:
            self._unknown.discard(wallet)
            self._set(wallet, now + min(LAG_S, self._pause_s) * jitter)
        elif wallet in self._due:
            quiet_s = now - self._active[wallet]
            factor = HOT if quiet_s < HOUR_S else WARM if quiet_s < DAY_S else COLD
            self._set(wallet, now + factor * self._pause_s * jitter)

    def wait_s(self, now: float) -> float:
        """Return how long nothing is due, in seconds; infinity where nobody is watched."""
        return max(0.0, self._queue[0][0] - now) if self._queue else math.inf

    def _set(self, wallet: Wallet, due: float) -> None:
        self._due[wallet] = due
        heapq.heappush(self._queue, (due, wallet))
