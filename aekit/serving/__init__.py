"""A page on this machine for looking through an index: search by a picture or by a sample, a map, a selection to keep."""

from aekit.serving.catalogue import Catalog

__all__ = ["Catalog"]
