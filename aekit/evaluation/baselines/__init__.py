"""Embed samples by the baselines that every encoder is compared with."""
