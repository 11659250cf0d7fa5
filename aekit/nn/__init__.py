"""Provide the mathematics and layers that plugins share."""
