"""Serve a page for browsing an index: search by an image or a sample, a map, and a selection to download."""

from aekit.serving.catalog import Catalog

__all__ = ["Catalog"]
