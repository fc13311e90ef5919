"""Build, identify and sign orders as the official client does.

Signing happens once per order, here; everything later sends the stored bytes. The exchange
contract and domain version follow from the token and the market (docs: Exchange V2 and V3).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from coincurve import PrivateKey
from py_clob_client_v2.constants import BYTES32_ZERO
from py_clob_client_v2.order_utils import ExchangeOrderBuilderV2, SignatureTypeV2
from py_clob_client_v2.order_utils import Side as ClientSide
from py_clob_client_v2.signer import Signer

from bot.config.venue import Contracts
from bot.model.amounts import Amounts
from bot.model.market import Side, TokenId
from bot.model.order import OrderId
from bot.polymarket.eip712 import Domain, OrderStruct

_RESERVED_BITS = ((1 << 64) - 1) << 40


def is_v3(token: str) -> bool:
    """Return whether an outcome token belongs to Exchange V3: bits 40 to 103 of its id are zero."""
    return int(token) & _RESERVED_BITS == 0


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed order: its id is the EIP-712 digest, its body the bytes to POST."""

    id: OrderId
    body: str


class OrderSigner:
    """Signs orders for one wallet. Holds the private key and never shows it."""

    def __init__(
        self,
        private_key: str,
        *,
        chain_id: int,
        contracts: Contracts,
        signature_type: int,
        funder: str | None,
        salt: Callable[[], int] | None = None,
    ) -> None:
        self.signer = Signer(private_key, chain_id)
        self.address: str = self.signer.address()
        self.maker: str = funder or self.address
        self._type = SignatureTypeV2(signature_type)
        self._key = PrivateKey(self.signer.account.key)
        self._salt = salt or _salt
        self._domains = {
            kind: Domain(_separator(address, self.signer, "3" if kind == "v3" else "2"), chain_id)
            for kind, address in contracts.model_dump().items()
        }

    def __repr__(self) -> str:
        return f"OrderSigner({self.address})"

    def sign(
        self,
        token: TokenId,
        side: Side,
        amounts: Amounts,
        *,
        neg_risk: bool,
        owner: str,
        now_us: int,
        order_type: str = "FAK",
        salt: int | None = None,
        expiration_s: int = 0,
    ) -> Signed:
        """Return a new signed order of `owner` (the API key's id).

        `now_us` becomes the order's timestamp in milliseconds, `salt` is random unless given.
        """
        domain = self._domains["v3" if is_v3(token) else "neg_risk" if neg_risk else "standard"]
        # Type 3: the deposit wallet signs through its owner, so it is signer and maker.
        deposit = self._type == SignatureTypeV2.POLY_1271
        order = OrderStruct(
            salt=self._salt() if salt is None else salt,
            maker=self.maker,
            signer=self.maker if deposit else self.address,
            token=int(token),
            maker_amount=amounts.maker_amount,
            taker_amount=amounts.taker_amount,
            side=int(ClientSide.BUY if side is Side.BUY else ClientSide.SELL),
            signature_type=int(self._type),
            timestamp_ms=now_us // 1000,
        )
        struct_hash = order.hashed()
        digest = domain.digest(struct_hash)
        if deposit:
            signed = self._sign(domain.deposit_digest(struct_hash, self.maker))
            signature = domain.deposit_signature(signed, struct_hash)
        else:
            signature = self._sign(digest)
        body = _body(order, side, "0x" + signature.hex(), order_type, owner, expiration_s)
        return Signed(OrderId("0x" + digest.hex()), msgspec.json.encode(body).decode())

    def _sign(self, digest: bytes) -> bytes:
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])


def _separator(contract: str, signer: Signer, version: str) -> bytes:
    builder = ExchangeOrderBuilderV2(contract, signer.chain_id, signer, domain_version=version)
    return bytes(builder.app_domain_separator)


def _body(
    order: OrderStruct, side: Side, signature: str, order_type: str, owner: str, expiration_s: int
) -> dict[str, Any]:
    # Salt and signature type are JSON numbers, everything else is text (docs: POST /order).
    return {
        "deferExec": False,
        "order": {
            "builder": BYTES32_ZERO,
            "expiration": str(expiration_s),
            "maker": order.maker,
            "makerAmount": str(order.maker_amount),
            "metadata": BYTES32_ZERO,
            "salt": order.salt,
            "side": str(side),
            "signature": signature,
            "signatureType": order.signature_type,
            "signer": order.signer,
            "takerAmount": str(order.taker_amount),
            "timestamp": str(order.timestamp_ms),
            "tokenId": str(order.token),
        },
        "orderType": order_type,
        "owner": owner,
    }


def _salt() -> int:
    # It travels as a JSON number, so it must survive a double.
    return secrets.randbits(53)
