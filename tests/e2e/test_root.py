"""What only root can show.

`make test-root` runs it, an ordinary user's `make test` names and counts it.
"""

from pathlib import Path

import pytest

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
