"""Recordings: long series in a file each, with a row for each step and a column for each channel, or sound."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aekit.data.readers import tables
from aekit.data.readers.numpy_files import read_npy
from aekit.data.readers.series import Missing, fill_gaps
from aekit.data.readers.table_columns import read_columns
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError

SOUND_ENDINGS = (".wav",)
TABLES = (".csv", ".tsv", ".parquet")
RECORDING_ENDINGS = (*TABLES, *SOUND_ENDINGS, ".npy")
LABELS = tuple(name for name in tables.LABEL_COLUMNS if name != "y")
"""Names of columns of labels: y is a direction, or what was measured."""
TIME_COLUMNS = ("time", "timestamp", "date", "datetime")
"""Names of columns that say when a step was."""


class Recording:
    """A file of steps, read whole.

    Attributes:
        path: the file.
        values: (C, T) float32, NaN where a value is missing.
        columns: that the channels are of; () where they have no names.
        labels: (T,) of the steps, or None.
        rate: of sound, steps a second; 0 where it is not known.
        note: what was chosen and left out, or "".
        count: T; 0 where it cannot be read.
        reason: why it cannot be read, or "".
    """

    def __init__(
        self, path: Path, x: str | Sequence[str], y: str, missing: Missing, like: SampleSpec | None = None
    ) -> None:
        """Read the header of a recording.

        Args:
            x, y: names of the channels and of the labels, as in `aekit.data.readers.table_columns.read_columns`.
            missing: whether gaps are filled in.
            like: spec whose channels the recording must have.
        """
        self.path, self.count, self.reason, self.note = path, 0, "", ""
        self.values = np.zeros((0, 0), np.float32)
        self.columns: tuple[Column, ...] = ()
        self.labels: np.ndarray | None = None
        self.rate = 0
        try:
            found = self._read(x, y, like)
        except DataError as error:
            self.reason = str(error).removeprefix(f"{path}: ")
            return
        if like is not None and len(found) != like.shape[0]:
            self.reason = f"{len(found)} channels, expected {like.shape[0]}"
            return
        if missing == "interpolate":
            filled = fill_gaps(found, missing)
            if isinstance(filled, str):
                self.reason = filled
                return
            found = filled
        self.values, self.count = found, found.shape[1]

    def _read(self, x: str | Sequence[str], y: str, like: SampleSpec | None) -> np.ndarray:
        ending = self.path.suffix.lower()
        if ending in SOUND_ENDINGS:
            self.rate, found = _sound(self.path)
            return found
        if ending == ".npy":
            array = np.asarray(read_npy(self.path))
            if array.ndim not in (1, 2) or array.dtype.kind not in "uifb":
                raise DataError(f"{self.path}: {array.dtype} of shape {array.shape}: expected (steps, channels)")
            return np.ascontiguousarray(array.reshape(len(array), -1).T, np.float32)
        table, where = tables.read_table(self.path), str(self.path)
        taken = read_columns(
            table,
            where,
            x=x,
            y=y,
            categories="none",
            missing="keep",
            like=like,
            default_labels=LABELS,
            exclude=TIME_COLUMNS,
        )
        self.columns, self.labels, self.note = taken.columns, taken.labels, taken.note
        return np.ascontiguousarray(taken.array.T, np.float32)


def _sound(path: Path) -> tuple[int, np.ndarray]:
    """Steps a second and (channels, T) float32 of a .wav file; whole numbers of any width are scaled to -1..1."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of notes about the sound that it skips
            rate, found = wavfile.read(path)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not sound that can be read ({error})") from None
    found = found.reshape(len(found), -1).T
    if found.dtype == np.uint8:
        return rate, (found.astype(np.float32) - 128) / 128
    if found.dtype.kind == "i":
        return rate, found.astype(np.float32) / float(-np.iinfo(found.dtype).min)
    return rate, np.ascontiguousarray(found, np.float32)
