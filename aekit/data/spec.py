"""The shape and type of one sample, and how what is of another size is brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aekit.data.resampling import Kernel

Kind = Literal["vector", "series", "image", "clip"]
Resize = Literal["crop", "pad", "stretch", "torchvision"]
_UNUSUAL = ("crop_pct", "interpolation", "frame_step")


@dataclass(frozen=True)
class Column:
    """A column of a table, and what it becomes in a vector.

    Attributes:
        name: in the table.
        words: what a column of words may hold: an entry of 0 or 1 for each, all 0 where a row holds none of them. None: a
            column of numbers, one entry.
        fill: what stands in for a missing number; None: a row that lacks it cannot be used.
    """

    name: str
    categories: tuple[str, ...] | None = None
    impute_value: float | None = None

    @property
    def size(self) -> int:
        """Entries of the vector."""
        return 1 if self.categories is None else len(self.categories)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        words = {} if self.categories is None else {"words": list(self.categories)}
        return {"name": self.name} | words | ({} if self.impute_value is None else {"fill": self.impute_value})

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Column:
        words = record.get("words")
        return cls(record["name"], None if words is None else tuple(words), record.get("fill"))


@dataclass(frozen=True)
class SampleSpec:
    """The shape and type of one raw sample.

    Attributes:
        kind: ``vector`` (D,), ``series`` (C, T), ``image`` (C, H, W) or ``clip`` (C, T, H, W).
        shape: without the batch dimension, channels first.
        dtype: numpy's name of the raw dtype.
        resize: how what is of another size is brought to `shape`. Images and frames: ``crop`` (shorter side resized, center
            kept), ``pad`` (longer side resized, edges zero), ``stretch``, or ``torchvision`` (as its Resize and CenterCrop, in
            whole pixels); series: ``stretch``, or ``pad`` (cut at the end, or the last value repeated). None where sizes must
            agree already.
        share: of the shorter side that ``crop`` and ``torchvision`` keep.
        interpolation: of images that are resized.
        every: frames of a video, or steps of a recording, from one of a clip or window to its next.
        columns: of the table that vectors are rows of, in the order of their entries; () where the entries have no names.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    resize: Resize | None = None
    crop_pct: float = 1.0
    interpolation: Kernel = "bicubic"
    frame_step: int = 1
    columns: tuple[Column, ...] = ()

    @property
    def is_vector(self) -> bool:
        """Tell whether a sample is a vector (D,), such as a row of a table."""
        return self.kind == "vector"

    @property
    def is_series(self) -> bool:
        """Tell whether a sample is a series (C, T)."""
        return self.kind == "series"

    @property
    def is_image(self) -> bool:
        """Tell whether a sample is an image (C, H, W)."""
        return self.kind == "image"

    @property
    def is_clip(self) -> bool:
        """Tell whether a sample is a clip (C, T, H, W)."""
        return self.kind == "clip"

    @property
    def is_visual(self) -> bool:
        """Tell whether a sample is an image or a clip, which are drawn as they are."""
        return self.kind in ("image", "clip")

    @property
    def is_temporal(self) -> bool:
        """Tell whether a sample is a series or a clip, which run in time."""
        return self.kind in ("series", "clip")

    @property
    def size(self) -> int:
        """Numbers in one sample."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return self.size * np.dtype(self.dtype).itemsize

    def to_dict(self) -> dict[str, Any]:
        """As plain values; those with a default are left out where they are as usual."""
        found = {"kind": self.kind, "shape": list(self.shape), "dtype": self.dtype, "resize": self.resize}
        unusual = {name: getattr(self, name) for name in _UNUSUAL}
        columns = {"columns": [column.to_dict() for column in self.columns]} if self.columns else {}
        return found | {name: value for name, value in unusual.items() if value != getattr(SampleSpec, name)} | columns

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> SampleSpec:
        columns = tuple(map(Column.from_dict, record.get("columns", ())))
        unusual = {name: record[name] for name in _UNUSUAL if name in record}
        return cls(
            record["kind"], tuple(record["shape"]), record["dtype"], record["resize"], columns=columns, **unusual
        )

    @property
    def names(self) -> list[str]:
        """Of a vector's entries or a series' channels, such as ``age`` and ``town: Oslo``; [] where they have none."""
        return [
            name
            for column in self.columns
            for name in (
                [column.name] if column.categories is None else [f"{column.name}: {w}" for w in column.categories]
            )
        ]

    def describe_position(self, at: tuple[int, ...]) -> str:
        """Where in a sample an entry is, for people."""
        return f"in column {self.names[at[0]]!r}" if self.columns else f"at {at}"

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape))} {self.dtype}"
