"""Digests of orders (EIP-712), packed by hand: one order is decided upon while its market moves.

The official builder encodes the domain and the types anew for every order, twice. All of that
is the same for each order of an exchange contract, so it is computed once; the names of types stay
the official client's, and a test compares every id and signature with its builder.
"""

from dataclasses import dataclass, fields

from py_clob_client_v2.order_utils.exchange_order_builder_v2 import (
    DEPOSIT_WALLET_DOMAIN_SALT,
    DEPOSIT_WALLET_NAME_HASH,
    DEPOSIT_WALLET_VERSION_HASH,
    ORDER_TYPE_HASH,
    ORDER_TYPE_STRING,
    SOLADY_TYPE_HASH,
)

from bot.model.address import keccak

_ZERO = bytes(32)
#: What a deposit wallet reads behind its owner's signature: the text of the type, and its length.
_TYPE_TAIL: bytes = ORDER_TYPE_STRING.encode() + len(ORDER_TYPE_STRING).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class OrderStruct:
    """The signed fields of an order, as their type orders them; addresses are 0x and hex."""

    salt: int
    maker: str
    signer: str
    token: int
    maker_amount: int
    taker_amount: int
    side: int
    signature_type: int
    timestamp_ms: int

    def hashed(self) -> bytes:
        """Return the hash of the struct. Metadata and builder code are none: zero words."""
        words = b"".join(_word(getattr(self, name)) for name in _SIGNED)
        return keccak(ORDER_TYPE_HASH + words + _ZERO + _ZERO)


_SIGNED = tuple(field.name for field in fields(OrderStruct))


class Domain:
    """One exchange contract: what its separator makes of orders."""

    def __init__(self, separator: bytes, chain_id: int) -> None:
        """Take the domain separator (32 bytes) and the chain that deposit wallets name."""
        self.separator = separator
        self._chain = _word(chain_id)

    def digest(self, struct_hash: bytes) -> bytes:
        """Return the 32 bytes that are the order's id, and what a key signs for types 0 to 2."""
        return keccak(b"\x19\x01" + self.separator + struct_hash)

    def deposit_digest(self, struct_hash: bytes, wallet: str) -> bytes:
        """Return what the owner of a deposit wallet signs: the order, wrapped for ERC-7739."""
        domain = DEPOSIT_WALLET_NAME_HASH + DEPOSIT_WALLET_VERSION_HASH + self._chain
        domain += _word(wallet) + DEPOSIT_WALLET_DOMAIN_SALT
        return self.digest(keccak(SOLADY_TYPE_HASH + struct_hash + domain))

    def deposit_signature(self, signature: bytes, struct_hash: bytes) -> bytes:
        """Return the owner's signature with all that the deposit wallet needs to prove it."""
        return signature + self.separator + struct_hash + _TYPE_TAIL


def _word(value: int | str) -> bytes:
    number = int(value, 16) if isinstance(value, str) else value
    return number.to_bytes(32, "big")
