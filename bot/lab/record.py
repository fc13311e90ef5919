"""The recorder: what every source of leaders' trades sends, with the moment at which it came.

It watches as the monitor does, over a ledger of its own that is thrown away: a bot that runs is not
disturbed. One JSON object a line: `at_us`, `source`, what was `asked` (empty on a stream), `text`.
`botctl demo --feed FILE` plays it again.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from bot.config.schema import Settings
from bot.detect.assemble import Outside, Tells, Watch
from bot.errors import UsageError
from bot.ledger import roster
from bot.ledger.db import Ledger
from bot.ledger.files import migrate
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
    with open(number, "wb") as file, tempfile.TemporaryDirectory(prefix="copybot-") as folder:
        recorder = Recorder(file)
        asyncio.run(_record(settings, wallets, seconds, recorder, Path(folder)))
        return recorder.lines


async def _record(
    settings: Settings, wallets: Sequence[str], seconds: int, recorder: Recorder, folder: Path
) -> None:
    path = folder / "ledger.db"
    await asyncio.to_thread(migrate, path, settings.mode)
    async with Ledger(path).open() as ledger:
        leaders, outside = [(wallet, "") for wallet in wallets], Outside.of(settings)
        while not await ledger.transact(roster.follow, leaders, now_s=int(time.time())):
            continue
        tells = Tells(lambda _: None, lambda _: None, lambda _: None)
        watch = Watch(ledger, settings, outside, tells, now_us, boot_id=1)
        _listen(watch, outside, recorder)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                    tasks = [group.create_task(work) for work in await watch.tasks()]
                    await recorder.full.wait()
                    for task in tasks:
                        task.cancel()
        finally:
            await outside.close()


def _listen(watch: Watch, outside: Outside, recorder: Recorder) -> None:
    watch.rtds.stream.heard_text = recorder.frames("rtds")
    for live in watch.live:
        live.stream.heard_text = recorder.frames(f"chain ws {live.name}")
    for number, rpc in enumerate(outside.rpcs, 1):
        rpc.heard = recorder.answers(f"chain provider {number}")
    outside.data.heard = recorder.answers("data_api")
    outside.gamma.heard = recorder.answers("gamma")
    outside.clob.heard = recorder.answers("clob")
