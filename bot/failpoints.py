"""Named instants at which a drill may kill, freeze or break this process.

Never armed in mode `live`. Wherever state changes hands the code calls `reach(name)`. Nothing
happens unless the process was armed with a folder and the folder holds a file of that name; its
text says what to do. The file is taken away first, so a fault strikes once, whatever is restarted
how often, unless it says `always`.
"""

import os
import signal
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

ENV = "BOT_FAILPOINTS"
#: Every failpoint, in the order of a trade's life: what has just happened, and what has not.
POINTS = {
    "worker.started": "a worker has logged its start; its boot is not stored",
    "worker.booted": "a worker's boot is committed; it has begun no work",
    "seen.written": "leader trade, holding, signal and cursor are written, not committed",
    "seen.committed": "they are committed; the signal is not announced",
    "queue.sent": "the signal's frame is in the socket; nobody has acknowledged it",
    "seen.announced": "the executor was rung, where it was there; nothing else is done",
    "queue.received": "the executor has read the frame; it has not looked at it",
    "queue.handled": "the executor was woken; the frame is not acknowledged",
    "decide.begun": "facts and books are ready; nothing is read from the ledger",
    "decide.signed": "the order is signed; nothing of it is stored",
    "decide.written": "decision and signed order are written, not committed",
    "decide.committed": "they are committed; the order's task has not begun",
    "enter.begun": "facts and book are ready; an entry's next attempt is not begun",
    "enter.committed": "the attempt before is proven to its end, the next one is committed,"
    " or what it waits for",
    "leave.written": "an exit's decision and intent are written, not committed",
    "leave.committed": "they are committed; nothing has been looked at to drive it",
    "drive.begun": "facts, book and balance are ready; an exit's next attempt is not begun",
    "drive.committed": "the attempt before is proven to its end, the next one is committed,"
    " or what it waits for",
    "post.begun": "the order is about to be sent; no byte has left",
    "post.sent": "all bytes have left; nothing of the answer has come",
    "post.answering": "the head of the answer has come; its body is not read",
    "post.answered": "the answer is read and understood; nothing of it is stored",
    "answer.written": "what the answer proves is written, not committed",
    "answer.committed": "it is committed; no evidence has been looked for",
    "resend.committed": "sending the same bytes again is recorded; no byte has left",
    "cancel.asked": "that an order is to be cancelled is committed; nobody has been asked",
    "cancel.begun": "the cancel is about to be sent; no byte has left",
    "cancel.answered": "the exchange's answer is read; nothing of it is stored",
    "cancel.committed": "it is stored that the exchange has cancelled;"
    " its last fills may still show",
    "evidence.read": "the exchange's evidence is read; nothing of it is booked",
    "fill.written": "fill, position, PnL and cash are written, not committed",
    "fill.committed": "they are committed; nobody has been told",
    "settlement.written": "a fill's progress on the chain is written, not committed",
    "settlement.committed": "it is committed",
    "settle.written": "an ended market's positions are settled, not committed",
    "end.written": "the order's end is written, not committed",
    "recovery.begun": "a new life has read what is in flight; it has asked for no evidence",
}
_folder: Path | None = None
#: Set by an in-process simulation instead of a folder, for itself alone: called with every name.
hook: ContextVar[Callable[[str], None] | None] = ContextVar("failpoint_hook", default=None)


class Injected(Exception):
    """Raised by a failpoint that was told to `raise`."""


def arm(folder: Path) -> None:
    """Let files in `folder` strike this process from now on."""
    global _folder
    _folder = folder


def armed() -> bool:
    """Return whether anything may strike here.

    The hot path asks before it prepares to be struck.
    """
    return _folder is not None or hook.get() is not None


def reach(name: str) -> None:
    """Note that the process is at the failpoint `name`; returns at once unless it is armed.

    A file's words: `kill` (SIGKILL), `stop` (SIGSTOP), `block` (the loop stands still), `raise`;
    a second word `always` keeps the file.
    """
    if (struck := hook.get()) is not None:
        struck(name)
    if _folder is None:
        return
    path = _folder / name
    try:
        words = path.read_text().split()
        if "always" not in words:
            path.unlink()  # whoever takes it away is the one it strikes
    except FileNotFoundError:
        return
    _strike(words[0] if words else "kill", name)


def _strike(action: str, name: str) -> None:
    if action == "raise":
        raise Injected(f"failpoint {name}")
    if action == "block":
        time.sleep(3600)
    os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)
