"""The series data sets that come inside the package aeon, by name: small, real, and there without a network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from aekit.plugin import (
    DataError,
    Field,
    LengthOption,
    MissingOption,
    SampleSpec,
    SeriesSource,
    UnequalOption,
    closest_name,
    find_parts,
)

_ROOT = Field(description="folder of data sets, NAME/NAME_TRAIN.ts each; auto: those inside the package aeon")


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    root: Annotated[str, _ROOT] = "auto",
    length: LengthOption = "auto",
    unequal: UnequalOption = "stretch",
    missing: MissingOption = "skip",
) -> SeriesSource:
    """``GunPoint``, ``ArrowHead``, ``BasicMotions``, ``JapaneseVowels`` ...: train and test part, with their classes.

    Only files of the package are read; aeon itself, whose import compiles code, is not imported.

    Raises:
        DataError: no such data set there, or aeon is needed and not installed.
    """
    folder = _inside_aeon(where) if root == "auto" else Path(root).expanduser()
    known = {path.stem[: -len("_TRAIN")]: path for path in sorted(folder.glob("*/*_TRAIN.ts"))}
    if where not in known:
        raise DataError(f"aeon:{where}: no such data set in {folder}{closest_name(where, known)}")
    return SeriesSource(find_parts(known[where]), like, length, unequal, missing)


def _inside_aeon(where: str) -> Path:
    found = find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        raise DataError(f"aeon:{where}: the data comes inside the package aeon: pip install 'aekit[series]'")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


def example(folder: Path) -> tuple[str, dict[str, str]]:
    """What the conformance kit opens."""
    from aekit.plugin import write_series

    return "Waves", {"root": str(write_series(folder).parent)}
