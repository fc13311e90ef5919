"""The Unix-socket queue: length-prefixed frames, at least once, acknowledged after the commit.

The ledger is the queue of record; this is its doorbell. A frame lost with its reader costs
latency and never a trade, so the sender is bounded and drops the oldest frame when nobody reads.
"""

import asyncio
import errno
import os
import random
import socket
import stat
import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog

from bot import failpoints
from bot.errors import ConfigError
from bot.model.backoff import longest_s
from bot.model.signal import Purchase

logger = structlog.get_logger(__name__)
#: Linux limits sun_path to 108 bytes with its terminator.
MAX_PATH = 107
MAX_FRAME = 64 * 1024
_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")


class SignalSeen(msgspec.Struct, tag="signal", frozen=True):
    """monitor to executor: this signal is in the ledger; `purchase` where it is one."""

    signal_id: str
    purchase: Purchase | None = None


class Warm(msgspec.Struct, tag="warm", frozen=True):
    """monitor to executor: a leader's trade is on its way; have its market and book ready."""

    condition: str
    token: str


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """To any worker: answer if your loop turns; the acknowledgement says what you are doing."""


class Reconcile(msgspec.Struct, tag="reconcile", frozen=True):
    """botctl to executor: compare the ledger with the exchange.

    Adopt what differs if told to.
    """

    adopt: bool


Message = SignalSeen | Warm | Ping | Reconcile
#: Returns what the acknowledgement shall say, once everything is committed.
Handler = Callable[[Message], Awaitable[str]]


class _Frame(msgspec.Struct, array_like=True):
    number: int
    message: Message


class _Ack(msgspec.Struct, array_like=True):
    number: int
    text: str = ""


_encoder = msgspec.msgpack.Encoder()
_frames = msgspec.msgpack.Decoder(_Frame)
_acks = msgspec.msgpack.Decoder(_Ack)


def check_path(path: Path) -> None:
    """Raise ConfigError if a socket path is longer than the kernel allows."""
    if len(os.fsencode(path)) > MAX_PATH:
        raise ConfigError(
            f"socket path {path} has {len(os.fsencode(path))} bytes, at most {MAX_PATH};"
            " use a shorter --home"
        )


@asynccontextmanager
async def serve(path: Path, handle: Handler) -> AsyncIterator[None]:
    """Receive frames at `path` until the block ends.

    Each frame is acknowledged after `handle` returned, so `handle` commits first. Only peers of
    the same user are heard. Raises ConfigError if the path is too long, is not a socket, or is
    answered by somebody else.
    """
    check_path(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path.parent, 0o700)
    _clear_stale(path)
    writers: set[asyncio.StreamWriter] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            if _peer_uid(writer) == os.getuid():
                await _receive(reader, writer, handle)
        except (asyncio.IncompleteReadError, OSError):
            logger.debug("queue.peer_left", path=str(path))
        except msgspec.MsgspecError as error:
            logger.warning("queue.bad_frame", path=str(path), error=str(error))
        finally:
            writers.discard(writer)
            writer.close()

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        os.chmod(path, 0o600)
        server = await asyncio.start_unix_server(client, sock=listener)
    except OSError as error:
        listener.close()
        raise ConfigError(f"socket {path}: {error.strerror}") from None
    try:
        yield
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
        path.unlink(missing_ok=True)


async def _receive(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
) -> None:
    while True:
        frame = _frames.decode(await _read_frame(reader))
        _reach("queue.received", frame.message)
        said = await handle(frame.message)
        _reach("queue.handled", frame.message)
        _write_frame(writer, _encoder.encode(_Ack(frame.number, said)))
        await writer.drain()


def _reach(name: str, message: Message) -> None:
    # Pings come all the time; a drill means the signal.
    if isinstance(message, SignalSeen):
        failpoints.reach(name)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_FRAME:
        raise msgspec.DecodeError(f"frame of {length} bytes, at most {MAX_FRAME}")
    return await reader.readexactly(length)


def _write_frame(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(_LENGTH.pack(len(data)) + data)


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket")
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def _clear_stale(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(f"socket {path}: something that is not a socket is there; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        answer = probe.connect_ex(str(path))
    if answer != errno.ECONNREFUSED:
        raise ConfigError(
            f"socket {path}: in use by another process; stop it, or use another --home"
        )
    path.unlink()


class Sender:
    """Sends messages to one socket, at least once while this process lives.

    Bounded: with `capacity` frames unacknowledged the oldest is dropped, because the ledger has it.
    What is put is in the socket when `put` returns, unless the peer is away or does not read:
    two turns of a busy loop are a millisecond.
    """

    def __init__(self, path: Path, *, capacity: int = 1000) -> None:
        check_path(path)
        self._path, self._capacity = path, capacity
        self._unacknowledged: OrderedDict[int, Message] = OrderedDict()
        self._number = self._sent = 0  #: of the last message put, and sent on this connection
        self._writer: asyncio.StreamWriter | None = None
        self._fresh = asyncio.Event()

    def put(self, message: Message) -> None:
        """Send a message, or queue it; never blocks and never fails."""
        self._number += 1
        self._unacknowledged[self._number] = message
        if len(self._unacknowledged) > self._capacity:
            self._unacknowledged.popitem(last=False)
        if self._sent < self._number - 1 or not self._send(self._number, message):
            self._fresh.set()

    def _send(self, number: int, message: Message) -> bool:
        """Write a frame to the peer; return False if it is away, or has not read enough."""
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > MAX_FRAME:
            return False
        _write_frame(writer, _encoder.encode(_Frame(number, message)))
        self._sent = number
        _reach("queue.sent", message)
        return True

    @property
    def waiting(self) -> int:
        """Return how many messages nobody has acknowledged."""
        return len(self._unacknowledged)

    async def run(self) -> None:
        """Deliver until cancelled, reconnecting with jittered backoff."""
        failures = 0
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                failures += 1
            else:
                failures = 0
                try:
                    await self._deliver(reader, writer)
                except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
                    logger.debug("queue.lost", path=str(self._path))
                finally:
                    writer.close()
            await asyncio.sleep(random.uniform(0.02, longest_s(failures, 0.05, 2.0)))  # noqa: S311

    async def _deliver(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        acknowledger = asyncio.create_task(self._acknowledge(reader))
        self._writer, self._sent = writer, 0
        try:
            while not acknowledger.done():
                self._fresh.clear()
                self._send_rest()
                await writer.drain()
                if self._sent < self._number:
                    continue  # it has read what filled the buffer
                fresh = asyncio.create_task(self._fresh.wait())
                await asyncio.wait({acknowledger, fresh}, return_when=asyncio.FIRST_COMPLETED)
                fresh.cancel()
            await acknowledger
        finally:
            self._writer = None
            acknowledger.cancel()

    def _send_rest(self) -> None:
        for number, message in list(self._unacknowledged.items()):
            if number > self._sent and not self._send(number, message):
                return

    async def _acknowledge(self, reader: asyncio.StreamReader) -> None:
        while True:
            self._unacknowledged.pop(_acks.decode(await _read_frame(reader)).number, None)


async def ask(path: Path, message: Message, *, timeout_s: float) -> str | None:
    """Send one message on a connection of its own.

    Return what its acknowledgement says, None without one.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                _write_frame(writer, _encoder.encode(_Frame(1, message)))
                await writer.drain()
                return _acks.decode(await _read_frame(reader)).text
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, msgspec.MsgspecError):
        return None
