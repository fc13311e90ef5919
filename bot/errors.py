"""Errors by the reaction they ask for: retry, call a human, or die.

BotError                 exit 1    the operation failed
├── ConfigError          exit 78   a human must edit something
├── SchemaMismatch       exit 78   the ledger is of another version, mode or program
├── Unavailable          exit 75   network or venue; retried with backoff inside the worker
├── LedgerError          exit 1    the ledger refuses what was asked of it (constraint)
│   ├── LedgerAway       exit 75   disk full, locked, read-only: later it may work again
│   └── LedgerDamaged    exit 78   corrupt or cut short: a human must restore a backup
├── InvariantBroken      exit 1    a law is broken; the bot halts first, then dies
├── UsageError           exit 2    the command line is wrong
├── NotRunning           exit 3    at least one worker is down
├── StateUnknown         exit 4    no ledger, or no supervisor to ask
└── TimedOut             exit 5    the wait was longer than allowed

A docstring is the default message. A message says what was expected, what was found and
what to do. Answers of the exchange are not errors: they are values (see `bot.model`).
"""

from typing import ClassVar


class BotError(Exception):
    """The operation failed."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__ or type(self).__name__)


class ConfigError(BotError):
    """A setting is wrong: edit it, then start again."""

    exit_code = 78


class SchemaMismatch(BotError):
    """The ledger was written by another version, mode or program."""

    exit_code = 78


class Unavailable(BotError):
    """A service did not answer; trying again later may help."""

    exit_code = 75


class TooMuch(Unavailable):
    """A service's answer is longer than is read: asking for less helps, asking again does not."""


class LedgerError(BotError):
    """The ledger cannot be read or written."""


class LedgerAway(LedgerError):
    """The ledger cannot be written at the moment; work resumes when it can."""

    exit_code = 75


class LedgerDamaged(LedgerError):
    """The ledger is corrupt: restore a backup with botctl db restore."""

    exit_code = 78


class InvariantBroken(BotError):
    """A law of the design is broken; the bot halts."""


class UsageError(BotError):
    """The command line is wrong."""

    exit_code = 2


class NotRunning(BotError):
    """At least one worker is not running."""

    exit_code = 3


class StateUnknown(BotError):
    """There is no ledger or no supervisor to ask."""

    exit_code = 4


class TimedOut(BotError):
    """The wait was longer than allowed."""

    exit_code = 5
