"""What waits for a decision is found by its market: however much waits elsewhere."""

from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_signal_in_market ON signal (condition) WHERE decided = 0")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
