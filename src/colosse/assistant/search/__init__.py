"""Search: plan queries, fetch a few pages through a guarded fetcher, answer with citations that are checked."""
