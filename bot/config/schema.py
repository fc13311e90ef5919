"""Settings: one frozen model, read from defaults, then `config.toml`, then `BOT__SECTION__KEY`.

Every field carries its unit, bounds and description; `config.example.toml` is generated from
them. Nothing secret lives here, only where a secret may be found.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.config.types import Address, HttpUrl, Price, Ratio, Section, Shares, Usdc
from bot.config.venue import VenueSettings
from bot.model.units import MICRO, decimal_text

ENV_PREFIX = "BOT__"


class AccountSettings(Section):
    """The wallet that trades, and where the executor finds its secrets."""

    signature_type: Literal[0, 1, 2, 3] = Field(
        3, description="0 EOA, 1 proxy, 2 Safe, 3 deposit wallet"
    )
    funder: Address | None = Field(
        None, description="wallet that holds the collateral; required unless type 0"
    )
    key_file: Path | None = Field(
        None, description="file of mode 0600 holding the private key as 0x hex"
    )
    aws_secret_id: str | None = Field(
        None, description="AWS Secrets Manager secret with JSON key private_key"
    )
    aws_region: str | None = Field(None, description="region of that secret")
    aws_endpoint_url: HttpUrl | None = Field(
        None, description="other endpoint of Secrets Manager, for tests"
    )


class LeaderSettings(Section):
    """One wallet to follow; values given here override [strategy] for it."""

    wallet: Address = Field(description="the leader's wallet (Polymarket calls it proxyWallet)")
    label: str = Field("", max_length=40, description="a name for screens")
    sizing: Literal["fixed", "proportional"] | None = Field(
        None, description="overrides strategy.sizing"
    )
    fixed_usdc: Usdc | None = Field(None, description="overrides strategy.fixed_usdc, USDC")
    ratio: Ratio | None = Field(None, description="overrides strategy.ratio, fraction")


class StrategySettings(Section):
    """How leader trades become orders (strategy `mirror`)."""

    name: Literal["mirror"] = Field("mirror", description="which strategy decides")
    sizing: Literal["fixed", "proportional"] = Field("fixed", description="size of entries")
    fixed_usdc: Usdc = Field(
        10 * MICRO, ge=MICRO, description="entry size of `fixed`, at least 1 USDC"
    )
    ratio: Ratio = Field(
        10_000, gt=0, description="`proportional`: our target as a fraction of the leader's shares"
    )
    max_signal_age_s: int = Field(
        10, ge=1, le=3600, description="older leader trades give no entry, seconds"
    )
    min_leader_usdc: Usdc = Field(
        25 * MICRO, description="smaller leader trades give no entry, USDC"
    )
    min_price: Price = Field(80_000, description="no entry below this leader price, USDC per share")
    max_price: Price = Field(920_000, description="no entry above this price, USDC per share")
    max_worse_price: Price = Field(
        20_000, description="pay at most this more than the leader, USDC per share"
    )
    max_worse_ratio: Price = Field(
        50_000, description="and at most this much more, fraction of the leader's price"
    )
    max_better_ratio: Price = Field(
        150_000,
        description="an ask further under the leader's price is news: no entry, fraction of it",
    )
    max_depth_ratio: Price = Field(
        500_000, description="take at most this fraction of the book inside the limit"
    )
    book: Literal["required", "if_fresh"] = Field(
        "required",
        description="required: no entry without a fresh book; if_fresh: then on its limit alone",
    )
    book_max_age_s: int = Field(
        30, ge=1, le=300, description="a book not proven current for this long is not used"
    )
    full_exit_below_ratio: Price = Field(
        50_000, description="leader under this fraction of its peak: sell all"
    )
    on_revert: Literal["unwind", "keep"] = Field(
        "unwind", description="what is done with our part of a trade of his that did not happen"
    )
    provisional_ratio: Price = Field(
        250_000, description="of what no block has yet this part is bought, fraction of the size"
    )
    provisional_usdc: Usdc = Field(
        20 * MICRO, description='and at most this much, USDC (detect.act_on = "provisional")'
    )
    exit_floor_ratio: Price = Field(
        150_000, description="never sell further under the leader's exit price, fraction of it"
    )
    exit_slip_ticks: int = Field(
        3, ge=0, le=100, description="sell down to this many ticks under the best bid"
    )

    @model_validator(mode="after")
    def _band(self) -> "StrategySettings":
        if self.min_price >= self.max_price:
            raise ValueError(
                f"min_price {decimal_text(self.min_price)} must be below max_price"
                f" {decimal_text(self.max_price)}"
            )
        return self


class RiskSettings(Section):
    """Hard limits. They hold for every strategy and survive restarts."""

    max_market_usdc: Usdc = Field(50 * MICRO, description="stake in one market, USDC")
    max_daily_volume_usdc: Usdc = Field(10_000 * MICRO, description="bought per UTC day, USDC")
    max_exposure_usdc: Usdc = Field(500 * MICRO, description="stake in all markets, USDC")
    breaker_loss_usdc: Usdc = Field(
        25 * MICRO, description="realised loss of a UTC day that stops entries, USDC"
    )
    breaker_errors: int = Field(
        5, ge=1, le=1000, description="consecutive errors that stop entries"
    )
    min_shares: Shares = Field(5 * MICRO, description="smallest entry, shares")

    @model_validator(mode="after")
    def _limits(self) -> "RiskSettings":
        if self.max_market_usdc > self.max_exposure_usdc:
            raise ValueError("max_market_usdc must not exceed max_exposure_usdc")
        return self


class DetectSettings(Section):
    """How leaders are watched."""

    chain: bool = Field(True, description="read leaders' trades off the chain")
    act_on: Literal["mined", "provisional"] = Field(
        "mined", description="what is in a block, or what the stream tells before that as well"
    )
    rtds: bool = Field(True, description="use the real-time stream")
    data_api: bool = Field(
        True, description="read trades at the Data API; who is new is always read"
    )
    poll_s: int = Field(
        10,
        ge=1,
        le=3600,
        description="Data API poll of a leader who traded within the hour, seconds",
    )
    overlap_s: int = Field(
        900, ge=900, le=3600, description="rows are expected to show at most this late, seconds"
    )
    page_limit: int = Field(500, ge=1, le=1000, description="rows per page of the Data API")
    silence_s: int = Field(
        30, ge=1, le=600, description="a silent stream is resubscribed after this, seconds"
    )
    reconnect_s: int = Field(60, ge=2, le=1200, description="and reconnected after this, seconds")
    hook_port: int | None = Field(
        None, ge=1, le=65_535, description="others may report trades here, signed; unset: nobody"
    )
    hook_host: str = Field("127.0.0.1", description="the address at which they are heard")
    hook_secret_file: Path | None = Field(
        None, description="file of mode 0600 with the secret, 32 characters or more, they sign with"
    )
    catalogue: Literal["seen", "all", "off"] = Field(
        "seen", description="markets kept ready: those leaders use and new ones, every one, or none"
    )

    @model_validator(mode="after")
    def _watchdog(self) -> "DetectSettings":
        if self.silence_s >= self.reconnect_s:
            raise ValueError(
                f"silence_s {self.silence_s} must be below reconnect_s {self.reconnect_s}"
            )
        if self.hook_port is not None and self.hook_secret_file is None:
            raise ValueError("hook_port needs hook_secret_file: reports are signed")
        return self


class ExecutionSettings(Section):
    """How orders are sent and settled."""

    validity_s: int = Field(
        10, ge=1, le=300, description="signed bytes may be sent for this long, seconds"
    )
    evidence_lag_s: int = Field(
        5, ge=1, le=120, description="longest lag of the exchange's own lookups, seconds"
    )
    timeout_s: int = Field(10, ge=1, le=60, description="HTTP timeout, seconds")
    settle_poll_s: int = Field(
        5, ge=1, le=600, description="unsettled fills are looked up this often, seconds"
    )
    requests_per_s: int = Field(
        100,
        ge=1,
        le=500,
        description="ceiling of each kind of CLOB request, below its limits",
    )


class RuntimeSettings(Section):
    """How workers live."""

    crash_boots: int = Field(5, ge=2, le=100, description="unclean boots that halt the bot")
    crash_window_s: int = Field(300, ge=10, le=86_400, description="within this many seconds")
    beat_s: int = Field(2, ge=1, le=60, description="heartbeat row of each worker, seconds")
    hung_s: int = Field(
        6, ge=5, le=600, description="a worker silent for this long is restarted, seconds"
    )
    drain_s: int = Field(15, ge=1, le=300, description="time to settle orders at shutdown, seconds")
    keep_days: int = Field(90, ge=7, le=3650, description="processed rows are kept this long, days")
    log_json: bool = Field(True, description="one JSON object a line; false: text for a console")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least severe line written"
    )

    @model_validator(mode="after")
    def _clocks(self) -> "RuntimeSettings":
        if self.beat_s > self.hung_s:
            raise ValueError(f"beat_s {self.beat_s} must not exceed hung_s {self.hung_s}")
        return self


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__"
    )

    mode: Literal["demo", "live"] = Field(
        "demo", description="demo: a simulated exchange on loopback; live: money"
    )
    venue: VenueSettings = VenueSettings()
    account: AccountSettings = AccountSettings()
    leaders: tuple[LeaderSettings, ...] = Field(
        (), max_length=10_000, description="wallets to follow"
    )
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    detect: DetectSettings = DetectSettings()
    execution: ExecutionSettings = ExecutionSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.account.signature_type != 0 and self.mode == "live" and self.account.funder is None:
            raise ValueError(
                f"account.funder is required with signature_type {self.account.signature_type}"
            )
        if self.mode == "live" and not (self.detect.chain or self.detect.data_api):
            raise ValueError(
                "detect.chain and detect.data_api are both off: in live something must tell what is"
                " in a block"
            )
        if self.strategy.sizing == "fixed" and self.strategy.fixed_usdc > self.risk.max_market_usdc:
            raise ValueError(
                "strategy.fixed_usdc exceeds risk.max_market_usdc: no entry could ever pass"
            )
        if self.account.funder in {leader.wallet for leader in self.leaders}:
            raise ValueError(
                f"leaders: {self.account.funder} is account.funder; the bot cannot follow itself"
            )
        if self.account.aws_secret_id and self.account.key_file:
            raise ValueError(
                "account.key_file and account.aws_secret_id contradict each other: set one"
            )
        wallets = Counter(leader.wallet for leader in self.leaders)
        if twice := [wallet for wallet, n in wallets.items() if n > 1]:
            raise ValueError(f"leaders: {min(twice)} is listed twice")
        if self.mode == "demo" and not self.venue.clob_url.startswith("http://"):
            raise ValueError(
                'venue.clob_url: mode "demo" needs the simulated exchange on loopback (botctl demo)'
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults; dot-env and secret directories are not read."""
        return env_settings, init_settings

    def fingerprint(self) -> str:
        """Return six hex digits that change whenever any value changes."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:6]

    def lists(self, wallet: str) -> bool:
        """Return whether a wallet is one of `leaders`."""
        return wallet in self._by_leader

    def strategy_for(self, wallet: str | None) -> StrategySettings:
        """Return the strategy settings for a leader, or those of everybody."""
        return self._by_leader.get(wallet or "", self.strategy)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some values replaced, which looks its leaders up anew."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_by_leader", None)
        return copied

    @cached_property
    def _by_leader(self) -> dict[str, StrategySettings]:
        # Asked for twice a decision: ten thousand leaders are not looked through each time.
        own, strategy = {"wallet", "label"}, self.strategy
        over = {
            lead.wallet: lead.model_dump(exclude=own, exclude_none=True) for lead in self.leaders
        }
        return {wallet: strategy.model_copy(update=found) for wallet, found in over.items()}


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a table (or a list or option of one), else None."""
    candidates = (field.annotation, *getattr(field.annotation, "__args__", ()))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
