"""Polygon JSON-RPC of the simulation: `/rpc/a` and `/rpc/b` are two providers of one chain.

HTTP takes single requests and lists of them; a websocket takes eth_subscribe as well (`newHeads`,
`logs`). Only what a reader of logs and balances needs is there.
"""

import asyncio
import json
from collections.abc import Callable
from itertools import count
from typing import Any

from aiohttp import WSMsgType, web

from bot.errors import ConfigError
from bot.sim.chain import Block, Chain
from bot.sim.entities import CHAIN_ID
from bot.sim.exchange import Exchange
from bot.sim.logs import POSITIONS, TOKENS
from bot.sim.node import Filter, Node, RpcError, header, receipt, wanted
from bot.sim.taps import Client, Tap

BALANCE_OF = "00fdd58e"
BALANCE_OF_BATCH = "4e1273f4"
DENOMINATOR = "dd34de67"
NUMERATORS = "0504c814"
NAMES = ("a", "b")
MOST_BATCHED = 100
#: What providers answer with, HTTP 200, to whoever has asked too much, or is not known.
_ERRORS = {
    "exhausted": (-32005, "your app has exceeded its compute units per second capacity"),
    "locked": (-32000, "Unauthorized: You must authenticate your request with an API key"),
}


class RpcServer:
    """Two providers, and who listens to them."""

    def __init__(self, exchange: Exchange, chain: Chain) -> None:
        self.exchange, self.chain = exchange, chain
        self.nodes = {name: Node(chain) for name in NAMES}
        self.taps = {name: Tap() for name in NAMES}
        self._clients: dict[str, dict[Client, dict[str, Filter | None]]] = {n: {} for n in NAMES}
        self._numbers = count(1)
        for node in self.nodes.values():
            node.news()
        chain.listeners.append(self._grew)

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        return [
            web.post("/rpc/{name:a|b}", self.over_http),
            web.get("/rpc/{name:a|b}", self.over_socket),
        ]

    def heal(self) -> None:
        """Let both be well, and every subscription deliver."""
        for name, node in self.nodes.items():
            node.heal()
            self.tap(name, "clean")

    def tap(self, name: str, mode: str) -> None:
        """Change what becomes of a provider's frames: one of `Tap.MODES`."""
        held = self.taps[name].set(mode)
        for client in self._clients[name]:
            client.put(held)
            if mode == "lapsed":
                client.lapse()
            else:
                client.recover()

    def change(self, name: str, changes: dict[str, Any]) -> None:
        """Make a provider ill; raises ConfigError."""
        if name not in self.nodes:
            raise ConfigError(f"node {name[:40]!a}: expected one of {', '.join(NAMES)}")
        self.nodes[name].ills.change(changes)

    async def over_http(self, request: web.Request) -> web.Response:
        """POST: one request, or a list of them."""
        node = self.nodes[request.match_info["name"]]
        if node.ills.mode in _ERRORS:
            node.struck += 1
            error = RpcError(*_ERRORS[node.ills.mode])
            return web.json_response(_failure(json.loads(await request.text()), error))
        if node.ills.mode != "up":
            node.struck += 1
            throttled = node.ills.mode == "throttled"
            headers = {"Retry-After": "1"} if throttled else {}
            return web.Response(status=429 if throttled else 503, headers=headers)
        try:
            asked = json.loads(await request.text())
        except ValueError:
            return web.json_response(_failure(None, RpcError(-32700, "parse error")))
        if not isinstance(asked, list):
            answer = self._answer(node, asked)
            status = 400 if node.ills.blunt and "error" in answer else 200
            return web.json_response(answer, status=status)
        if len(asked) > MOST_BATCHED:
            return web.json_response(_failure(None, RpcError(-32600, "batch too large")))
        return web.json_response([self._answer(node, one) for one in asked])

    async def over_socket(self, request: web.Request) -> web.WebSocketResponse:
        """GET: a websocket."""
        name = request.match_info["name"]
        if self.nodes[name].ills.mode != "up":
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        client = Client(self.taps[name])
        self._clients[name][client] = {}
        writer = asyncio.create_task(_write(socket, client))
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT or client.slow:
                    break
                answer = self._frame(name, client, json.loads(message.data))
                client.put([] if client.tap.mode == "silent" else [json.dumps(answer)])
        finally:
            del self._clients[name][client]
            writer.cancel()
            await socket.close()
        return socket

    def _frame(self, name: str, client: Client, asked: Any) -> dict[str, Any]:
        method = asked.get("method") if isinstance(asked, dict) else None
        if method not in ("eth_subscribe", "eth_unsubscribe"):
            return self._answer(self.nodes[name], asked)
        subscriptions, params = self._clients[name][client], asked.get("params") or [""]
        try:
            if method == "eth_unsubscribe":
                client.unsubscribe({params[0]})
                return _success(asked, subscriptions.pop(params[0], False) is not False)
            found = wanted(params[1]) if params[0] == "logs" else None
            if found is None and params[0] != "newHeads":
                raise RpcError(-32602, f"no {str(params[0])[:40]!a} subscription")
            if found is not None:
                self.nodes[name].check(found)
        except RpcError as error:
            return _failure(asked, error)
        number = f"0x{next(self._numbers):032x}"
        subscriptions[number] = found
        client.subscribe({number})
        return _success(asked, number)

    def _grew(self, gone: list[Block], come: list[Block]) -> None:
        del gone, come  # each provider has its own view of what is new
        for name, node in self.nodes.items():
            left, news = node.news()
            if node.ills.mode != "up":
                continue
            for client, subscriptions in self._clients[name].items():
                for number, found in subscriptions.items():
                    for what in _told(node, found, left, news):
                        _notify(client, number, what)

    def _answer(self, node: Node, asked: Any) -> dict[str, Any]:
        try:
            method, params = asked["method"], asked.get("params") or []
            handler: Callable[..., Any] | None = getattr(self, f"_{method}", None)
            if not method.startswith(("eth_", "net_")) or handler is None:
                raise RpcError(-32601, f"the method {str(method)[:40]} does not exist")
            return _success(asked, handler(node, *params))
        except RpcError as error:
            return _failure(asked, error)
        except (TypeError, ValueError, LookupError, AttributeError):
            return _failure(asked, RpcError(-32602, "invalid params"))

    def _net_version(self, node: Node) -> str:
        return str(CHAIN_ID)

    def _eth_chainId(self, node: Node) -> str:
        return hex(CHAIN_ID)

    def _eth_blockNumber(self, node: Node) -> str:
        return hex(node.head.number)

    def _eth_getBlockByNumber(self, node: Node, name: str, full: bool = False) -> Any:
        block = node.knows(self.chain.block(self._number(node, name)))
        return header(block) if block else None

    def _eth_getBlockByHash(self, node: Node, digest: str, full: bool = False) -> Any:
        block = node.knows(self.chain.named(digest))
        return header(block) if block else None

    def _eth_getTransactionReceipt(self, node: Node, digest: str) -> Any:
        found = self.chain.found(digest)
        if found is None or node.knows(found[0]) is None:
            return None
        block, place = found
        return receipt(block, place, block.transactions[place])

    def _eth_getLogs(self, node: Node, asked: dict[str, Any]) -> list[dict[str, Any]]:
        found = wanted(asked)
        if "blockHash" in asked:
            node.check(found)
            block = node.knows(self.chain.named(asked["blockHash"]))
            if block is None:
                raise RpcError(-32000, "unknown block")
            return list(node.in_block(found, block))
        first = self._number(node, asked.get("fromBlock", "latest"))
        last = self._number(node, asked.get("toBlock", "latest"))
        if first > last:
            raise RpcError(-32000, "invalid block range params")
        return node.in_range(found, first, last)

    def _eth_call(self, node: Node, call: dict[str, Any], at: Any = "latest") -> str:
        if node.ills.stateless:
            node.struck += 1
            raise RpcError(-32000, "missing trie node")
        block = self._block(node, at)
        data, to = call.get("data") or call["input"], call["to"].lower()
        words = [int(data[i : i + 64], 16) for i in range(10, len(data), 64)]
        selector = data[2:10]
        if selector == BALANCE_OF:
            return _hex([self._balance(block, to, *words)])
        if selector == BALANCE_OF_BATCH:
            owners, tokens = (_array(words, i) for i in (0, 1))
            asked = zip(owners, tokens, strict=True)
            found = [self._balance(block, to, owner, token) for owner, token in asked]
            if node.ills.zeros:
                node.struck += 1
                found = [0] * len(found)
            return _hex([32, len(found), *found])
        if selector in (DENOMINATOR, NUMERATORS):
            return _hex([self._payout(words)])
        raise RpcError(3, "execution reverted")

    def _payout(self, words: list[int]) -> int:
        market = self.exchange.markets.get(f"0x{words[0]:064x}")
        payouts = (market.payouts if market else None) or (0, 0)
        return payouts[words[1]] if len(words) > 1 else sum(payouts)

    def _balance(self, block: Block, contract: str, owner: int, token: int) -> int:
        wallet, market = f"0x{owner:040x}", self.exchange.by_token.get(str(token))
        account = self.exchange.accounts.get(wallet)
        home = POSITIONS if market is not None and market.kind == "v3" else TOKENS
        if account is None or contract != home:
            return 0
        later = self.chain.changed_after(block.number, wallet, str(token))
        return account.shares.get(str(token), 0) - later

    def _block(self, node: Node, at: Any) -> Block:
        if isinstance(at, dict) and "blockHash" in at:
            found = self.chain.named(at["blockHash"])
        else:
            name = at["blockNumber"] if isinstance(at, dict) else at
            found = self.chain.block(self._number(node, name))
        block = node.knows(found)
        if block is None:
            raise RpcError(-32000, "header not found")
        return block

    def _number(self, node: Node, name: str) -> int:
        if name in ("latest", "pending", "safe"):
            return node.head.number
        if name == "finalized":
            return min(self.chain.final(self.exchange.now_us).number, node.head.number)
        return self.chain.blocks[0].number if name == "earliest" else int(name, 16)


async def _write(socket: web.WebSocketResponse, client: Client) -> None:
    while not client.slow:
        await socket.send_str(await client.frames.get())
    await socket.close(code=1013)


def _told(node: Node, found: Filter | None, gone: list[Block], come: list[Block]) -> list[Any]:
    if found is None:
        return [header(block) for block in come]
    back = [log for b in reversed(gone) for log in node.in_block(found, b, removed=True)]
    return back + [log for block in come for log in node.in_block(found, block)]


def _notify(client: Client, number: str, result: Any) -> None:
    if client.wishes(number):
        params = {"subscription": number, "result": result}
        client.send({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})


def _array(words: list[int], i: int) -> list[int]:
    at = words[i] // 32
    return words[at + 1 : at + 1 + words[at]]


def _hex(words: list[int]) -> str:
    return "0x" + "".join(f"{word:064x}" for word in words)


def _id(asked: Any) -> Any:
    return asked.get("id") if isinstance(asked, dict) else None


def _success(asked: Any, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": _id(asked), "result": result}


def _failure(asked: Any, error: RpcError) -> dict[str, Any]:
    what = {"code": error.code, "message": str(error)}
    return {"jsonrpc": "2.0", "id": _id(asked), "error": what}
