"""The `colosse` command: one thin module a verb. What is slow to import is imported inside the functions that use it."""
