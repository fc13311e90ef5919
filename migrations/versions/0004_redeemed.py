"""What an ended market owed is paid at some time; what nobody reads of a signal goes."""

from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE settlement ADD COLUMN redeemed_us INTEGER")
    op.execute("CREATE INDEX ix_settlement_owed ON settlement (token) WHERE redeemed_us IS NULL AND usdc <> 0")
    for column in ("leader_before", "leader_after", "leader_peak"):
        op.execute(f"ALTER TABLE signal DROP COLUMN {column}")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
