"""Facts have states and blocks, holdings are observed at blocks, and shares that were transferred count."""

from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE leader_position ADD COLUMN away INTEGER NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE leader_position ADD COLUMN block_s INTEGER")
    op.execute("ALTER TABLE position ADD COLUMN orphan INTEGER NOT NULL DEFAULT 0")
    op.execute("CREATE INDEX ix_leader_trade_holding ON leader_trade (wallet, token, block)")
    op.execute(
        "CREATE INDEX ix_leader_trade_doubtful ON leader_trade (seen_us) WHERE state = 'provisional'"
    )
    op.execute(
        "CREATE INDEX ix_leader_trade_not_final ON leader_trade (block)"
        " WHERE state = 'mined' AND block IS NOT NULL"
    )
    op.execute(
        "CREATE TABLE source (name TEXT NOT NULL, heard_us INTEGER, lag_us INTEGER,"
        " hits INTEGER NOT NULL, misses INTEGER NOT NULL, real INTEGER NOT NULL,"
        " phantoms INTEGER NOT NULL, note TEXT NOT NULL, updated_us INTEGER NOT NULL,"
        " PRIMARY KEY (name)) STRICT"
    )
    for column in ("title", "first_token", "second_token"):
        op.execute(f"ALTER TABLE market ADD COLUMN {column} TEXT")
    op.execute(
        "UPDATE market SET first_token = json_extract(tokens, '$[0]'),"
        " second_token = json_extract(tokens, '$[1]')"
    )
    op.execute("CREATE INDEX ix_market_first_token ON market (first_token)")
    op.execute("CREATE INDEX ix_market_second_token ON market (second_token)")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
