"""Addresses in their one spelling: EIP-55, where the case of each letter is a checksum."""

import re

_PLAIN = re.compile(r"0x[0-9a-fA-F]{40}")


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 digest, which is not that of SHA-3."""
    from eth_hash.auto import keccak as digest  # a sixth of a worker's start: only who asks pays

    return bytes(digest(data))


def is_address(text: str) -> bool:
    """Return whether this is 0x and 40 hex digits, in whatever case."""
    return _PLAIN.fullmatch(text) is not None


def checksummed(address: str) -> str:
    """Return an address with its letters in the case that EIP-55 fixes."""
    digits = address.lower().removeprefix("0x")
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if mark >= "8" else digit for digit, mark in zip(digits, marks, strict=False)
    )


def wallet(text: str) -> str:
    """Return an address that somebody has typed, checksummed. Raises ValueError with the fix."""
    if not is_address(text):
        raise ValueError("expected an address of 0x and 40 hex digits")
    if int(text, 16) == 0:
        raise ValueError("expected a wallet, found the zero address")
    right, digits = checksummed(text), text[2:]
    if text != right and digits not in (digits.lower(), digits.upper()):
        raise ValueError(f"checksum is wrong; the checksummed form is {right}")
    return right
