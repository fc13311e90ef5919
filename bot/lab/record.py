"""The recorder: what every source of leaders' trades sends, with the moment at which it came.

One JSON object a line: `at_us`, `source`, what was `asked` (empty on a stream), `text`.
`botctl demo --feed FILE` plays it again.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from bot.config.schema import Settings
from bot.detect.assemble import Outside, Watch
from bot.errors import UsageError
from bot.lab.watching import watching
from bot.polymarket.transport import Reply
from bot.runtime import now_us

#: A recording that is larger ends: it is a disk that others write to as well.
MOST_BYTES = 2 * 2**30


@dataclass
class Recorder:
    """Writes what comes to an open file, and counts it by source."""

    file: BinaryIO
    lines: dict[str, int] = field(default_factory=dict)
    size: int = 0
    full: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, source: str, asked: str, text: str | bytes) -> None:
        """Write one line."""
        if self.full.is_set():
            return
        said = text if isinstance(text, str) else text.decode("utf-8", "replace")
        line = msgspec.json.encode(
            {"at_us": now_us(), "source": source, "asked": asked, "text": said}
        )
        self.file.write(line + b"\n")
        self.size += len(line) + 1
        self.lines[source] = self.lines.get(source, 0) + 1
        if self.size > MOST_BYTES:
            self.full.set()

    def frames(self, source: str) -> Callable[[str], None]:
        """Return what writes the frames of a stream."""
        return lambda text: self.write(source, "", text)

    def answers(self, source: str) -> Callable[[str, Reply], None]:
        """Return what writes the answers of a service."""
        return lambda asked, reply: self.write(source, asked, reply.body)


def record(settings: Settings, wallets: Sequence[str], seconds: int, path: Path) -> dict[str, int]:
    """Record for so long, and return how many lines of each source were written.

    The file is new, and its owner's alone. Raises UsageError where it is there already.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already; name another file") from None
    with open(number, "wb") as file:
        recorder = Recorder(file)
        asyncio.run(_record(settings, wallets, seconds, recorder))
        return recorder.lines


async def _record(
    settings: Settings, wallets: Sequence[str], seconds: int, recorder: Recorder
) -> None:
    async with watching(settings, wallets) as on:
        _listen(on.watch, on.outside, recorder)
        await on.run(seconds, recorder.full)


def _listen(watch: Watch, outside: Outside, recorder: Recorder) -> None:
    watch.rtds.stream.heard_text = recorder.frames("rtds")
    for live in watch.live:
        live.stream.heard_text = recorder.frames(f"chain ws {live.name}")
    for number, rpc in enumerate(outside.rpcs, 1):
        rpc.heard = recorder.answers(f"chain provider {number}")
    outside.data.heard = recorder.answers("data_api")
    outside.gamma.heard = recorder.answers("gamma")
    outside.clob.heard = recorder.answers("clob")
