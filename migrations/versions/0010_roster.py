"""Leaders are followed, or not, and muted by the operator's word as well."""

from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE leader ADD COLUMN listed INTEGER NOT NULL DEFAULT 1")
    op.execute("ALTER TABLE leader ADD COLUMN said TEXT")
    op.execute("ALTER TABLE leader ADD COLUMN muted INTEGER NOT NULL DEFAULT 0")
    op.execute("UPDATE leader SET listed = 0 WHERE active <> 1")


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
