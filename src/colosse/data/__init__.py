"""From a corpus to batches: documents, tokenizer, shards, loader."""
