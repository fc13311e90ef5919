"""A supervised Polymarket copy-trading bot.

Importing this package puts pysqlite3's bundled SQLite in place of the system's before
anything can import `sqlite3`: SQLite 3.7.0 to 3.51.2 may lose commits or corrupt a WAL
file that several processes write (https://sqlite.org/wal.html, the WAL-reset bug).
"""

import sys

import pysqlite3
import pysqlite3.dbapi2

__version__ = "0.1.0"

if "sqlite3" not in sys.modules or sys.modules["sqlite3"].sqlite_version_info < (3, 51, 3):
    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
