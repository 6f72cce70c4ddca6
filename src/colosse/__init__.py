"""Colosse: the whole machine behind a ChatGPT, from corpus to conversation."""

__version__ = "0.1.0"
