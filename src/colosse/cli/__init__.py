"""The `colosse` command: one thin module a verb; what is slow to import is imported inside functions."""
