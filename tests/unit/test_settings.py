"""Settings: one documented place, refused in one line that names the field and the fix."""

from pathlib import Path

import pytest

from bot.config.load import load, origins
from bot.config.schema import Settings, section_of
from bot.config.venue import CONTRACTS, Contracts
from bot.errors import ConfigError
from bot.lab.example import example_toml

ROOT = Path(__file__).parents[2]
LEADER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
GOOD = f'mode = "live"\n[account]\nsignature_type = 0\n[[leaders]]\nwallet = "{LEADER}"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_the_example_file_is_current():
    assert (ROOT / "config.example.toml").read_text() == example_toml(), (
        "run: botctl config example > config.example.toml"
    )


def test_the_example_is_valid_once_it_says_live_and_names_a_wallet(tmp_path):
    text = (
        example_toml()
        .replace('mode = "demo"', 'mode = "live"')
        .replace("# funder =", f'funder = "{LEADER}"')
    )
    assert (
        load(write(tmp_path, text)).strategy
        == Settings(mode="live", account={"signature_type": 0}).strategy
    )


def walk(model, prefix=""):
    for name, field in model.model_fields.items():
        section = section_of(field)
        yield from walk(section, f"{prefix}{name}.") if section else [(f"{prefix}{name}", field)]


@pytest.mark.parametrize(
    ("name", "field"), list(walk(Settings)), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_setting_is_described(name, field):
    assert field.description and len(field.description) > 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[strategy]\nmax_prise = 0.9",
            "strategy.max_prise: unknown setting; did you mean strategy.max_price?",
        ),
        ("[rysk]\nx = 1", "rysk: unknown setting; did you mean risk?"),
        (
            "[strategy]\nfixed_usdc = -1",
            "strategy.fixed_usdc: expected a number of at least 0, found -1",
        ),
        ("[strategy]\nfixed_usdc = nan", "strategy.fixed_usdc: expected a finite number"),
        ("[strategy]\nfixed_usdc = 1e30", "strategy.fixed_usdc: expected at most"),
        ("[strategy]\nmin_price = 0.95", "strategy: min_price 0.95 must be below max_price 0.92"),
        ("[risk]\nmax_market_usdc = 600", "max_market_usdc must not exceed max_exposure_usdc"),
        (
            "[venue]\nclob_url = 'http://example.com'",
            "venue.clob_url: expected https://host (plain http:// on loopback only)",
        ),
        ("[venue]\nrtds_url = 'https://example.com'", "venue.rtds_url: expected wss://host"),
        (
            "[[leaders]]\nwallet = '0x12'",
            "leaders.0.wallet: expected an address of 0x and 40 hex digits",
        ),
        (
            f"[[leaders]]\nwallet = '{LEADER[:-1]}a'",
            "leaders.0.wallet: checksum is wrong; the checksummed form is 0x",
        ),
        (
            f"[[leaders]]\nwallet = '{LEADER}'\n[[leaders]]\nwallet = '{LEADER.lower()}'",
            "is listed twice",
        ),
        ("mode = 'demo'", 'venue.clob_url: mode "demo" needs the simulated exchange'),
        (
            "mode = 'live'\n[account]\nsignature_type = 2",
            "account.funder is required with signature_type 2",
        ),
        ("[account]\nkey_file = 'k'\naws_secret_id = 's'", "contradict each other"),
        ("mode = \n", "not valid TOML"),
        ("mode = 'live'\x00", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, message):
    base = "" if text.startswith("mode") else 'mode = "live"\n'
    account = "" if "[account]" in text else "\n[account]\nsignature_type = 0\n"
    if text.startswith("[account]"):
        text += "\nsignature_type = 0\n"
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, f"{base}{text}{account}"))
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_missing_file_is_refused():
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(Path("/nonexistent/config.toml"))


def test_environment_wins_over_file_over_default(tmp_path, monkeypatch):
    path = write(tmp_path, GOOD + "[risk]\nmax_market_usdc = 40\nmin_shares = 6.5\n")
    monkeypatch.setenv("BOT__RISK__MAX_MARKET_USDC", "30.25")
    found = load(path)
    assert (found.risk.max_market_usdc, found.risk.min_shares) == (30_250_000, 6_500_000)
    assert found.risk.breaker_errors == 5
    assert origins(path)["risk.max_market_usdc"] == "BOT__RISK__MAX_MARKET_USDC"
    assert origins(path)["risk.min_shares"] == str(path)


@pytest.mark.parametrize(
    "name",
    [
        "BOT__RISKS__MAX_MARKET_USDC",
        "BOT__RISK__MAX_MARKET",
        "BOT__NONSENSE",
        "BOT_RISK__MIN_SHARES",
    ],
)
def test_a_misspelt_variable_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match="unknown"):
        load(write(tmp_path, GOOD))


def test_settings_are_frozen_and_fingerprinted(tmp_path):
    found = load(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        found.mode = "demo"
    other = load(write(tmp_path, GOOD + "[risk]\nbreaker_errors = 6\n"))
    assert found.fingerprint() != other.fingerprint()


def test_a_leader_overrides_the_strategy(tmp_path):
    found = load(write(tmp_path, GOOD + 'sizing = "proportional"\nratio = 0.5\n'))
    assert found.strategy_for(LEADER).sizing == "proportional"
    assert found.strategy_for(LEADER).ratio == 500_000
    assert found.strategy.sizing == "fixed"
    nobody = "0x" + "0" * 40
    assert found.strategy_for(nobody) == found.strategy and not found.lists(nobody)


def test_contracts_follow_the_chain():
    assert all(Contracts(**known.model_dump()) == known for known in CONTRACTS.values())
    assert CONTRACTS[80002].v3 != CONTRACTS[137].v3
    assert (
        Settings(
            mode="live", account={"signature_type": 0}, venue={"chain_id": 80002}
        ).venue.exchanges
        == CONTRACTS[80002]
    )
