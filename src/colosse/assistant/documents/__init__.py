"""Documents: read in many formats, kept as passages, searched by word and by meaning, asked with citations."""
