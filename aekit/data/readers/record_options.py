"""Options of sources of records: which entries are used, and how."""

from __future__ import annotations

from typing import Annotated, TypedDict

from aekit.data.readers.resizing import DecodingOptions
from aekit.data.readers.table_columns import Categories, Missing
from aekit.registry.options import Field

_COLUMN = "column, or key, of the samples; auto: images, else lists of numbers, else paths of images"
_LABEL = "column, or key, of the labels; auto: by usual names; none: no labels"
_X = "columns, or keys, of plain numbers; auto: all"
_CATEGORIES = "few: among plain numbers, one-hot encode columns of 2 to 20 categories; none: skip them"
_MISSING = "what to do with rows with missing numbers, as for tables: skip them, or impute the median of the column"


class ColumnOptions(TypedDict, total=False):
    """Options of sources of records: which entries are used."""

    column: Annotated[str, Field(default="auto", description=_COLUMN)]
    label: Annotated[str, Field(default="auto", description=_LABEL)]


NUMBER_DEFAULTS = {"x": "auto", "categories": "few", "missing": "auto"}


class NumberOptions(TypedDict, total=False):
    """Options of sources of records of plain numbers, as of tables."""

    x: Annotated[str | list[str], Field(default=NUMBER_DEFAULTS["x"], description=_X)]
    categories: Annotated[Categories, Field(default=NUMBER_DEFAULTS["categories"], description=_CATEGORIES)]
    missing: Annotated[Missing, Field(default=NUMBER_DEFAULTS["missing"], description=_MISSING)]


class RecordOptions(ColumnOptions, NumberOptions, DecodingOptions, total=False):
    """Options of sources of records that may hold images."""
