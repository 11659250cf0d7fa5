"""Read one file format per module."""
