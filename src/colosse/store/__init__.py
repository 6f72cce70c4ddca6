"""What is kept: threads, messages, runs, responses, keys. SQLite by default, PostgreSQL by URL, one schema."""

from colosse.store.database import Store, open_store
from colosse.store.queries import get_owned

__all__ = ["Store", "get_owned", "open_store"]
