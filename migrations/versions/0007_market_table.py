"""What is told of a market is kept field by field, each with its moment; some sources tell little."""

from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

_FIELDS = ("tick", "min_shares", "neg_risk", "version", "fee_rate", "fee_exponent", "accepting")


def upgrade() -> None:
    op.execute("ALTER TABLE market RENAME TO market_before")
    op.execute(
        "CREATE TABLE market (condition TEXT NOT NULL PRIMARY KEY, tokens TEXT NOT NULL, outcomes TEXT NOT NULL,"
        " tick INTEGER, min_shares INTEGER, neg_risk INTEGER, version TEXT, fee_rate INTEGER,"
        " fee_exponent INTEGER, accepting INTEGER, event TEXT, told TEXT NOT NULL, as_of_us INTEGER NOT NULL,"
        " status TEXT DEFAULT 'trading' NOT NULL, payouts TEXT, payout_source TEXT) STRICT"
    )
    # Everything that is there was told by the CLOB at one moment.
    told = ", ".join(f"'{field}', as_of_us" for field in _FIELDS)
    shared = ", ".join(("condition", "tokens", "outcomes", *_FIELDS, "as_of_us", "status", "payouts", "payout_source"))
    op.execute(f"INSERT INTO market ({shared}, told) SELECT {shared}, json_object({told}) FROM market_before")
    op.execute("DROP TABLE market_before")
    op.execute("CREATE INDEX ix_market_as_of ON market (as_of_us)")
    op.execute("CREATE INDEX ix_market_incomplete ON market (as_of_us) WHERE neg_risk IS NULL")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
