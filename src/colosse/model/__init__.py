"""The transformer in plain torch, and its weights to and from other formats."""
