"""What the bot may do: a row in the ledger, so that a restart resets nothing."""

from enum import StrEnum


class ControlMode(StrEnum):
    """What the bot may do; a row in the ledger, so a restart resets nothing."""

    RUNNING = "running"  #: entries and exits
    PAUSED = "paused"  #: exits only
    HALTED = "halted"  #: no orders of any kind
