"""Augmentations of image, series and vector batches for joint-embedding tasks."""
