"""Who is asking: L1 logins, API keys made from them, and L2 signatures of requests."""

import base64
import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.sim import crypto
from bot.sim.entities import CHAIN_ID
from bot.sim.exchange import Exchange
from bot.sim.rules import Refused

SKEW_S = 60
_BAD_LOGIN = "Invalid L1 Request headers"
_BAD_KEY = "Unauthorized/Invalid api key"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """API credentials of a signing address."""

    key: str
    secret: str
    passphrase: str
    address: str

    def shown(self) -> dict[str, str]:
        """Return the answer of the auth endpoints."""
        return {"apiKey": self.key, "secret": self.secret, "passphrase": self.passphrase}


class Keys:
    """Every API key that was made; the same login gives the same key."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self.exchange, self._seed = exchange, seed
        self.known: dict[str, ApiKey] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of /auth."""
        return [
            web.post("/auth/api-key", self.create_key),
            web.get("/auth/derive-api-key", self.derive_key),
            web.get("/auth/api-keys", self.list_keys),
            web.get("/auth/ban-status/closed-only", self.closed_only),
        ]

    async def private(self, request: web.Request) -> tuple[ApiKey, Any]:
        """Return the key that signed a request, and its JSON body; raises Refused."""
        raw = await request.text()
        key = self._signer(request, raw)
        try:
            return key, json.loads(raw) if raw else None
        except ValueError:
            raise Refused("Invalid order payload") from None

    async def create_key(self, request: web.Request) -> web.Response:
        """POST /auth/api-key: 400 where a key exists for the nonce."""
        who = self._login(request)
        if any(f"{k.address}:0" == who for k in self.known.values()):
            raise Refused("Could not create api key")
        return web.json_response(self._derive(who).shown())

    async def derive_key(self, request: web.Request) -> web.Response:
        """GET /auth/derive-api-key."""
        return web.json_response(self._derive(self._login(request)).shown())

    async def list_keys(self, request: web.Request) -> web.Response:
        """GET /auth/api-keys."""
        key, _ = await self.private(request)
        same = [k.key for k in self.known.values() if k.address == key.address]
        return web.json_response({"apiKeys": same})

    async def closed_only(self, request: web.Request) -> web.Response:
        """GET /auth/ban-status/closed-only: whether this key's wallets may only reduce."""
        key, _ = await self.private(request)
        accounts = self.exchange.accounts.values()
        closed = any(a.closed_only for a in accounts if a.owner == key.address)
        return web.json_response({"closed_only": closed})

    def _fresh(self, stamp: str) -> bool:
        return stamp.isdigit() and abs(int(stamp) - self.exchange.clock_s) <= SKEW_S

    def _login(self, request: web.Request) -> str:
        h = request.headers
        address, nonce = h.get("POLY_ADDRESS", ""), h.get("POLY_NONCE", "")
        stamp, signature = h.get("POLY_TIMESTAMP", ""), h.get("POLY_SIGNATURE", "")
        if not self._fresh(stamp) or not nonce.isdigit() or len(address) != 42:
            raise Refused(_BAD_LOGIN, 401)
        signer = crypto.login_signer(address, stamp, int(nonce), CHAIN_ID, signature)
        if signer is None or signer.lower() != address.lower():
            raise Refused(_BAD_LOGIN, 401)
        return f"{signer}:{nonce}"

    def _derive(self, who: str) -> ApiKey:
        digest = hashlib.sha256(f"{self._seed}:{who}".encode()).digest()
        key = str(uuid.UUID(bytes=digest[:16], version=4))
        secret = base64.urlsafe_b64encode(hashlib.sha256(digest).digest()).decode()
        found = ApiKey(key, secret, digest.hex(), who.split(":")[0])
        self.known[key] = found
        return found

    def _signer(self, request: web.Request, body: str) -> ApiKey:
        h = request.headers
        key, stamp = self.known.get(h.get("POLY_API_KEY", "")), h.get("POLY_TIMESTAMP", "")
        address = h.get("POLY_ADDRESS", "").lower()
        if key is None or not self._fresh(stamp) or address != key.address.lower():
            raise Refused(_BAD_KEY, 401)
        message = stamp + request.method + request.path + body
        secret = base64.urlsafe_b64decode(key.secret)
        right = base64.urlsafe_b64encode(hmac.digest(secret, message.encode(), "sha256")).decode()
        signed = hmac.compare_digest(right, h.get("POLY_SIGNATURE", ""))
        if not signed or h.get("POLY_PASSPHRASE") != key.passphrase:
            raise Refused(_BAD_KEY, 401)
        return key
