"""Addresses of trading wallets as their factories on the chain make them (CREATE2).

address = last 20 bytes of keccak(0xff, factory, salt, hash of the creation code). A proxy's and a
safe's creation code are the same for everybody; a deposit wallet carries its owner in it. Sources:
the verified factories on Polygon and the ERC-1967 minimal proxies they deploy.
"""

from bot.sim.crypto import checksum, keccak

PROXY_FACTORY = "aB45c5A4B0c941a2F231C04C3f49182e1A254052"
PROXY_IMPLEMENTATION = "44e999d5c2F66Ef0861317f9A4805AC2e90aEB4f"
SAFE_FACTORY = "aacFeEa03eb1561C4e67d661e40682Bd20E3541b"
SAFE_CODE_HASH = "2bce2127ff07fb632d16c8347c4ebf501f4841168bed00d9e6ef715ddb6fcecf"
DEPOSIT_FACTORY = "00000000000Fb5C9ADea0298D729A0CB3823Cc07"
DEPOSIT_IMPLEMENTATION = "58CA52ebe0DadfdF531Cde7062e76746de4Db1eB"
DEPOSIT_BEACON = "7A18EDfe055488A3128f01F563e5B479D92ffc3a"

_PROXY_CODE = (
    "3d3d606380380380913d393d73{factory}5af4602a57600080fd5b602d8060366000396000f3"
    "363d3d373d3d3d363d73{implementation}5af43d82803e903d91602b57fd5bf352e831dd"
    + f"{32:064x}"
    + f"{0:064x}"
)
#: Creation code of an ERC-1967 proxy and of an ERC-1967 beacon proxy: what stands before the
#: address, and what stands between it and the arguments. Their length is in the third byte.
_UUPS_CODE = (
    0x61003D3D8160233D3973,
    "60095155f3363d3d373d3d363d7f360894a13ba1a3210667c828492db98dca3e2076"
    "cc3735a920a3ca505d382bbc545af43d6000803e6038573d6000fd5b3d6000f3",
)
_BEACON_CODE = (
    0x6100523D8160233D3973,
    "60195155f3363d3d373d3d363d602036600436635c60da1b60e01b36527fa3f0ad74e5423aebfd80d3ef43465783"
    "35a9a72aeaee59ff6cb3582b35133d50545afa5036515af43d6000803e604d573d6000fd5b3d6000f3",
)


def proxy(owner: str) -> str:
    """Return the proxy wallet (signature type 1) of a signing address."""
    code = _PROXY_CODE.format(factory=PROXY_FACTORY, implementation=PROXY_IMPLEMENTATION)
    return _create2(PROXY_FACTORY, keccak(_bytes(owner)), keccak(bytes.fromhex(code)))


def safe(owner: str) -> str:
    """Return the Gnosis safe (signature type 2) of a signing address."""
    return _create2(SAFE_FACTORY, keccak(_word(owner)), bytes.fromhex(SAFE_CODE_HASH))


def deposit(owner: str, *, beacon: bool = True) -> str:
    """Return the deposit wallet (signature type 3); `beacon` is the generation made today."""
    arguments = _word(DEPOSIT_FACTORY) + _word(owner)
    (head, tail), target = (
        (_BEACON_CODE, DEPOSIT_BEACON) if beacon else (_UUPS_CODE, DEPOSIT_IMPLEMENTATION)
    )
    code = (head + (len(arguments) << 56)).to_bytes(10, "big") + _bytes(target)
    code += bytes.fromhex(tail) + arguments
    return _create2(DEPOSIT_FACTORY, keccak(arguments), keccak(code))


def derived(owner: str, signature_type: int, *, beacon: bool = True) -> str:
    """Return the wallet that a signing address trades from with orders of a signature type."""
    if signature_type == 0:
        return checksum(owner)
    if signature_type == 3:
        return deposit(owner, beacon=beacon)
    return proxy(owner) if signature_type == 1 else safe(owner)


def _create2(factory: str, salt: bytes, code_hash: bytes) -> str:
    return checksum("0x" + keccak(b"\xff" + _bytes(factory) + salt + code_hash)[-20:].hex())


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x"))


def _word(address: str) -> bytes:
    return _bytes(address).rjust(32, b"\0")
