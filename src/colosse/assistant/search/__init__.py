"""Search: plan queries, fetch a few pages through a guarded fetcher, answer with citations that are checked."""

from colosse.assistant.search.answer import SearchAnswer, search

__all__ = ["SearchAnswer", "search"]
