"""Render the page of a run and the page of a search."""
