"""Evaluate embeddings: splits, metrics with intervals, baselines and checks."""
