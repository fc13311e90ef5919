"""Alembic runs this to reach the ledger that `bot.ledger.db.migrate` names."""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, event
from sqlmodel import SQLModel

import bot.ledger.tables  # noqa: F401  (fills the metadata)
from bot.ledger.db import PRAGMAS

engine = create_engine(f"sqlite:///{context.config.attributes['path']}")


@event.listens_for(engine, "connect")
def _connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(pragma)


@event.listens_for(engine, "begin")
def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


with engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, transactional_ddl=True
    )
    # One transaction: a power cut leaves the old schema or the new one.
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
