"""Series in .ts files as a source: both parts of a data set, brought to one length, gaps filled in if that is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from aekit.data.readers.ts_files import looks_like_ts, read_ts
from aekit.data.source import ArraySource, RowIds
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.registry.options import Field

_SPLITS = {"_train": "train", "_test": "test"}

Unequal = Literal["stretch", "pad", "skip"]
Missing = Literal["skip", "interpolate"]
LengthOption = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=2)],
    Field(
        description="steps of every series; auto: what all have, or the longest has, or most have if others are skipped"
    ),
]
UnequalOption = Annotated[
    Unequal,
    Field(
        description="what becomes of series of another length: stretch resamples them, pad repeats the last value or cuts "
        "the end off, skip leaves them out"
    ),
]
MissingOption = Annotated[
    Missing,
    Field(description="series with missing values are left out, or filled in by a line between their neighbors"),
]


def find_parts(path: Path, pair: bool = True) -> dict[str, Path]:
    """The files of a data set by split, ``""`` where a name tells none.

    Args:
        path: ``NAME_TRAIN.ts`` (to which ``NAME_TEST.ts`` beside it belongs), another .ts file, or a folder of one data set;
            where it holds more, that of the folder's own name.
        pair: whether the file beside it is taken too.

    Raises:
        DataError: a folder without .ts files, or with those of several data sets.
    """
    if not path.is_dir():
        name, split = _named(path)
        others = path.parent.glob("*.ts") if pair and split == "train" else []
        beside = [other for other in others if _named(other) == (name, "test")]
        return {split: path, **({"test": beside[0]} if beside else {})}
    sets: dict[str, dict[str, Path]] = {}
    for file in sorted(path.glob("*.ts"), reverse=True):  # training parts before test parts
        name, split = _named(file)
        sets.setdefault(name, {})[split] = file
    if not sets:
        raise DataError(f"{path}: no .ts files; looked for NAME_TRAIN.ts and NAME_TEST.ts")
    found = sets.get(path.name) or (next(iter(sets.values())) if len(sets) == 1 else None)
    if found is None:
        raise DataError(f"{path}: holds {len(sets)} data sets ({', '.join(sorted(sets))}); name a file of one")
    return found


def holds_series(path: Path) -> bool:
    """Whether it is a .ts file of series, or a folder that holds one."""
    return any(looks_like_ts(file) for file in (path.glob("*.ts") if path.is_dir() else [path]))


class SeriesSource(ArraySource):
    """Series (C, T) float32 of .ts files, with their labels and splits.

    Args:
        files: by split, as `parts_of` gives them.
        like: what an encoder takes: series are brought to its length, in its way, whatever the options say.
        length, unequal, missing: as `LengthOption`, `UnequalOption` and `MissingOption` say.

    Raises:
        DataError: a file that is not usable. Single bad series are skipped, with a reason.
    """

    def __init__(
        self, files: Mapping[str, Path], like: SampleSpec | None, length: str | int, unequal: Unequal, missing: Missing
    ) -> None:
        parts = [read_ts(path) for path in files.values()]
        series = [fill_gaps(one, missing) for part in parts for one in part.series]
        known = Counter(one.shape for one in series if not isinstance(one, str))
        if not known:
            first = next(one for one in series if isinstance(one, str))
            raise DataError(
                f"{next(iter(files.values()))}: none of {len(series)} series can be used, the first for {first}"
            )
        channels, lengths = known.most_common(1)[0][0][0], Counter[int]()
        for (width, steps), count in known.items():
            lengths[steps] += count * (width == channels)
        if like is not None and like.is_series:
            length, unequal = like.shape[1], like.resize if like.resize in ("stretch", "pad") else unequal
        if length == "auto":
            length = lengths.most_common(1)[0][0] if unequal == "skip" else max(+lengths)
        rows = [_brought(one, channels, int(length), unequal) for one in series]
        self.reasons = {row: one for row, one in enumerate(rows) if isinstance(one, str)}
        nothing = np.zeros((channels, int(length)), np.float32)
        labels = [part.labels for part in parts]
        names, counts = list(files), [len(part.series) for part in parts]
        splits = np.repeat(names, counts) if all(names) else None
        super().__init__(
            np.stack([nothing if isinstance(one, str) else one for one in rows]),
            kind="series",
            labels=np.concatenate(labels) if all(found is not None for found in labels) else None,  # type: ignore[arg-type]
            ids=RowIds(splits, sum(counts)),
            splits=splits,
        )
        others = +lengths - Counter({int(length): lengths[int(length)]})
        if others and unequal != "skip":
            self.spec = replace(self.spec, resize=unequal)
            how = "resampled" if unequal == "stretch" else "padded or cut"
            self.note = f"series of {min(+lengths)} to {max(+lengths)} steps are {how} to {length}"
        if missing == "interpolate" and (gaps := sum(bool(_gaps(one)) for part in parts for one in part.series)):
            self.note = "; ".join(filter(None, [self.note, f"missing values of {gaps} series are filled in"]))

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ok = np.array([int(index) not in self.reasons for index in indices], bool)
        self.skipped |= {self.ids[int(index)]: self.reasons[int(index)] for index in indices[~ok]}
        return self.array[indices], ok


def _named(path: Path) -> tuple[str, str]:
    """``GunPoint_TRAIN.ts`` as name and split."""
    for ending, split in _SPLITS.items():
        if path.stem.lower().endswith(ending):
            return path.stem[: -len(ending)], split
    return path.stem, ""


def _gaps(one: np.ndarray | str) -> int:
    return 0 if isinstance(one, str) else int(np.isnan(one).sum())


def fill_gaps(one: np.ndarray | str, missing: Missing) -> np.ndarray | str:
    """(C, T) without missing values, or why not."""
    gaps = _gaps(one)
    if isinstance(one, str) or not gaps:
        return one
    if missing == "skip":
        return f"{gaps} of {one.size} values are missing; missing = 'interpolate' fills them in"
    place, known = np.arange(one.shape[1]), ~np.isnan(one)
    if not known.any(axis=1).all():
        return f"channel {int(np.argmin(known.any(axis=1)))} has no value at all"
    return np.stack([np.interp(place, place[k], row[k]) for row, k in zip(one, known)]).astype(np.float32)


def _brought(one: np.ndarray | str, channels: int, length: int, unequal: Unequal) -> np.ndarray | str:
    """(C, T) -> (channels, length), or why not."""
    if isinstance(one, str):
        return one
    if len(one) != channels:
        return f"{len(one)} channels, expected {channels}"
    steps = one.shape[1]
    if steps == length:
        return one
    if unequal == "skip":
        return f"{steps} steps, expected {length}; unequal = 'stretch' would resample it"
    if unequal == "pad":
        return np.pad(one[:, :length], ((0, 0), (0, max(0, length - steps))), mode="edge")
    place = np.linspace(0, steps - 1, length)
    return np.stack([np.interp(place, np.arange(steps), row) for row in one]).astype(np.float32)
