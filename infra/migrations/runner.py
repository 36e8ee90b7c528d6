"""What both Alembic environments do: run the revisions over the connection `infra.migrate` hands in, or its DSN."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, MetaData, create_engine
from sqlalchemy.pool import NullPool


def run(metadata: MetaData) -> None:
    """Run the revisions in one transaction; `metadata` is what autogenerate compares with."""
    attributes: dict[str, Any] = context.config.attributes
    connection: Connection | None = attributes.get("connection")
    if connection is not None:
        _run(connection, metadata)
        return
    dsn = "postgresql+psycopg://" + str(attributes["dsn"]).split("://", 1)[1]
    engine = create_engine(dsn, poolclass=NullPool, hide_parameters=True)
    with engine.connect() as own:
        _run(own, metadata)
        own.commit()


def _run(connection: Connection, metadata: MetaData) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()
