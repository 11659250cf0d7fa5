"""Check embeddings for leakage, collapse and instability."""
