"""What only root can show.

`make test-root` runs it, an ordinary user's `make test` names and counts it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bot.queue import Ping, ask, serve
from tests.e2e.botctl import answer, botctl
from tests.e2e.test_cli import bot, home, pids

pytestmark = pytest.mark.root
__all__ = ["bot", "home"]


@pytest.mark.parametrize("name", ["storage.full", "storage.read_only"])
def test_a_disk_that_refuses_stops_entries_and_loses_nothing(name):
    process = botctl("drill", name, "--json", timeout=600)
    found = answer(process)
    assert found["ok"], found["drills"]
    assert found["left_out"] == []


def test_the_key_is_in_no_environment_and_no_argument_of_any_worker(bot):
    key = (bot[1] / "key").read_text().removeprefix("0x").encode()
    found = pids(bot[1])
    assert len(found) == 3
    for pid in found.values():
        for name in ("cmdline", "environ"):
            content = Path(f"/proc/{pid}/{name}").read_bytes()
            assert content and key not in content


_KNOCK = """
import os, socket, struct, sys
os.setuid(int(sys.argv[3]))
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
peer.connect(sys.argv[1])
frame = bytes.fromhex(sys.argv[2])
try:
    peer.sendall(struct.pack("!I", len(frame)) + frame)
    print(len(peer.recv(100)))
except OSError:
    print(0)
"""
#: Frame 1, a ping: [1, {"type": "ping"}] in MessagePack.
_PING = "9201" + "81" + "a474797065" + "a470696e67"


async def test_a_peer_of_another_user_is_not_heard():
    async def handle(_) -> str:
        return "heard"

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "run" / "a.sock"
        async with serve(path, handle):
            # As if both had been left open by mistake: then only the kernel's word keeps him out.
            os.chmod(path.parent, 0o755)
            os.chmod(path, 0o666)
            assert await ask(path, Ping(), timeout_s=10) == "heard"
            answered = []
            for user in (0, 65_534):
                command = [sys.executable, "-c", _KNOCK, str(path), _PING, str(user)]
                found = await asyncio.to_thread(
                    subprocess.run, command, capture_output=True, text=True, check=True
                )
                answered.append(int(found.stdout) > 0)
    assert answered == [True, False]
