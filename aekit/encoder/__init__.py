"""Preprocess, encode and embed samples under one identity, and store encoders and embeddings."""
