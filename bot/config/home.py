"""Where one bot lives on disk: ledger, sockets, logs. Everything is 0700 or 0600."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

WORKERS = ("monitor", "executor", "health")
HOME_ENV = "BOT_HOME"
CONFIG_ENV = "BOT_CONFIG"


@dataclass(frozen=True, slots=True)
class Home:
    """One bot's folder. Two bots need two homes."""

    path: Path

    def ledger(self, mode: str) -> Path:
        """Return the ledger file of a mode; modes never share one."""
        return self.path / f"ledger-{mode}.db"

    @property
    def run(self) -> Path:
        """Return the folder of sockets and locks."""
        return self.path / "run"

    @property
    def log(self) -> Path:
        """Return the folder of log files."""
        return self.path / "log"

    def socket(self, name: str) -> Path:
        """Return the socket of a worker, or of `supervisor`."""
        return self.run / f"{name}.sock"

    def create(self) -> None:
        """Make the folders, closed to everybody else. Safe to call twice."""
        for folder in (self.path, self.run, self.log):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)


def find_home(given: Path | None) -> Home:
    """Return the home: --home, BOT_HOME, or the user's state folder."""
    if given is None:
        named = os.environ.get(HOME_ENV)
        given = Path(named) if named else Path(platformdirs.user_state_dir("copybot"))
    return Home(given.expanduser().absolute())


def find_config(given: Path | None, home: Home) -> Path | None:
    """Return the configuration file, or None.

    It is --config, BOT_CONFIG, ./config.toml, or the home's.
    """
    if given is not None:
        return given.expanduser().absolute()
    if named := os.environ.get(CONFIG_ENV):
        return Path(named)
    candidates = (
        Path("config.toml"),
        home.path / "config.toml",
        Path(platformdirs.user_config_dir("copybot")) / "config.toml",
    )
    return next((path.absolute() for path in candidates if path.exists()), None)
