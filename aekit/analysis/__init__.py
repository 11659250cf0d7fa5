"""Group, project and explore embeddings, and find anomalies."""
