"""The queue over real Unix sockets."""

import asyncio
import contextlib
import socket
import stat
from pathlib import Path

import pytest

from bot.errors import ConfigError
from bot.queue import MAX_PATH, Ping, Sender, SignalSeen, ask, check_path, serve
from tests.rig import until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "executor.sock"


class Inbox:
    """Takes what comes; `gate` holds it up, `begun` says how much has come to the gate."""

    def __init__(self, *, open_=True):
        self.messages, self.begun, self.gate = [], 0, asyncio.Event()
        if open_:
            self.gate.set()

    async def take(self, message):
        self.begun += 1
        await self.gate.wait()
        self.messages.append(message)
        return ""


async def test_frames_arrive_in_order_and_are_acknowledged(path):
    inbox = Inbox()
    async with serve(path, inbox.take):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        sender = Sender(path)
        task = asyncio.create_task(sender.run())
        for i in range(100):
            sender.put(SignalSeen(str(i)))
        await until(lambda: sender.waiting == 0, "all acknowledged")
        assert [m.signal_id for m in inbox.messages] == [str(i) for i in range(100)]
        task.cancel()


async def test_what_a_dead_reader_did_not_acknowledge_comes_again(path):
    first = asyncio.Event()

    async def never(_):
        first.set()
        await asyncio.Event().wait()

    sender = Sender(path)
    task = asyncio.create_task(sender.run())
    sender.put(SignalSeen("a"))
    async with serve(path, never):
        await first.wait()
    inbox = Inbox()
    async with serve(path, inbox.take):
        await until(lambda: sender.waiting == 0, "delivered to the next reader")
    assert inbox.messages == [SignalSeen("a")]
    task.cancel()


async def test_a_sender_without_reader_is_bounded_and_drops_the_oldest(path):
    sender = Sender(path, capacity=10)
    for i in range(25):
        sender.put(SignalSeen(str(i)))
    assert sender.waiting == 10
    inbox = Inbox()
    task = asyncio.create_task(sender.run())
    async with serve(path, inbox.take):
        await until(lambda: sender.waiting == 0, "delivered")
    assert [m.signal_id for m in inbox.messages] == [str(i) for i in range(15, 25)]
    task.cancel()


async def test_what_is_put_is_in_the_socket_when_put_returns(path):
    """Nothing may have to turn in between: the ledger's thread and others keep the loop busy."""
    path.parent.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    sender = Sender(path)
    task = asyncio.create_task(sender.run())
    peer = (await asyncio.to_thread(listener.accept))[0]
    sender.put(SignalSeen("first"))
    # The first may be put before the sender has heard that it is connected; the second is not.
    await asyncio.to_thread(peer.recv, 1)
    peer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        peer.recv(65536)
    sender.put(SignalSeen("second"))
    assert b"second" in peer.recv(65536)
    task.cancel()
    peer.close()
    listener.close()


async def test_who_stops_reading_gets_the_rest_when_he_reads_again(path):
    inbox = Inbox(open_=False)
    sender = Sender(path, capacity=5000)
    task = asyncio.create_task(sender.run())
    async with serve(path, inbox.take):
        await asyncio.sleep(0)
        for number in range(3000):
            sender.put(SignalSeen(f"{number:0100d}"))
            if number % 500 == 0:
                await asyncio.sleep(0)  # who sends has its turn
        inbox.gate.set()
        await until(lambda: sender.waiting == 0, "delivered")
    assert [int(m.signal_id) for m in inbox.messages] == list(range(3000))
    task.cancel()


async def test_the_one_that_finds_the_socket_full_is_not_forgotten(path):
    for number in range(1, 10):  # how many it takes to fill one is the kernel's secret
        inbox = Inbox(open_=False)
        sender = Sender(path)
        async with serve(path, inbox.take):
            task = asyncio.create_task(sender.run())
            sender.put(SignalSeen("first"))
            await until(lambda inbox=inbox: inbox.begun, "the first has come")
            for name in range(number):
                sender.put(SignalSeen(f"{name:060000d}"))
            inbox.gate.set()
            await until(lambda sender=sender: sender.waiting == 0, f"all of {number} arrive")
            assert len(inbox.messages) == number + 1
            task.cancel()


async def test_a_sender_keeps_a_thousand_for_who_is_away(path):
    sender = Sender(path)
    for number in range(1_001):
        sender.put(SignalSeen(str(number)))
    assert sender.waiting == 1_000


async def test_what_is_acknowledged_after_it_was_dropped_harms_nothing(path):
    inbox = Inbox(open_=False)
    sender = Sender(path, capacity=2)
    task = asyncio.create_task(sender.run())
    async with serve(path, inbox.take):
        sender.put(SignalSeen("first"))
        await until(lambda: inbox.begun, "it has come")
        for number in range(4):
            sender.put(SignalSeen(str(number)))
        inbox.gate.set()
        await until(lambda: len(inbox.messages) == 5, "all that was in the socket")
        sender.put(SignalSeen("last"))
        await until(lambda: sender.waiting == 0 or task.done(), "the last one")
        assert not task.done()
    task.cancel()


async def test_who_has_gone_fails_nobody(path):
    sender = Sender(path)
    task = asyncio.create_task(sender.run())
    async with serve(path, Inbox().take):
        sender.put(SignalSeen("a"))
        await until(lambda: sender.waiting == 0, "delivered")

    def put_twenty() -> bool:  # before it has heard of it, and after
        sender.put(SignalSeen("b"))
        return sender.waiting == 20

    await until(put_twenty, "nothing fails")
    assert not task.done()
    task.cancel()


async def test_ask_tells_a_living_loop_from_a_dead_one(path):
    assert await ask(path, Ping(), timeout_s=1) is None
    async with serve(path, Inbox().take):
        assert await ask(path, Ping(), timeout_s=10) == ""

    async def hang(_):
        await asyncio.Event().wait()

    async with serve(path, hang):
        assert await ask(path, Ping(), timeout_s=0.2) is None


async def test_a_stale_socket_is_replaced_and_a_living_one_is_not(path):
    path.parent.mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with serve(path, Inbox().take):
        with pytest.raises(ConfigError, match="in use by another process"):
            async with serve(path, Inbox().take):
                pass
        assert await ask(path, Ping(), timeout_s=10) == ""


async def test_what_is_no_socket_is_never_removed(path):
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        async with serve(path, Inbox().take):
            pass
    assert path.read_text() == "precious"


def test_a_path_the_kernel_refuses_is_refused_with_the_fix():
    check_path(Path("/" + "x" * (MAX_PATH - 1)))
    with pytest.raises(ConfigError, match="use a shorter --home"):
        check_path(Path("/" + "x" * MAX_PATH))


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc", b"\x00\x00", bytes(range(144, 208))]
)
async def test_garbage_ends_its_connection_and_nothing_else(path, data):
    inbox = Inbox()
    async with serve(path, inbox.take):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 30)
        writer.close()
        assert await ask(path, Ping(), timeout_s=10) == ""
    assert inbox.messages == [Ping()]
