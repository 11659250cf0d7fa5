"""Read series of the UCR and UEA archives: both parts of a data set, resized to one length, with gaps filled if asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, TypedDict, Unpack

import numpy as np

from aekit.data.readers._ts_files import looks_like_ts, read_ts
from aekit.data.readers._ucr_files import UCR_ENDINGS, looks_like_ucr as looks_like_ucr, read_ucr
from aekit.data.source import ArraySource, RowIds
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.registry.options import Field

_SPLITS = {"_train": "train", "_test": "test"}

Unequal = Literal["stretch", "pad", "skip"]
Missing = Literal["skip", "interpolate"]


class GapOptions(TypedDict, total=False):
    """Options of sources of series that have gaps."""

    missing: Annotated[
        Missing,
        Field(
            default="skip",
            description="how to treat series with missing values: skip them, or interpolate linearly between the neighbors",
        ),
    ]


class SeriesOptions(GapOptions, total=False):
    """Options of sources of series that differ in length, too."""

    length: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=2)],
        Field(
            default="auto",
            description="number of steps; auto: that of the longest series, or the most common one if others are skipped",
        ),
    ]
    unequal: Annotated[
        Unequal,
        Field(
            default="stretch",
            description="how to treat series of another length: stretch resamples them, pad repeats the last value or cuts "
            "the end, skip leaves them out",
        ),
    ]


def find_parts(path: Path, pair: bool = True) -> dict[str, Path]:
    """Return the files of a data set by split, ``""`` if the name states none.

    Args:
        path: ``NAME_TRAIN.ts`` (with ``NAME_TEST.ts`` in the same folder), another .ts file, ``NAME_TRAIN.tsv`` or .txt, or a
            folder; of several data sets in a folder, the one with the folder's name, and of several formats .ts.
        pair: whether to include the test file of a training file.

    Raises:
        DataError: a folder without such files, or with several data sets.
    """
    if not path.is_dir():
        name, split = _parse_name(path)
        others = path.parent.glob(f"*{path.suffix}") if pair and split == "train" else []
        tests = [other for other in others if _parse_name(other) == (name, "test")]
        return {split: path, **({"test": tests[0]} if tests else {})}
    sets: dict[str, dict[str, Path]] = {}
    for file in sorted(_series_in(path), reverse=True):  # training parts before test parts
        name, split = _parse_name(file)
        sets.setdefault(name, {})[split] = file
    if not sets:
        raise DataError(f"{path}: no series; looked for NAME_TRAIN.ts and NAME_TEST.ts, or the same with .tsv or .txt")
    files = sets.get(path.name) or (next(iter(sets.values())) if len(sets) == 1 else None)
    if files is None:
        raise DataError(f"{path}: holds {len(sets)} data sets ({', '.join(sorted(sets))}); choose a file of one")
    return files


def holds_series(path: Path) -> bool:
    """Return whether a path is a file of series, or a folder that holds one."""
    if path.is_dir():
        return any(map(holds_series, _series_in(path)))
    return looks_like_ucr(path) if path.name.lower().endswith(UCR_ENDINGS) else looks_like_ts(path)


def _series_in(folder: Path) -> list[Path]:
    """Return the files of series in a folder, those of one format."""
    for ending in (".ts", *UCR_ENDINGS):
        if files := [path for path in folder.glob(f"*{ending}") if ending == ".ts" or looks_like_ucr(path)]:
            return files
    return []


class SeriesSource(ArraySource):
    """Series (C, T) float32 of files of the archives, with their labels and splits.

    Args:
        files: files by split, as `find_parts` returns them.
        like: spec of an encoder; its length and its resizing take precedence over the options.
        options: as `SeriesOptions`.

    Raises:
        DataError: a file cannot be used. Single bad series are skipped, with a reason.
    """

    def __init__(self, files: Mapping[str, Path], like: SampleSpec | None, **options: Unpack[SeriesOptions]) -> None:
        length, unequal = options.get("length", "auto"), options.get("unequal", "stretch")
        missing = options.get("missing", "skip")
        parts = [
            read_ucr(path) if path.name.lower().endswith(UCR_ENDINGS) else read_ts(path) for path in files.values()
        ]
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
        rows = [_fit_length(one, channels, int(length), unequal) for one in series]
        self.reasons = {row: one for row, one in enumerate(rows) if isinstance(one, str)}
        zeros = np.zeros((channels, int(length)), np.float32)
        labels = [part.labels for part in parts]
        names, counts = list(files), [len(part.series) for part in parts]
        splits = np.repeat(names, counts) if all(names) else None
        super().__init__(
            np.stack([zeros if isinstance(one, str) else one for one in rows]),
            kind="series",
            labels=np.concatenate(labels) if all(values is not None for values in labels) else None,  # type: ignore[arg-type]
            ids=RowIds(splits, sum(counts)),
            splits=splits,
        )
        others = +lengths - Counter({int(length): lengths[int(length)]})
        if others and unequal != "skip":
            self.spec = replace(self.spec, resize=unequal)
            how = "resampled" if unequal == "stretch" else "padded or cut"
            self.notes = (f"series of {min(+lengths)} to {max(+lengths)} steps are {how} to {length}",)
        if missing == "interpolate" and (gaps := sum(bool(_gaps(one)) for part in parts for one in part.series)):
            self.losses = (f"missing values of {gaps} series are interpolated",)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ok = np.array([int(index) not in self.reasons for index in indices], bool)
        self.skipped |= {self.ids[int(index)]: self.reasons[int(index)] for index in indices[~ok]}
        return self.array[indices], ok


def _parse_name(path: Path) -> tuple[str, str]:
    """Split a file name such as ``GunPoint_TRAIN.ts`` into name and split."""
    for ending, split in _SPLITS.items():
        if path.stem.lower().endswith(ending):
            return path.stem[: -len(ending)], split
    return path.stem, ""


def _gaps(one: np.ndarray | str) -> int:
    return 0 if isinstance(one, str) else int(np.isnan(one).sum())


def fill_gaps(one: np.ndarray | str, missing: Missing) -> np.ndarray | str:
    """Return a series (C, T) without missing values, or the reason why there is none."""
    gaps = _gaps(one)
    if isinstance(one, str) or not gaps:
        return one
    if missing == "skip":
        return f"{gaps} of {one.size} values are missing; missing = 'interpolate' fills them"
    steps, known = np.arange(one.shape[1]), ~np.isnan(one)
    if not known.any(axis=1).all():
        return f"channel {int(np.argmin(known.any(axis=1)))} has no values"
    return np.stack([np.interp(steps, steps[k], row[k]) for row, k in zip(one, known)]).astype(one.dtype)


def _fit_length(one: np.ndarray | str, channels: int, length: int, unequal: Unequal) -> np.ndarray | str:
    """Resize a series (C, T) to (channels, length), or return the reason why it cannot be used."""
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
    positions = np.linspace(0, steps - 1, length)
    return np.stack([np.interp(positions, np.arange(steps), row) for row in one]).astype(np.float32)
