"""Where secrets come from. Only the executor reads the key, once, at its start.

Order: `account.key_file`, then BOT_PRIVATE_KEY_FILE, then BOT_PRIVATE_KEY, then AWS Secrets
Manager. A secret never appears in an error text: messages say where it was looked for.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Protocol

from bot.config.schema import AccountSettings
from bot.errors import ConfigError, Unavailable

#: Characters of a secret that reports are signed with.
LEAST_SECRET = 32
KEY_ENV = "BOT_PRIVATE_KEY"
KEY_FILE_ENV = "BOT_PRIVATE_KEY_FILE"
#: Names that no process but the executor may inherit.
SECRET_ENV = (
    KEY_ENV,
    KEY_FILE_ENV,
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


class SecretStore(Protocol):
    """A place that holds named secrets."""

    def get(self, name: str) -> str:
        """Return a secret; raises ConfigError if it is not there, Unavailable if nobody answers."""
        ...


class AwsSecrets:
    """AWS Secrets Manager, read through one client and cached for the life of the process."""

    def __init__(self, secret_id: str, region: str | None, endpoint_url: str | None) -> None:
        self._secret_id, self._region, self._endpoint = secret_id, region, endpoint_url
        self._values: dict[str, Any] | None = None

    def get(self, name: str) -> str:
        """Return one JSON key of the secret."""
        if self._values is None:
            self._values = self._fetch()
        value = self._values.get(name)
        if not isinstance(value, str):
            raise ConfigError(
                f"account.aws_secret_id: secret {self._secret_id} has no text key {name!r}"
            )
        return value

    def _fetch(self) -> dict[str, Any]:
        # boto3 costs 0.5 s and 30 MB: only who uses it pays.
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = boto3.client(
                "secretsmanager", region_name=self._region, endpoint_url=self._endpoint
            )
            text = client.get_secret_value(SecretId=self._secret_id)["SecretString"]
            values = json.loads(text)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise ConfigError(
                f"account.aws_secret_id: {self._secret_id}: AWS answered {code}"
            ) from None
        except BotoCoreError as error:
            raise Unavailable(f"AWS Secrets Manager: {type(error).__name__}") from None
        except (KeyError, ValueError):
            raise ConfigError(
                f"account.aws_secret_id: {self._secret_id} is not a JSON object"
            ) from None
        if not isinstance(values, dict):
            raise ConfigError(f"account.aws_secret_id: {self._secret_id} is not a JSON object")
        return values


def private_key(account: AccountSettings) -> str:
    """Return the signing key as 0x and 64 hex digits, and remove it from this environment.

    Raises ConfigError, which never quotes the key, if there is none, if its file can be read
    by others, or if it is not 32 bytes of hex.
    """
    source, text = _find(account)
    key = text.strip()
    key = key if key.startswith("0x") else f"0x{key}"
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", key):
        raise ConfigError(
            f"private key from {source}: expected 64 hex digits, found {len(key) - 2} characters"
        )
    return key


def hook_secret(path: Path) -> bytes:
    """Return the secret that reports to the hook are signed with; raises ConfigError."""
    secret = _read(path, "detect.hook_secret_file").strip()
    if len(secret) < LEAST_SECRET:
        raise ConfigError(
            f"detect.hook_secret_file: {path}: expected {LEAST_SECRET} characters or more,"
            f" found {len(secret)}; make one with: openssl rand -hex 32"
        )
    return secret.encode()


def _find(account: AccountSettings) -> tuple[str, str]:
    from_env, from_file = os.environ.pop(KEY_ENV, None), os.environ.pop(KEY_FILE_ENV, None)
    if account.key_file:
        return f"account.key_file {account.key_file}", _read(account.key_file, "account.key_file")
    if from_file:
        return KEY_FILE_ENV, _read(Path(from_file), KEY_FILE_ENV)
    if from_env:
        return KEY_ENV, from_env
    if account.aws_secret_id:
        store = AwsSecrets(account.aws_secret_id, account.aws_region, account.aws_endpoint_url)
        return "AWS Secrets Manager", store.get("private_key")
    raise ConfigError(
        f"private key: none found; set account.key_file (mode 0600), {KEY_FILE_ENV},"
        f" {KEY_ENV} or account.aws_secret_id"
    )


def _read(path: Path, field: str) -> str:
    try:
        # Checked on the open file, so that the name cannot be swapped in between.
        with path.open() as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise ConfigError(f"{field}: {path} can be read by others; run: chmod 600 {path}")
            return file.read(4096)
    except OSError as error:
        raise ConfigError(f"{field}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{field}: {path} is not text") from None
