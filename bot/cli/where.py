"""Which ledger a verb reads."""

from pathlib import Path

from bot.cli.output import Cli
from bot.config.load import load
from bot.errors import StateUnknown, UsageError


def ledger_path(context: Cli) -> Path:
    """Return the ledger to read: the configured mode's, or the only one there is."""
    if context.config is not None:
        return context.home.ledger(load(context.config).mode)
    found = sorted(context.home.path.glob("ledger-*.db"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UsageError(
            f"{context.home.path} has several ledgers ({names}); say which with --config"
        )
    if not found:
        raise StateUnknown(
            f"no ledger in {context.home.path}; botctl up creates it, --home names another folder"
        )
    return found[0]
