"""Arrays and tables in files: .npy, .npz, IDX, each gzipped or not, and numeric CSV, TSV and Parquet tables."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from aekit import idx, tables
from aekit.data import KindOption, Layout, from_array
from aekit.errors import DataError, nearest
from aekit.options import Field
from aekit.samples import SampleSpec, Source

_X = ("x", "data", "images", "frames", "features", "samples", "arr_0")
_Y = ("y", "labels", "label", "targets", "target")
_SPLIT_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_Name = Annotated[str, Field(description="array in an .npz, or column of a table; auto: the usual names")]


def open_arrays(
    where: str,
    like: SampleSpec | None = None,
    *,
    x: Annotated[list[str] | str, Field(description="array of an .npz, or columns of a table; auto: usual names")] = "auto",
    y: Annotated[str, Field(description="array or column of labels; auto: usual names; none: no labels")] = "auto",
    labels: Annotated[str, Field(description="file of labels, relative to the data's folder; auto: of an IDX file")] = "auto",
    layout: Annotated[Layout, Field(description="where the channels are; auto: first, or last if 1, 3 or 4")] = "auto",
    kind: Annotated[KindOption, Field(description="what a sample is; auto: by axes and dtype")] = "auto",
) -> Source:
    ...
