"""Alembic: run by `colosse.server.store.migrate`."""
