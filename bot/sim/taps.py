"""What becomes of a channel's frames on their way out, on purpose.

Two ways of going quiet differ in what a client can see. `silent`: nothing leaves the channel any
more, no data and no answer to a PING, for every client and every new one, until it is healed; a
client that counts pongs notices. `lapsed`: the subscriptions of those who are connected now are
forgotten; their sockets stay open and every PING is answered, but no data comes until that client
subscribes again (a new subscribe frame, or a new connection). A client that takes pongs for data
never notices.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from bot.errors import ConfigError

QUEUE = 10_000  #: frames waiting for one client; a slower one is closed with 1013


@dataclass
class Tap:
    """The mode of one channel, and how many frames were kept back or changed in it."""

    mode: str = "clean"
    struck: int = 0
    _held: list[str] = field(default_factory=list)

    MODES = (
        "clean", "duplicate", "reorder", "silent", "lapsed", "lossy", "truncate", "oversized",
        "hang_up",
    )  # fmt: skip

    def pour(self, frame: str) -> list[str]:
        """Return the frames to send in place of `frame`."""
        self.struck += self.mode not in ("clean", "lapsed")
        if self.mode == "silent":
            return []
        if self.mode == "lossy" and self.struck % 2:
            return []  # every second frame never comes
        if self.mode == "duplicate":
            return [frame, frame, frame]
        if self.mode == "truncate":
            return [frame[: len(frame) // 2]]
        if self.mode == "oversized":
            return [frame, json.dumps({"event_type": "noise", "fill": "x" * (5 << 20)})]
        if self.mode == "reorder":
            self._held.append(frame)
            if len(self._held) < 3:
                return []
            frames, self._held = self._held[::-1], []
            return frames
        return [frame]

    def set(self, mode: str) -> list[str]:
        """Change the mode and return what was held back."""
        if mode not in self.MODES:
            raise ConfigError(f"stream mode {mode[:40]!a}: expected one of {', '.join(self.MODES)}")
        self.mode, self.struck = mode, 0
        frames, self._held = self._held, []
        return frames


@dataclass(eq=False)
class Client:
    """One open websocket and what it asked for."""

    tap: Tap
    wants: set[str] = field(default_factory=set)
    lapsed: set[str] = field(default_factory=set)  #: what it asked for and no longer gets
    custom: bool = False  #: it asked for the events that have to be asked for
    frames: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    slow: bool = False

    def wishes(self, want: str) -> bool:
        """Return whether it gets frames about `want`; those that a lapse keeps back are counted."""
        self.tap.struck += want in self.lapsed
        return want in self.wants

    def lapse(self) -> None:
        """Forget what it subscribed to, without a word."""
        self.lapsed |= self.wants
        self.wants = set()

    def recover(self) -> None:
        """Remember what it subscribed to."""
        self.wants |= self.lapsed
        self.lapsed = set()

    def subscribe(self, wants: set[str]) -> set[str]:
        """Add to what it asked for; return what is new."""
        new = wants - self.wants
        self.wants |= new
        self.lapsed -= new
        return new

    def unsubscribe(self, wants: set[str]) -> None:
        """Take back what it asked for."""
        self.wants -= wants
        self.lapsed -= wants

    def send(self, frame: Any) -> None:
        """Queue a frame, or what its channel's fault makes of it."""
        self.put(self.tap.pour(frame if isinstance(frame, str) else json.dumps(frame)))
        self.slow |= self.tap.mode == "hang_up"

    def put(self, frames: list[str]) -> None:
        """Queue frames as they are."""
        for frame in frames:
            try:
                self.frames.put_nowait(frame)
            except asyncio.QueueFull:
                self.slow = True
