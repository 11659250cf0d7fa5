"""Discover plugins and turn their signatures into options."""
