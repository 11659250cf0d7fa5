"""Compute on samples with several worker processes, on one machine or on a Ray cluster."""
