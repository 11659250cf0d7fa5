"""Augment batches of images, series and vectors for joint-embedding tasks."""
