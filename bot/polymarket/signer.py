"""Build, identify and sign orders with the official client's pure parts.

Signing happens once per order, here; everything later sends the stored bytes. The exchange
contract and domain version follow from the token and the market (docs: Exchange V2 and V3).
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from py_clob_client_v2.order_utils import (
    ExchangeOrderBuilderV2,
    OrderDataV2,
    OrderV2,
    SignatureTypeV2,
)
from py_clob_client_v2.order_utils import Side as ClientSide
from py_clob_client_v2.signer import Signer

from bot.config.schema import Contracts
from bot.model.amounts import Amounts
from bot.model.market import Side, TokenId
from bot.model.order import OrderId

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
        salt: Callable[[], str] | None = None,
    ) -> None:
        self.signer = Signer(private_key, chain_id)
        self.address: str = self.signer.address()
        self.maker: str = funder or self.address
        self._type = SignatureTypeV2(signature_type)
        self._builders = {
            kind: ExchangeOrderBuilderV2(
                address, chain_id, self.signer, salt or _salt, "3" if kind == "v3" else "2"
            )
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
        builder = self._builders["v3" if is_v3(token) else "neg_risk" if neg_risk else "standard"]
        # Type 3: the deposit wallet signs through its owner, so it is signer and maker.
        signer = self.maker if self._type == SignatureTypeV2.POLY_1271 else self.address
        order = builder.build_order(
            OrderDataV2(
                maker=self.maker,
                signer=signer,
                tokenId=str(token),
                makerAmount=str(amounts.maker_amount),
                takerAmount=str(amounts.taker_amount),
                side=ClientSide.BUY if side is Side.BUY else ClientSide.SELL,
                signatureType=self._type,
                timestamp=str(now_us // 1000),
                expiration=str(expiration_s),
            )
        )
        if salt is not None:
            order.salt = str(salt)
        typed = builder.build_order_typed_data(order)
        body = _body(order, side, builder.build_order_signature(typed), order_type, owner)
        return Signed(
            OrderId(builder.build_order_hash(typed)), json.dumps(body, separators=(",", ":"))
        )


def _body(
    order: OrderV2, side: Side, signature: str, order_type: str, owner: str
) -> dict[str, Any]:
    # Salt and signature type are JSON numbers, everything else is text (docs: POST /order).
    return {
        "deferExec": False,
        "order": {
            "builder": order.builder,
            "expiration": order.expiration,
            "maker": order.maker,
            "makerAmount": order.makerAmount,
            "metadata": order.metadata,
            "salt": int(order.salt),
            "side": str(side),
            "signature": signature,
            "signatureType": int(order.signatureType),
            "signer": order.signer,
            "takerAmount": order.takerAmount,
            "timestamp": order.timestamp,
            "tokenId": order.tokenId,
        },
        "orderType": order_type,
        "owner": owner,
    }


def _salt() -> str:
    # It travels as a JSON number, so it must survive a double.
    return str(secrets.randbits(53))
