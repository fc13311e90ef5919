"""L1 and L2 request headers, by the official client's pure functions."""

from dataclasses import dataclass, field

from py_clob_client_v2.clob_types import ApiCreds, RequestArgs
from py_clob_client_v2.headers.headers import create_level_1_headers, create_level_2_headers
from py_clob_client_v2.signer import Signer


@dataclass(frozen=True, slots=True)
class Credentials:
    """API credentials of the signing address; only the key's id may be shown."""

    key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)


def l1_headers(signer: Signer, *, now_s: int, nonce: int = 0) -> dict[str, str]:
    """Return headers that prove control of the wallet, to create or derive API credentials."""
    return dict(create_level_1_headers(signer, nonce, now_s))


def l2_headers(
    signer: Signer,
    credentials: Credentials,
    method: str,
    path: str,
    body: str | None,
    *,
    now_s: int,
) -> dict[str, str]:
    """Return headers for a private call. `path` has no query; `body` is exactly what is sent."""
    creds = ApiCreds(credentials.key, credentials.secret, credentials.passphrase)
    request = RequestArgs(method=method, request_path=path, serialized_body=body)
    return dict(create_level_2_headers(signer, creds, request, now_s))
