"""Fit linear probes and ridge regressions over a whole path of regularization strengths."""
