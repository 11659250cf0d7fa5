"""Build, measure, open and search indexes over embeddings."""
