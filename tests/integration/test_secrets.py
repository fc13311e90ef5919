"""Secrets from every place they may come from, AWS on a real endpoint."""

import json
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bot.config.home import WORKERS
from bot.config.schema import AccountSettings
from bot.config.secrets import KEY_ENV, KEY_FILE_ENV, SECRET_ENV, AwsSecrets, private_key
from bot.errors import ConfigError, Unavailable

KEY = "0x" + "1a" * 32


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in (KEY_ENV, KEY_FILE_ENV):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.fixture(scope="module")
def aws():
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host.replace('0.0.0.0', '127.0.0.1')}:{port}"
    server.stop()


def key_file(tmp_path, text=KEY, mode=0o600):
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_no_worker_but_the_executor_inherits_a_secret():
    conf = (Path(__file__).parents[2] / "supervisord.conf").read_text()
    commands = {
        name: conf.split(f"[program:{name}]\ncommand=")[1].splitlines()[0] for name in WORKERS
    }
    for name, command in commands.items():
        for secret in SECRET_ENV:
            assert (f"-u {secret}" in command) == (name != "executor"), (name, secret)


def test_a_closed_file_gives_the_key(tmp_path):
    assert private_key(AccountSettings(key_file=key_file(tmp_path, f" {KEY[2:]}\n"))) == KEY


def test_an_open_file_is_refused_with_the_fix(tmp_path):
    path = key_file(tmp_path, mode=0o640)
    with pytest.raises(ConfigError, match=r"can be read by others; run: chmod 600"):
        private_key(AccountSettings(key_file=path))


def test_the_environment_gives_the_key_and_forgets_it(tmp_path, monkeypatch):
    import os

    monkeypatch.setenv(KEY_ENV, KEY)
    assert private_key(AccountSettings()) == KEY
    assert KEY_ENV not in os.environ
    monkeypatch.setenv(KEY_FILE_ENV, str(key_file(tmp_path)))
    assert private_key(AccountSettings()) == KEY


@pytest.mark.parametrize("text", ["", "0x12", "zz" * 32, KEY + "00", "\x00"])
def test_a_bad_key_is_refused_and_never_shown(tmp_path, text):
    with pytest.raises(ConfigError) as refused:
        private_key(AccountSettings(key_file=key_file(tmp_path, text)))
    assert not text.strip() or text not in str(refused.value)


def test_no_key_at_all_names_every_place(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"account\.key_file .*BOT_PRIVATE_KEY_FILE, BOT_PRIVATE_KEY or account.aws_secret_id",
    ):
        private_key(AccountSettings())
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        private_key(AccountSettings(key_file=tmp_path / "none"))


def test_aws_gives_the_key_and_is_asked_once(aws):
    client = boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=aws)
    client.create_secret(Name="bot", SecretString=json.dumps({"private_key": KEY}))
    account = AccountSettings(aws_secret_id="bot", aws_region="eu-west-1", aws_endpoint_url=aws)
    assert private_key(account) == KEY
    store = AwsSecrets("bot", "eu-west-1", aws)
    assert store.get("private_key") == KEY
    client.delete_secret(SecretId="bot", ForceDeleteWithoutRecovery=True)
    assert store.get("private_key") == KEY, "the second read is cached"
    with pytest.raises(ConfigError, match="no text key 'other'"):
        store.get("other")


def test_aws_refusals_name_the_setting(aws):
    with pytest.raises(
        ConfigError, match=r"account\.aws_secret_id: none: AWS answered ResourceNotFoundException"
    ):
        AwsSecrets("none", "eu-west-1", aws).get("private_key")
    client = boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=aws)
    client.create_secret(Name="text", SecretString="not json")
    with pytest.raises(ConfigError, match="is not a JSON object"):
        AwsSecrets("text", "eu-west-1", aws).get("private_key")


def test_a_silent_aws_may_be_tried_again():
    with pytest.raises(Unavailable, match="AWS Secrets Manager"):
        AwsSecrets("bot", "eu-west-1", "http://127.0.0.1:9").get("private_key")
