"""Entries follow a target: bursts with what a leader did in them, entries with a deadline.

What is asked for again and again has an index of what is open, so that it does not grow with history.

Nothing has ever written a burst before. An entry that is open waits for the end of its one order;
it is due no more once that has come.
"""

from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TABLE burst")
    op.execute(
        "CREATE TABLE burst (portfolio TEXT NOT NULL, token TEXT NOT NULL, first_us INTEGER NOT NULL,"
        " last_us INTEGER NOT NULL, shares INTEGER NOT NULL, usdc INTEGER NOT NULL, price INTEGER NOT NULL,"
        " base INTEGER NOT NULL, PRIMARY KEY (portfolio, token)) STRICT"
    )
    op.execute("ALTER TABLE intent ADD COLUMN deadline_us INTEGER")
    op.execute("ALTER TABLE intent ADD COLUMN burst_us INTEGER")
    op.execute("UPDATE intent SET deadline_us = opened_us WHERE kind = 'entry'")
    op.execute(
        "CREATE INDEX ix_intent_burst ON intent (portfolio, token, burst_us) WHERE burst_us IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX ix_orders_moving ON orders (portfolio, condition)"
        " WHERE state IN ('posting', 'unknown', 'open')"
    )
    op.execute("DROP INDEX ix_orders_position")
    op.execute("CREATE INDEX ix_orders_position ON orders (portfolio, token, intent_id, attempt)")
    op.execute("CREATE INDEX ix_position_held ON position (token, condition) WHERE shares <> 0")
    op.execute("DROP INDEX ix_alert_key")
    op.execute("CREATE INDEX ix_alert_open ON alert (key) WHERE cleared_us IS NULL")
    op.execute("CREATE INDEX ix_tally_key ON tally (kind, key)")
    op.execute(
        "INSERT INTO tally (day, kind, key, n) SELECT date(seen_us / 1000000, 'unixepoch'), 'seen', wallet,"
        " COUNT(*) FROM leader_trade GROUP BY 1, 3"
    )
    op.execute(
        "INSERT INTO tally (day, kind, key, n) SELECT '1970-01-01', 'copied', t.wallet, COUNT(DISTINCT t.id)"
        " FROM leader_trade t JOIN signal s ON s.trade_id = t.id JOIN decision d ON d.signal_id = s.id"
        " WHERE d.verdict = 'copied' GROUP BY t.wallet"
    )
    op.execute(
        "INSERT INTO tally (day, kind, key, n) SELECT '1970-01-01', 'realized', portfolio, SUM(realized)"
        " FROM position GROUP BY portfolio HAVING SUM(realized) <> 0"
    )
    op.execute("CREATE INDEX ix_leader_trade_lately ON leader_trade (wallet, condition, traded_s)")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
