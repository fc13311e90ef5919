"""Power cuts: every write and fsync of the ledger is recorded, and crash images are reopened.

The model of RELIABILITY: what was not synced may be lost, kept, or torn at a page, in any mix. An
image must open sound and hold every transaction that had been acknowledged.
"""

import random
import sqlite3
from pathlib import Path

import pytest

from bot.ledger import control, db
from bot.ledger.db import Ledger
from bot.ledger.files import migrate

apsw = pytest.importorskip("apsw")
TRANSACTIONS = 25
IMAGES = 400
SECTOR = 4096


class Disk:
    """Everything that was asked of the disk, in order: (file, what, offset or size, bytes)."""

    def __init__(self, path: Path) -> None:
        self.start = {"": path.read_bytes()}
        self.log: list[tuple[str, str, int, bytes]] = []

    def note(self, name: str, what: str, at: int = 0, data: bytes = b"") -> None:
        self.log.append((name, what, at, bytes(data)))

    def image(self, length: int, rng: random.Random) -> dict[str, bytes]:
        """Return the files after a power cut that came after so many operations."""
        files = {name: bytearray(data) for name, data in self.start.items()}
        pending: dict[str, list[tuple[str, int, bytes]]] = {}
        for name, what, at, data in self.log[:length]:
            if what == "sync":
                for operation in pending.pop(name, []):
                    _apply(files.setdefault(name, bytearray()), *operation)
            elif what == "delete":
                files.pop(name, None)
                pending.pop(name, None)
            elif what in ("write", "truncate"):
                pending.setdefault(name, []).append((what, at, data))
        for name, operations in pending.items():
            kept = rng.choice((0.0, 0.3, 0.7, 1.0))
            for what, at, data in operations:
                for i in range(0, max(len(data), 1), SECTOR):
                    if rng.random() < kept:
                        _apply(
                            files.setdefault(name, bytearray()),
                            what,
                            at + i * (what == "write"),
                            data[i : i + SECTOR],
                        )
        return {name: bytes(data) for name, data in files.items()}

    def acknowledged(self, length: int) -> int:
        return sum(what == "acknowledged" for _, what, _, _ in self.log[:length])


def _apply(file: bytearray, what: str, at: int, data: bytes) -> None:
    if what == "truncate":
        del file[at:]
        return
    if len(file) < at + len(data):
        file.extend(bytes(at + len(data) - len(file)))
    file[at : at + len(data)] = data


class File(apsw.VFSFile):
    """One file of SQLite, every change of it noted."""

    def __init__(self, disk: Disk, path: Path, filename, flags):
        super().__init__("", filename, flags)
        name = filename.filename() if isinstance(filename, apsw.URIFilename) else filename
        self._disk, self._name = disk, str(name).removeprefix(str(path))

    def xWrite(self, data, offset):
        self._disk.note(self._name, "write", offset, data)
        super().xWrite(data, offset)

    def xTruncate(self, size):
        self._disk.note(self._name, "truncate", size)
        super().xTruncate(size)

    def xSync(self, flags):
        self._disk.note(self._name, "sync")
        super().xSync(flags)


class Recorder(apsw.VFS):
    """SQLite's own file system, with a disk that takes notes."""

    def __init__(self, disk: Disk, path: Path):
        super().__init__("recording", "", maxpathname=1024)
        self._disk, self._path = disk, path

    def xOpen(self, name, flags):
        return File(self._disk, self._path, name, flags)

    def xDelete(self, name, sync):
        self._disk.note(name.removeprefix(str(self._path)), "delete")
        super().xDelete(name, sync)


class Rows:
    """What a statement gave, as the ledger's verbs expect it."""

    description = ()

    def __init__(self, rows, changed):
        self._rows, self.rowcount = rows, changed

    def __iter__(self):
        return iter(self._rows)

    def fetchone(self):
        return self._rows[0] if self._rows else None


class Recorded:
    """A recorded SQLite with the face of the driver that the ledger's verbs know."""

    def __init__(self, path: Path):
        self._db = apsw.Connection(str(path), vfs="recording")
        # One connection: without shared memory every write goes through the recorded files.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()

    in_transaction = property(lambda self: self._db.in_transaction)

    total_changes = property(lambda self: self._db.total_changes())

    def execute(self, sql, values=()):
        return Rows(self._db.execute(sql, values).fetchall(), self._db.changes())

    def close(self):
        self._db.close()


class Inline:
    """The ledger's connection to it, without a thread."""

    def __init__(self, path: Path):
        self.db = Recorded(path)

    async def run(self, work):
        return work(self.db)

    def at_once(self, work):
        return work(self.db)

    async def close(self):
        self.db.close()


async def record(path: Path) -> Disk:
    """Run transactions of the ledger's own verbs and return what they asked of the disk."""
    migrate(path, "demo")
    disk = Disk(path)
    recorder = Recorder(disk, path)

    async def connect(_uri):
        return Inline(path)

    async with Ledger(path, connect=connect).open() as ledger:
        for number in range(TRANSACTIONS):
            text = f"{number}|" + "x" * 3000
            await ledger.transact(
                lambda tx, t=text: control.record(tx, "test", "power", t, now_us=1)
            )
            disk.note("", "acknowledged")
            if number % 7 == 6:
                ledger._connection.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    recorder.unregister()
    return disk


def losses(disk: Disk, folder: Path) -> tuple[int, int]:
    """Return (images that lost something acknowledged, images that are not sound)."""
    rng = random.Random(7)
    lost = broken = 0
    for number in range(IMAGES):
        length = rng.randrange(len(disk.log) + 1)
        path = folder / f"image{number}.db"
        for name, data in disk.image(length, rng).items():
            path.with_name(path.name + name).write_bytes(data)
        connection = sqlite3.connect(path)
        try:
            found = {
                int(row[0].split("|")[0])
                for row in connection.execute("SELECT text FROM event WHERE kind = 'power'")
            }
            sound = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            lost += not set(range(disk.acknowledged(length))) <= found
            broken += not sound
        except sqlite3.DatabaseError:
            broken += 1
        finally:
            connection.close()
    return lost, broken


async def test_no_acknowledged_transaction_is_lost_in_a_power_cut(tmp_path):
    disk = await record(tmp_path / "ledger-demo.db")
    assert disk.acknowledged(len(disk.log)) == TRANSACTIONS
    assert losses(disk, tmp_path) == (0, 0)


@pytest.mark.parametrize("mode", ["OFF", "NORMAL"])
async def test_weaker_syncing_is_caught_by_the_model(tmp_path, monkeypatch, mode):
    weaker = tuple(p.replace("synchronous = FULL", f"synchronous = {mode}") for p in db.PRAGMAS)
    assert weaker != db.PRAGMAS
    monkeypatch.setattr(db, "PRAGMAS", weaker)
    lost, broken = losses(await record(tmp_path / "ledger-demo.db"), tmp_path)
    assert lost + broken > 0
