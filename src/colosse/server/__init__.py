"""HTTP: the OpenAI API, the app's own API, runs, store, keys, metrics and the built web page."""
