"""What is known of markets outlives the exchange's answers, and the process."""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

INT64 = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('market',
    sa.Column('condition', sa.Text(), nullable=False),
    sa.Column('tokens', sa.Text(), nullable=False),
    sa.Column('outcomes', sa.Text(), nullable=False),
    sa.Column('tick', INT64, nullable=False),
    sa.Column('min_shares', INT64, nullable=False),
    sa.Column('neg_risk', INT64, nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('fee_rate', INT64, nullable=False),
    sa.Column('fee_exponent', INT64, nullable=False),
    sa.Column('accepting', INT64, nullable=False),
    sa.Column('as_of_us', INT64, nullable=False),
    sa.PrimaryKeyConstraint('condition'),
    sqlite_strict=True
    )


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
