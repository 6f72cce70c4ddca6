"""Prompts to tokens: the catalogue of models, the programs that run them, the pool that the assistant talks to."""
