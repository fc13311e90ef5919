"""Disks that fill up, files that break, clocks that leap.

Entries stop, the reason shows, nothing is lost.
"""

import asyncio
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from bot.config.home import WORKERS
from bot.errors import BotError, LedgerDamaged, SchemaMismatch
from bot.lab.drill import Drill, Scene, Unmet, expect
from bot.lab.drills.supervision import steer
from bot.ledger import files
from bot.queue import Ping, ask

_DISK_MB = 24


def small_disk() -> Path:
    """Return a folder on a disk of its own, of a few megabytes; it needs the right to mount."""
    folder = Path(tempfile.mkdtemp(prefix="copybot-disk-"))
    command = [
        "/usr/bin/env",
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={_DISK_MB}m,mode=0700",
        "copybot-drill",
        str(folder),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError):
        folder.rmdir()
        raise
    return folder


def can_mount() -> bool:
    """Return whether this user may mount a small disk for the drill."""
    try:
        _give_back(small_disk())
    except (subprocess.CalledProcessError, OSError):
        return False
    return True


def _give_back(folder: Path) -> None:
    subprocess.run(
        ["/usr/bin/env", "umount", "--lazy", str(folder)], check=True, capture_output=True
    )
    folder.rmdir()


def says(scene: Scene, words: str) -> bool:
    """Return whether any worker says over its socket that it waits for something like this."""

    async def all_of_them() -> list[str | None]:
        return [await ask(scene.on.home.socket(name), Ping(), timeout_s=2) for name in WORKERS]

    return any(words in (text or "") for text in asyncio.run(all_of_them()))


def _full(scene: Scene) -> str:
    scene.enter()
    filler = scene.on.home.path / "filler"
    _fill(filler)
    scene.faults += 1
    before = scene.on.value("SELECT COUNT(*) FROM decision")
    for _ in range(40):
        scene.trade(1, 1)
        scene.trade(0, 2)
    scene.until(lambda: says(scene, "disk is full"), "a worker says that the disk is full")
    expect(scene.on.value("SELECT COUNT(*) FROM decision") < before + 80, "decisions to stop")
    filler.unlink()
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM leader_trade") >= 81,
        "everything seen in the end",
    )
    return (
        "said so over the socket, waited, and went on when space was back; no acknowledged row lost"
    )


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 65_536) == 65_536:
                pass
        except OSError:
            return


def _read_only(scene: Scene) -> str:
    scene.enter()
    scene.rest()
    scene.on.down()
    folder = scene.on.home.path.parent
    _remount(folder, "ro")
    scene.faults += 1
    try:
        text = _refused(lambda: files.migrate(scene.on.ledger, "demo"), BotError)
    finally:
        _remount(folder, "rw")
    scene.on.up()
    scene.trade()
    scene.copied(2)
    return f"refused to start ({text}), and started when it was writable"


def _remount(folder: Path, how: str) -> None:
    command = ["/usr/bin/env", "mount", "-o", f"remount,{how}", str(folder)]
    deadline = time.monotonic() + 30
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        # supervisord's last line may still be on its way to its log.
        if time.monotonic() > deadline:
            raise Unmet(f"mount: {done.stderr.strip()}")
        time.sleep(0.2)


def _refused(work: Callable[[], object], kind: type[BotError]) -> str:
    try:
        work()
    except kind as error:
        return " ".join(str(error).split(": ", 1)[-1].split())[:120]
    raise AssertionError(f"expected {kind.__name__}")


def _locked(scene: Scene) -> str:
    scene.enter()
    with closing(sqlite3.connect(scene.on.ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        scene.faults += 1
        scene.trade()
        scene.until(
            lambda: says(scene, "locked by another program"), "a worker says who holds it up"
        )
        other.execute("ROLLBACK")
    scene.until(
        lambda: scene.on.value("SELECT COUNT(*) FROM decision") >= 2,
        "decided when the lock was gone",
    )
    return "said so over the socket, waited, and went on when the lock was gone"


def _restored(scene: Scene, damage: Callable[[Path], None]) -> str:
    scene.enter()
    scene.rest()
    backup = scene.on.home.path / "backup.db"
    files.backup(scene.on.ledger, backup)
    scene.on.down()
    damage(scene.on.ledger)
    scene.faults += 1
    text = _refused(lambda: files.migrate(scene.on.ledger, "demo"), LedgerDamaged)
    aside = files.restore(backup, scene.on.ledger, "demo")
    expect(aside is not None and aside.exists(), "the damaged ledger is kept")
    expect(scene.on.value("SELECT mode FROM control") == "paused", "a restored ledger to be paused")
    scene.on.up()
    steer(scene, "running")
    scene.trade()
    scene.copied(2)
    return f"refused ({text}); restored from a backup"


def _scribble(path: Path) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        for at in range(8192, size, 8192):
            file.seek(at)
            file.write(os.urandom(4096))


def _cut(path: Path, keep: int) -> None:
    os.truncate(path, path.stat().st_size * keep // 100)


def _wal_alone(scene: Scene) -> str:
    scene.enter()
    scene.struck()
    scene.on.end()
    away = scene.on.ledger.with_suffix(".away")
    scene.on.ledger.rename(away)
    text = _refused(lambda: files.migrate(scene.on.ledger, "demo"), LedgerDamaged)
    away.rename(scene.on.ledger)
    scene.on.up()
    scene.trade()
    scene.copied(2)
    return f"refused ({text}); with its WAL it went on, nothing lost"


def _schema(scene: Scene) -> str:
    scene.enter()
    scene.rest()
    scene.on.down()
    with closing(sqlite3.connect(scene.on.ledger)) as other, other:
        (known,) = other.execute("SELECT version_num FROM alembic_version").fetchone()
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = _refused(lambda: files.migrate(scene.on.ledger, "demo"), SchemaMismatch)
    with closing(sqlite3.connect(scene.on.ledger)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = ?", (known,))
    scene.faults += 2
    foreign = _refused(lambda: files.migrate(scene.on.ledger, "live"), SchemaMismatch)
    scene.on.up()
    scene.trade()
    scene.copied(2)
    return f"refused ({newer}) and ({foreign}), untouched both times"


def _clock(scene: Scene, seconds: int) -> str:
    scene.enter()
    scene.rest()
    scene.on.down()
    with closing(sqlite3.connect(scene.on.ledger)) as other, other:
        # As if we had watched for two hours: what is older than the watch is history to the bot.
        other.execute("UPDATE leader SET watch_start_s = watch_start_s - 7200")
    scene.on.up()
    scene.do("clock", seconds=seconds)
    scene.alerted("clock:skew")
    scene.trade()
    scene.until(
        lambda: scene.on.value(
            "SELECT COUNT(*) FROM decision WHERE reason IN ('clock_skew', 'stale')"
        ),
        "no entry",
    )
    scene.trade(0, 0, side="SELL")
    scene.copied(2)
    scene.rest()
    scene.until(
        lambda: not scene.on.value("SELECT COUNT(*) FROM alert WHERE cleared_us IS NULL"),
        "all clear",
    )
    scene.trade(1, 2)
    scene.copied(3)
    return "entries skipped and alerted, the exit ran, entries again when the clock was right"


DRILLS = [
    Drill(
        "storage.full",
        "the disk is full",
        _full,
        folder=small_disk,
        give_back=_give_back,
        root=True,
    ),
    Drill(
        "storage.read_only",
        "the file system is read-only",
        _read_only,
        folder=small_disk,
        give_back=_give_back,
        root=True,
    ),
    Drill("storage.locked", "another program holds the ledger's write lock", _locked),
    Drill(
        "storage.corrupt",
        "pages of the ledger are overwritten",
        partial(_restored, damage=_scribble),
    ),
    Drill(
        "storage.truncated",
        "the ledger is cut to 40 %",
        partial(_restored, damage=partial(_cut, keep=40)),
    ),
    Drill(
        "storage.emptied",
        "the ledger is cut to nothing",
        partial(_restored, damage=partial(_cut, keep=0)),
    ),
    Drill("storage.wal_alone", "the ledger is moved away without its WAL", _wal_alone),
    Drill("storage.schema", "the ledger is of a newer version, or of another mode", _schema),
    Drill("clock.back", "our clock is an hour behind", partial(_clock, seconds=3600)),
    Drill("clock.forward", "our clock is an hour ahead", partial(_clock, seconds=-3600)),
]
