"""Plays tests over broken copies of the code, each in a fork of a process that has the libraries.

Starting Python and loading them anew takes longer than most of these tests. One line in asks for
one: the folder of the copy, the file for what the test says, the test. One line out is its code.
"""

import importlib
import os
import signal
import sys
import tempfile

import pytest

import bot  # noqa: F401  (puts the safe SQLite in place before a library takes the other one)

LIBRARIES = (
    "aiohttp.web", "aiosqlite", "alembic.command", "coincurve", "Crypto.Hash.keccak", "eth_account",
    "httpx", "hypothesis", "pydantic_settings", "py_clob_client_v2.client", "sqlmodel",
    "structlog", "websockets.asyncio.client",
)  # fmt: skip
LONGEST_S = 300


def play(folder: str, said: str, test: str, scratch: str) -> None:
    """Run a test over the code in `folder`, its own files in `scratch`; never returns."""
    signal.alarm(LONGEST_S)  # whoever hangs ends by it
    for name in [n for n in sys.modules if n.partition(".")[0] in ("bot", "tests")]:
        del sys.modules[name]
    os.chdir(folder)
    sys.path.insert(0, folder)
    os.environ.update(PYTHONPATH=folder, COPYBOT_TEST_PATIENCE_S="6")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    out = os.open(said, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    # The libraries are here before pytest: it says that it cannot rewrite those that bring plugins.
    early = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    plain = ("-p", "no:cacheprovider", "-p", "no:xdist", *early)
    # Where all put theirs, whoever ends takes away what others have begun: that failed a run.
    own = ("--basetemp", scratch, "--hypothesis-profile", "sabotage")
    code = pytest.main(["-q", "-x", *plain, *own, test])
    sys.stdout.flush()
    os._exit(code)


def main() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    for line in sys.stdin:
        folder, said, test = line.rstrip("\n").split("\t")
        with tempfile.TemporaryDirectory(prefix="broken.") as scratch:
            if (pid := os.fork()) == 0:
                play(folder, said, test, scratch)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(code, flush=True)


if __name__ == "__main__":
    main()
