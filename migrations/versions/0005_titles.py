"""What a token is called is told by any leader's trade of it: found without reading them all."""

from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_leader_trade_token ON leader_trade (token)")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
