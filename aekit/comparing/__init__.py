"""Runs side by side: reading what they left, naming what sets them apart, ordering, and running a set of recipes."""
