"""Alembic: run by `colosse.store.migrate`."""
