"""Specify one sample: its shape, its dtype, and how samples of another size are resized to it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from aekit.io.manifest_models import MAX_SAMPLE, Manifest

Kernel = Literal["bicubic", "bilinear"]
Kind = Literal["vector", "series", "image", "clip"]
Resize = Literal["crop", "pad", "stretch", "torchvision"]
_OPTIONAL = ("crop_pct", "interpolation", "frame_step", "sample_rate")


_SHAPES: dict[Kind, str] = {
    "vector": "vectors (D,)",
    "series": "series (C, T)",
    "image": "images (C, H, W)",
    "clip": "clips (C, T, H, W)",
}


class ColumnRecord(Manifest):
    """Entries of a column in a manifest, as `Column.to_dict` returns them."""

    name: str
    categories: list[str] | None = None
    impute_value: float | None = None
    time: bool = False


class SpecRecord(Manifest):
    """Entries of a sample spec in a manifest, as `SampleSpec.to_dict` returns them."""

    kind: Kind
    shape: list[Annotated[int, Field(ge=1, le=MAX_SAMPLE)]]
    dtype: Annotated[str, StringConstraints(pattern=r"^(bool|u?int(8|16|32|64)|float(16|32|64))$")]
    resize: Resize | None
    crop_pct: Annotated[float, Field(gt=0, le=2)] = 1.0
    interpolation: Kernel = "bicubic"
    frame_step: Annotated[int, Field(ge=1, lt=2**31)] = 1
    sample_rate: Annotated[int, Field(ge=0, lt=2**31)] = 0
    columns: list[ColumnRecord] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_together(self) -> SpecRecord:
        axes = list(_SHAPES).index(self.kind) + 1
        if len(self.shape) != axes:
            raise ValueError(f"shape of {len(self.shape)} axes; expected {axes}, {_SHAPES[self.kind]}")
        if prod(self.shape) > MAX_SAMPLE:
            raise ValueError(f"shape of {prod(self.shape):,} values; expected {MAX_SAMPLE:,} at most")
        entries = sum(1 if column.categories is None else len(column.categories) for column in self.columns)
        if self.columns and entries != self.shape[0]:
            raise ValueError(f"columns of {entries} entries; expected {self.shape[0]}")
        return self


@dataclass(frozen=True)
class Column:
    """A column of a table, and its entries in a vector.

    Attributes:
        name: name in the table.
        categories: categories of a text column, each an entry of 0 or 1 (all 0 in rows of none of them); None: a column of
            numbers, one entry.
        impute_value: value that replaces missing numbers; None: rows without a value cannot be used.
        time: whether it holds dates and times, whose number is that of seconds since 1970, or since midnight.
    """

    name: str
    categories: tuple[str, ...] | None = None
    impute_value: float | None = None
    time: bool = False

    @property
    def size(self) -> int:
        """Number of entries of the vector."""
        return 1 if self.categories is None else len(self.categories)

    def to_dict(self) -> dict[str, Any]:
        """Return the column as plain values."""
        values: dict[str, Any] = {
            "categories": self.categories and list(self.categories),
            "impute_value": self.impute_value,
            "time": self.time or None,
        }
        return {"name": self.name} | {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Column:
        categories = record.get("categories")
        return cls(
            record["name"],
            None if categories is None else tuple(categories),
            record.get("impute_value"),
            record.get("time", False),
        )


@dataclass(frozen=True)
class SampleSpec:
    """The shape and type of one raw sample.

    Attributes:
        kind: ``vector`` (D,), ``series`` (C, T), ``image`` (C, H, W) or ``clip`` (C, T, H, W).
        shape: shape without the batch dimension, channels first.
        dtype: numpy's name of the raw dtype.
        resize: how samples of another size are resized to `shape`. Images and frames: ``crop`` (resize the shorter side, keep
            the center), ``pad`` (resize the longer side, pad with zeros), ``stretch``, or ``torchvision`` (as its Resize and
            CenterCrop, in whole pixels); series: ``stretch``, or ``pad`` (cut the end, or repeat the last value). None: all
            sizes must agree.
        crop_pct: fraction of the shorter side that ``crop`` and ``torchvision`` keep.
        interpolation: kernel for resizing images.
        frame_step: distance between consecutive frames of a clip in its video, or steps of a window in its recording.
        sample_rate: sampling rate of sound, in Hz; 0: unknown.
        columns: columns of the table that vectors are rows of, in the order of their entries; (): entries have no names.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    resize: Resize | None = None
    crop_pct: float = 1.0
    interpolation: Kernel = "bicubic"
    frame_step: int = 1
    sample_rate: int = 0
    columns: tuple[Column, ...] = ()

    @property
    def is_vector(self) -> bool:
        """Whether a sample is a vector (D,), such as a row of a table."""
        return self.kind == "vector"

    @property
    def is_series(self) -> bool:
        """Whether a sample is a series (C, T)."""
        return self.kind == "series"

    @property
    def is_image(self) -> bool:
        """Whether a sample is an image (C, H, W)."""
        return self.kind == "image"

    @property
    def is_clip(self) -> bool:
        """Whether a sample is a clip (C, T, H, W)."""
        return self.kind == "clip"

    @property
    def is_visual(self) -> bool:
        """Whether a sample is an image or a clip, which can be displayed as is."""
        return self.kind in ("image", "clip")

    @property
    def is_temporal(self) -> bool:
        """Whether a sample is a series or a clip, which have a time axis."""
        return self.kind in ("series", "clip")

    @property
    def size(self) -> int:
        """Number of values of one sample."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Number of bytes of one sample."""
        return self.size * np.dtype(self.dtype).itemsize

    def black_and_white(self, low: float, high: float) -> tuple[float, float]:
        """Return the raw values that are black and white in samples with these extremes: for most 8-bit ones 0 and 255.

        8-bit samples that use only the lower half of their range, such as masks of 0 and 1 or gray levels 0..15, are white at
        their largest value: of 255 they would be nearly black, to a viewer and to cross-entropy. Others have their extremes.
        """
        if self.dtype != "uint8":
            return low, high
        return 0.0, high if 0 < high <= 128 else 255.0

    def takes_dtype(self, dtype: str) -> bool:
        """Return whether samples of this dtype have values on the scale of these samples."""
        # Floats of another width have the same values. Integers may not: gray is 0..255 or 0..1.
        return dtype == self.dtype or ("float" in dtype and "float" in self.dtype)

    def require(self, *kinds: Kind) -> None:
        """Check that samples are of one of these kinds.

        Raises:
            ValueError: they are of another kind.
        """
        if self.kind not in kinds:
            *others, last = [_SHAPES[kind] for kind in kinds]
            expected = f"{', '.join(others)} or {last}" if others else last
            raise ValueError(f"expected {expected}, found {self}")

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain values; optional ones are left out where they have their default."""
        record = {"kind": self.kind, "shape": list(self.shape), "dtype": self.dtype, "resize": self.resize}
        optional = {name: getattr(self, name) for name in _OPTIONAL}
        columns = {"columns": [column.to_dict() for column in self.columns]} if self.columns else {}
        return (
            record | {name: value for name, value in optional.items() if value != getattr(SampleSpec, name)} | columns
        )

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> SampleSpec:
        columns = tuple(map(Column.from_dict, record.get("columns", ())))
        optional = {name: record[name] for name in _OPTIONAL if name in record}
        return cls(
            record["kind"], tuple(record["shape"]), record["dtype"], record["resize"], columns=columns, **optional
        )

    @property
    def names(self) -> list[str]:
        """Names of a vector's entries or a series' channels, such as ``age`` and ``town: Oslo``; [] if they have none."""
        return [
            name
            for column in self.columns
            for name in (
                [column.name] if column.categories is None else [f"{column.name}: {w}" for w in column.categories]
            )
        ]

    def describe_position(self, position: tuple[int, ...]) -> str:
        """Describe the position of an entry in a sample, for messages."""
        return f"in column {self.names[position[0]]!r}" if self.columns else f"at {position}"

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape))} {self.dtype}"
