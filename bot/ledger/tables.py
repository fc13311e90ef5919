"""The schema, whole: importing this fills the metadata.

Changing it needs a migration; a test proves that.
"""

from bot.ledger import tables_run, tables_seen, tables_trade

__all__ = ["tables_run", "tables_seen", "tables_trade"]
