"""Series data sets that ship with the package aeon, by name: small, real and offline."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Unpack

from aekit.plugin import DataError, Field, SampleSpec, SeriesOptions, SeriesSource, closest_name, find_parts

_ROOT = Field(description="folder of data sets, NAME/NAME_TRAIN.ts each; auto: those that ship with aeon")


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    root: Annotated[str, _ROOT] = "auto",
    **options: Unpack[SeriesOptions],
) -> SeriesSource:
    """Open ``GunPoint``, ``ArrowHead``, ``BasicMotions``, ``JapaneseVowels`` ...: train and test split, with labels.

    Only files of the package are read; aeon itself, whose import compiles code, is not imported.

    Raises:
        DataError: there is no such data set, or aeon is not installed.
    """
    folder = _inside_aeon(where) if root == "auto" else Path(os.path.expanduser(root))
    known = {path.stem[: -len("_TRAIN")]: path for path in sorted(folder.glob("*/*_TRAIN.ts"))}
    if where not in known:
        raise DataError(f"aeon:{where}: no such data set in {folder}{closest_name(where, known)}")
    return SeriesSource(find_parts(known[where]), like, **options)


def _inside_aeon(where: str) -> Path:
    package = find_spec("aeon")
    if package is None or not package.submodule_search_locations:
        raise DataError(f"aeon:{where}: the data ships with the package aeon: pip install 'aekit[series]'")
    return Path(package.submodule_search_locations[0]) / "datasets" / "data"


def example(folder: Path) -> tuple[str, dict[str, str]]:
    """Return an example for the conformance kit to open."""
    from aekit.plugin import write_series

    return "Waves", {"root": str(write_series(folder).parent)}
