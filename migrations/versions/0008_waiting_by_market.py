"""What waits for a decision, and what a leader holds, is found by its market: however much there is elsewhere."""

from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_signal_in_market ON signal (condition) WHERE decided = 0")
    op.execute("CREATE INDEX ix_leader_position_market ON leader_position (wallet, condition)")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
