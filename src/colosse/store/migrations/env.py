"""Run by Alembic: migrate on the connection that `colosse.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from colosse.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()
