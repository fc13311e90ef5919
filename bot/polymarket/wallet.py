"""Prove offline that a wallet belongs to a key: factories make it at an address that CREATE2 fixes.

address = last 20 bytes of keccak(0xff, factory, salt, hash of the creation code). Proxies and safes
have one creation code for everybody; a deposit wallet (an ERC-1967 proxy, of a beacon today)
carries factory and owner in it. The exchange derives the owner of types 1 and 2 in the same way,
so an order from any other wallet is refused, every time.
"""

from collections.abc import Mapping

from bot.errors import ConfigError
from bot.model.address import checksummed, keccak

#: The chain whose factories these are.
CHAIN_ID = 137
_PROXY_FACTORY = bytes.fromhex("aB45c5A4B0c941a2F231C04C3f49182e1A254052")
_PROXY_CODE_HASH = bytes.fromhex("d21df8dc65880a8606f09fe0ce3df9b8869287ab0b058be05aa9e8af6330a00b")
_SAFE_FACTORY = bytes.fromhex("aacFeEa03eb1561C4e67d661e40682Bd20E3541b")
_SAFE_CODE_HASH = bytes.fromhex("2bce2127ff07fb632d16c8347c4ebf501f4841168bed00d9e6ef715ddb6fcecf")
_DEPOSIT_FACTORY = bytes.fromhex("00000000000Fb5C9ADea0298D729A0CB3823Cc07")
_DEPOSIT_IMPLEMENTATION = bytes.fromhex("58CA52ebe0DadfdF531Cde7062e76746de4Db1eB")
_DEPOSIT_BEACON = bytes.fromhex("7A18EDfe055488A3128f01F563e5B479D92ffc3a")
#: Runtime sizes and code around the address, of the two minimal proxies.
_UUPS = (
    0x3D,
    bytes.fromhex(
        "60095155f3363d3d373d3d363d7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca50"
        "5d382bbc545af43d6000803e6038573d6000fd5b3d6000f3"
    ),
)
_BEACON = (
    0x52,
    bytes.fromhex(
        "60195155f3363d3d373d3d363d602036600436635c60da1b60e01b36527fa3f0ad74e5423aebfd80d3ef"
        "4346578335a9a72aeaee59ff6cb3582b35133d50545afa5036515af43d6000803e604d573d6000fd5b3d"
        "6000f3"
    ),
)
_KINDS: Mapping[int, str] = {1: "proxy", 2: "Safe", 3: "deposit wallet"}


def derived(owner: str) -> dict[int, tuple[str, ...]]:
    """Return the wallets that the factories make for a key's address, by signature type.

    Type 3 has two: the one made today, and that of an older generation, which stays valid.
    """
    key = bytes.fromhex(owner.removeprefix("0x"))
    word = key.rjust(32, b"\0")
    return {
        1: (_create2(_PROXY_FACTORY, keccak(key), _PROXY_CODE_HASH),),
        2: (_create2(_SAFE_FACTORY, keccak(word), _SAFE_CODE_HASH),),
        3: (
            _deposit(word, _DEPOSIT_BEACON, _BEACON),
            _deposit(word, _DEPOSIT_IMPLEMENTATION, _UUPS),
        ),
    }


def prove(owner: str, signature_type: int, funder: str) -> None:
    """Raise ConfigError unless `funder` is the wallet of this type that `owner`'s key derives.

    The message names the type or the wallet that would be right.
    """
    wallets = derived(owner)
    if funder in wallets[signature_type]:
        return
    where = (
        f"account.funder: {funder} is not the {_KINDS[signature_type]} of the key's address {owner}"
    )
    for kind, addresses in wallets.items():
        if funder in addresses:
            raise ConfigError(
                f"{where}; it is its {_KINDS[kind]}: set account.signature_type = {kind}"
            )
    if funder == owner:
        raise ConfigError(
            f"{where}; it is the key's own: set account.signature_type = 0, no funder"
        )
    right = ", ".join(f"type {kind}: {addresses[0]}" for kind, addresses in wallets.items())
    raise ConfigError(f"{where}; this key derives {right}. A mistyped funder, or another key?")


def _deposit(owner: bytes, target: bytes, proxy: tuple[int, bytes]) -> str:
    size, code = proxy
    arguments = _DEPOSIT_FACTORY.rjust(32, b"\0") + owner
    # PUSH2 runtime size; copy it behind the first ten bytes; return it.
    head = b"\x61" + (size + len(arguments)).to_bytes(2, "big") + bytes.fromhex("3d8160233d3973")
    creation = head + target + code + arguments
    return _create2(_DEPOSIT_FACTORY, keccak(arguments), keccak(creation))


def _create2(factory: bytes, salt: bytes, code_hash: bytes) -> str:
    digest = keccak(b"\xff" + factory + salt + code_hash)
    return checksummed(digest[-20:].hex())
