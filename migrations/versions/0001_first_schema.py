"""First schema"""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

# STRICT tables know INTEGER (64 bits) but not BIGINT.
INT64 = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('account',
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('opening', INT64, nullable=False),
    sa.Column('cash', INT64, nullable=False),
    sa.Column('updated_us', INT64, nullable=False),
    sa.PrimaryKeyConstraint('wallet'),
    sqlite_strict=True
    )
    op.create_table('alert',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('at_us', INT64, nullable=False),
    sa.Column('severity', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('cleared_us', INT64, nullable=True),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )
    op.create_index('ix_alert_key', 'alert', ['key', 'cleared_us'], unique=False)
    op.create_table('boot',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('worker', sa.Text(), nullable=False),
    sa.Column('pid', INT64, nullable=False),
    sa.Column('pid_started_us', INT64, nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('config', sa.Text(), nullable=False),
    sa.Column('started_us', INT64, nullable=False),
    sa.Column('beat_us', INT64, nullable=False),
    sa.Column('progress_us', INT64, nullable=True),
    sa.Column('ready_us', INT64, nullable=True),
    sa.Column('ended_us', INT64, nullable=True),
    sa.Column('exit_code', INT64, nullable=True),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )
    op.create_index('ix_boot_worker', 'boot', ['worker', 'id'], unique=False)
    op.create_table('control',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('since_us', INT64, nullable=False),
    sa.Column('until_us', INT64, nullable=True),
    sa.Column('errors', INT64, nullable=False),
    sa.Column('loss_day', sa.Text(), nullable=False),
    sa.Column('loss_base', INT64, nullable=False),
    sa.CheckConstraint('id = 1', name='one_row'),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )
    op.create_table('cursor',
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('position_s', INT64, nullable=False),
    sa.Column('updated_us', INT64, nullable=False),
    sa.PrimaryKeyConstraint('source', 'wallet'),
    sqlite_strict=True
    )
    op.create_table('daily_pnl',
    sa.Column('day', sa.Text(), nullable=False),
    sa.Column('realized', INT64, nullable=False),
    sa.Column('fees', INT64, nullable=False),
    sa.Column('bought', INT64, nullable=False),
    sa.Column('sold', INT64, nullable=False),
    sa.PrimaryKeyConstraint('day'),
    sqlite_strict=True
    )
    op.create_table('event',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('at_us', INT64, nullable=False),
    sa.Column('worker', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sqlite_strict=True
    )
    op.create_index('ix_event_at', 'event', ['at_us'], unique=False)
    op.create_table('leader',
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('watch_start_s', INT64, nullable=False),
    sa.Column('active', INT64, server_default=sa.text('1'), nullable=False),
    sa.PrimaryKeyConstraint('wallet'),
    sqlite_strict=True
    )
    op.create_table('leader_position',
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('condition', sa.Text(), nullable=False),
    sa.Column('shares', INT64, nullable=False),
    sa.Column('watched', INT64, nullable=False),
    sa.Column('peak', INT64, nullable=False),
    sa.Column('updated_us', INT64, nullable=False),
    sa.PrimaryKeyConstraint('wallet', 'token'),
    sqlite_strict=True
    )
    op.create_table('leader_trade',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('tx', sa.Text(), nullable=False),
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('side', sa.Text(), nullable=False),
    sa.Column('condition', sa.Text(), nullable=False),
    sa.Column('outcome', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('shares', INT64, nullable=False),
    sa.Column('usdc', INT64, nullable=False),
    sa.Column('emitted_shares', INT64, nullable=False),
    sa.Column('emitted_usdc', INT64, nullable=False),
    sa.Column('signals', INT64, nullable=False),
    sa.Column('traded_s', INT64, nullable=False),
    sa.Column('seen_us', INT64, nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('tx', 'wallet', 'token', 'side'),
    sqlite_strict=True
    )
    op.create_index('ix_leader_trade_seen', 'leader_trade', ['seen_us'], unique=False)
    op.create_table('lock',
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('until_us', INT64, nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('scope'),
    sqlite_strict=True
    )
    op.create_table('meta',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('name'),
    sqlite_strict=True
    )
    op.create_table('orders',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('signal_id', sa.Text(), nullable=False),
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('condition', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('side', sa.Text(), nullable=False),
    sa.Column('price', INT64, nullable=False),
    sa.Column('making', INT64, nullable=False),
    sa.Column('taking', INT64, nullable=False),
    sa.Column('reserved', INT64, nullable=False),
    sa.Column('body', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('created_us', INT64, nullable=False),
    sa.Column('deadline_us', INT64, nullable=False),
    sa.Column('sends', INT64, nullable=False),
    sa.Column('sent_us', INT64, nullable=True),
    sa.Column('last_sent_us', INT64, nullable=True),
    sa.Column('matched', INT64, nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('signal_id'),
    sqlite_strict=True
    )
    op.create_index('ix_orders_created', 'orders', ['created_us'], unique=False)
    op.create_index('ix_orders_in_flight', 'orders', ['created_us'], unique=False, sqlite_where=sa.text("state IN ('posting', 'unknown', 'open')"), postgresql_where=sa.text("state IN ('posting', 'unknown', 'open')"))
    op.create_table('position',
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('condition', sa.Text(), nullable=False),
    sa.Column('shares', INT64, nullable=False),
    sa.Column('cost', INT64, nullable=False),
    sa.Column('realized', INT64, nullable=False),
    sa.Column('updated_us', INT64, nullable=False),
    sa.PrimaryKeyConstraint('wallet', 'token'),
    sqlite_strict=True
    )
    op.create_index('ix_position_condition', 'position', ['condition'], unique=False)
    op.create_index('ix_position_token', 'position', ['token'], unique=False)
    op.create_table('fill',
    sa.Column('trade_id', sa.Text(), nullable=False),
    sa.Column('order_id', sa.Text(), nullable=False),
    sa.Column('wallet', sa.Text(), nullable=False),
    sa.Column('condition', sa.Text(), nullable=False),
    sa.Column('token', sa.Text(), nullable=False),
    sa.Column('side', sa.Text(), nullable=False),
    sa.Column('shares', INT64, nullable=False),
    sa.Column('usdc', INT64, nullable=False),
    sa.Column('fee', INT64, nullable=False),
    sa.Column('settlement', sa.Text(), nullable=False),
    sa.Column('tx', sa.Text(), nullable=True),
    sa.Column('matched_us', INT64, nullable=False),
    sa.Column('settled_us', INT64, nullable=True),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], ),
    sa.PrimaryKeyConstraint('trade_id', 'order_id'),
    sqlite_strict=True
    )
    op.create_index('ix_fill_order', 'fill', ['order_id'], unique=False)
    op.create_index('ix_fill_position', 'fill', ['wallet', 'token'], unique=False)
    op.create_index('ix_fill_unsettled', 'fill', ['token'], unique=False, sqlite_where=sa.text("settlement NOT IN ('confirmed', 'failed')"), postgresql_where=sa.text("settlement NOT IN ('confirmed', 'failed')"))
    op.create_table('leader_trade_source',
    sa.Column('trade_id', sa.Integer(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('shares', INT64, nullable=False),
    sa.Column('usdc', INT64, nullable=False),
    sa.ForeignKeyConstraint(['trade_id'], ['leader_trade.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('trade_id', 'source'),
    sqlite_strict=True
    )
    op.create_table('signal',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('trade_id', sa.Integer(), nullable=False),
    sa.Column('seq', INT64, nullable=False),
    sa.Column('shares', INT64, nullable=False),
    sa.Column('usdc', INT64, nullable=False),
    sa.Column('leader_before', INT64, nullable=False),
    sa.Column('leader_after', INT64, nullable=False),
    sa.Column('leader_peak', INT64, nullable=False),
    sa.Column('leader_watched', INT64, nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('seen_us', INT64, nullable=False),
    sa.Column('decided', INT64, nullable=False),
    sa.ForeignKeyConstraint(['trade_id'], ['leader_trade.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('trade_id', 'seq'),
    sqlite_strict=True
    )
    op.create_index('ix_signal_pending', 'signal', ['seen_us'], unique=False, sqlite_where=sa.text('decided = 0'), postgresql_where=sa.text('decided = 0'))
    op.create_table('decision',
    sa.Column('signal_id', sa.Text(), nullable=False),
    sa.Column('verdict', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('numbers', sa.Text(), nullable=False),
    sa.Column('order_id', sa.Text(), nullable=True),
    sa.Column('boot_id', INT64, nullable=False),
    sa.Column('decided_us', INT64, nullable=False),
    sa.CheckConstraint("(verdict = 'copied') = (order_id IS NOT NULL)", name='copied_has_order'),
    sa.ForeignKeyConstraint(['signal_id'], ['signal.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('signal_id'),
    sa.UniqueConstraint('order_id'),
    sqlite_strict=True
    )
    op.create_index('ix_decision_at', 'decision', ['decided_us'], unique=False)
    op.execute(
        "INSERT INTO control (id, mode, reason, actor, since_us, errors, loss_day, loss_base)"
        " VALUES (1, 'running', 'first start', 'migration', 0, 0, '', 0)"
    )


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
