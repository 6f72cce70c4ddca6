"""The mesh, and what spreads a model over it."""
