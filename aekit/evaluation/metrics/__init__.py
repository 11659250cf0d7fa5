"""Compute metrics with intervals, and compare them in pairs."""
