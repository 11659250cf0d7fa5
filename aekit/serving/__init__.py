"""A page on this machine for looking through an index: search by an image or by a sample, a map, a selection to keep."""

from aekit.serving.catalog import Catalog

__all__ = ["Catalog"]
