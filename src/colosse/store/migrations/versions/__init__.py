"""One module a schema, named by its number; never changed once released."""
