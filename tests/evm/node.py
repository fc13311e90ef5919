"""A real EVM node, and a small contract on it that tells what the exchange tells."""

import contextlib
import itertools
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from eth_abi import encode
from eth_utils import keccak

HERE = Path(__file__).parent
INSTALLED = Path(sys.prefix) / "evm" / "node_modules"
#: Of a shared machine.
PATIENCE_S = 60
_COMPILE = """
const solc = require('solc'), fs = require('fs');
const source = fs.readFileSync(process.argv[1], 'utf8');
const input = {language: 'Solidity', sources: {V: {content: source}},
  settings: {evmVersion: 'paris', outputSelection: {'*': {'*': ['evm.bytecode.object']}}}};
const out = JSON.parse(solc.compile(JSON.stringify(input)));
const errors = (out.errors || []).filter(e => e.severity === 'error');
if (errors.length) { console.error(errors[0].formattedMessage); process.exit(1); }
process.stdout.write(out.contracts.V.Venue.evm.bytecode.object);
"""
_SETTLE = "settle((address,address,uint8,uint256,uint256,uint256)[])"


def binary() -> Path:
    """Return the node's program; skip the test where npm has not installed it."""
    found = list(INSTALLED.glob("@foundry-rs/anvil-*/bin/anvil"))
    if not found:
        pytest.skip("no EVM node: npm is not here, or `make test` could not install it")
    return found[0]


def compiled() -> str:
    """Return the contract's code, compiled now."""
    done = subprocess.run(
        ["node", "-e", _COMPILE, str(HERE / "Venue.sol")],
        cwd=INSTALLED.parent, capture_output=True, text=True, timeout=PATIENCE_S * 3,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class Node:
    """A node that mines when it is told to."""

    def __init__(self, port: int) -> None:
        self.url, self.ws_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        self._http, self._numbers = httpx.Client(timeout=PATIENCE_S), itertools.count(1)

    def call(self, method, *params):
        asked = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}
        answer = self._http.post(self.url, json=asked).json()
        assert "error" not in answer, answer
        return answer["result"]

    def ready(self) -> bool:
        try:
            return bool(self.call("eth_chainId"))
        except httpx.HTTPError:
            return False

    def deploy(self) -> None:
        self.owner = self.call("eth_accounts")[0]
        tx = self.call("eth_sendTransaction", {"from": self.owner, "data": "0x" + compiled()})
        self.mine()
        self.venue = self.call("eth_getTransactionReceipt", tx)["contractAddress"].lower()

    def mine(self, blocks: int = 1) -> None:
        self.call("anvil_mine", hex(blocks))

    def send(self, signature: str, kinds: list[str], values: list) -> str:
        """Send a call of the contract; it waits for the next block. Return its hash."""
        data = keccak(text=signature)[:4] + encode(kinds, values)
        asked = {"from": self.owner, "to": self.venue, "data": "0x" + data.hex(), "gas": hex(10**6)}
        return self.call("eth_sendTransaction", asked)

    def settle(self, *rows) -> str:
        """Settle rows (wallet, taker, side, token, shares, cash) in one transaction."""
        return self.send(_SETTLE, ["(address,address,uint8,uint256,uint256,uint256)[]"], [rows])

    def transfer(self, giver, taker, token, shares) -> str:
        kinds = ["address", "address", "uint256", "uint256"]
        return self.send(
            "send(address,address,uint256,uint256)", kinds, [giver, taker, token, shares]
        )

    def raw(self, tx):
        """Return a transaction as it is: it may come again under its own hash."""
        return self.call("eth_getRawTransactionByHash", tx)

    def again(self, tx):
        """Return what a transaction asks for: it may come again under another hash."""
        raw = self.call("eth_getTransactionByHash", tx)
        return {key: raw[key] for key in ("from", "to", "input", "gas", "nonce")}

    def reorganise(self, depth: int, transactions: list) -> None:
        """Put other blocks in the place of the newest; all of these are in the first of them."""
        self.call("anvil_reorg", depth, [[transaction, 0] for transaction in transactions])


@contextlib.contextmanager
def node():
    """Serve a node with the contract on it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(binary()), "--port", str(port), "--no-mining", "--slots-in-an-epoch", "1", "--quiet",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        found, deadline = Node(port), time.monotonic() + PATIENCE_S
        while not found.ready():
            assert time.monotonic() < deadline, "the node does not answer"
            time.sleep(0.1)
        found.deploy()
        yield found
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)
