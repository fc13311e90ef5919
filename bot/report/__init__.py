"""Read the ledger without the bot: the one source for screens, JSON, metrics and verdicts."""

from bot.report.reader import Report, plain, read

__all__ = ["Report", "plain", "read"]
