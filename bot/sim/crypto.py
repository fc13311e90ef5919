"""EIP-712 by hand: digests of orders and logins, and who signed them.

Sources: EIP-712; the exchange's Order struct (V2 and V3); ERC-7739 for deposit wallets.
"""

import hashlib
import random
from collections.abc import Mapping
from typing import Any

from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak as _keccak

ORDER_TYPE = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    "uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,"
    "bytes32 builder)"
)
_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_LOGIN_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId)"
_LOGIN_TYPE = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_LOGIN_TEXT = "This message attests that I control the given wallet"
_WRAP_TYPE = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)" + ORDER_TYPE
)


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 digest."""
    return bytes(_keccak.new(digest_bits=256, data=data).digest())


def checksum(address: str) -> str:
    """Return an address in EIP-55 form."""
    digits = address.lower().removeprefix("0x")
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(
        c.upper() if int(m, 16) > 7 else c for c, m in zip(digits, marks, strict=False)
    )


def address_of(private_key: str) -> str:
    """Return the checksummed address of a private key."""
    return _address(PrivateKey.from_hex(private_key.removeprefix("0x")).public_key)


def random_key(rng: random.Random) -> str:
    """Return a throw-away private key."""
    return "0x" + hashlib.sha256(rng.randbytes(32)).hexdigest()


def random_address(rng: random.Random) -> str:
    """Return an address whose key nobody has."""
    return checksum("0x" + rng.randbytes(20).hex())


def _address(public: PublicKey) -> str:
    return checksum("0x" + keccak(public.format(compressed=False)[1:])[-20:].hex())


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _account(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x")).rjust(32, b"\0")


def order_domain(version: str, chain_id: int, contract: str) -> bytes:
    """Return the domain separator of one exchange contract."""
    name = keccak(b"Polymarket CTF Exchange")
    parts = (
        keccak(_DOMAIN_TYPE.encode()),
        name,
        keccak(version.encode()),
        _word(chain_id),
        _account(contract),
    )
    return keccak(b"".join(parts))


def order_struct(order: Mapping[str, Any]) -> bytes:
    """Return hashStruct of an order given as its JSON fields."""
    parts = (
        keccak(ORDER_TYPE.encode()),
        _word(int(order["salt"])),
        _account(order["maker"]),
        _account(order["signer"]),
        _word(int(order["tokenId"])),
        _word(int(order["makerAmount"])),
        _word(int(order["takerAmount"])),
        _word({"BUY": 0, "SELL": 1}[order["side"]]),
        _word(int(order["signatureType"])),
        _word(int(order["timestamp"])),
        bytes.fromhex(order["metadata"].removeprefix("0x")),
        bytes.fromhex(order["builder"].removeprefix("0x")),
    )
    return keccak(b"".join(parts))


def order_id(domain: bytes, struct: bytes) -> str:
    """Return the order's id, the EIP-712 digest."""
    return "0x" + keccak(b"\x19\x01" + domain + struct).hex()


def order_signer(order: Mapping[str, Any], domain: bytes, chain_id: int) -> str | None:
    """Return the address whose key signed an order, or None if the signature is malformed.

    Type 3 signatures are 317 bytes: inner signature, domain, struct, the order's type text and
    its length; every part must be the one of this order.
    """
    try:
        signature = bytes.fromhex(order["signature"].removeprefix("0x"))
    except ValueError:
        return None
    struct = order_struct(order)
    if order["signatureType"] != 3:
        return recover(keccak(b"\x19\x01" + domain + struct), signature)
    tail = domain + struct + ORDER_TYPE.encode() + len(ORDER_TYPE).to_bytes(2, "big")
    if len(signature) != 65 + len(tail) or signature[65:] != tail:
        return None
    parts = (
        keccak(_WRAP_TYPE.encode()),
        struct,
        keccak(b"DepositWallet"),
        keccak(b"1"),
        _word(chain_id),
        _account(order["signer"]),
        bytes(32),
    )
    return recover(keccak(b"\x19\x01" + domain + keccak(b"".join(parts))), signature[:65])


def login_signer(
    address: str, timestamp: str, nonce: int, chain_id: int, signature: str
) -> str | None:
    """Return the address whose key signed an L1 header, or None if it is malformed."""
    domain = keccak(
        b"".join(
            (
                keccak(_LOGIN_DOMAIN_TYPE.encode()),
                keccak(b"ClobAuthDomain"),
                keccak(b"1"),
                _word(chain_id),
            )
        )
    )
    parts = (
        keccak(_LOGIN_TYPE.encode()),
        _account(address),
        keccak(timestamp.encode()),
        _word(nonce),
        keccak(_LOGIN_TEXT.encode()),
    )
    try:
        return recover(
            keccak(b"\x19\x01" + domain + keccak(b"".join(parts))),
            bytes.fromhex(signature.removeprefix("0x")),
        )
    except ValueError:
        return None


def recover(digest: bytes, signature: bytes) -> str | None:
    """Return the address that signed a digest, or None."""
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        return None
    try:
        public = PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] % 27]), digest, hasher=None
        )
    except Exception:  # coincurve raises plain Exception and ValueError for points off the curve
        return None
    return _address(public)
