"""Alembic runs this to reach the ledger that `bot.ledger.db.migrate` names."""

from alembic import context
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import bot.ledger.tables  # noqa: F401  (fills the metadata)
from bot.ledger.db import own_transactions

engine = create_engine(f"sqlite:///{context.config.attributes['path']}")
own_transactions(engine)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, transactional_ddl=True)
    # One transaction: a power cut leaves the old schema or the new one.
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
