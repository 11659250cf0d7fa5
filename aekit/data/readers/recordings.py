"""Read recordings: long series in a file each, as a table with one row per step and one column per channel, or as sound."""

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
"""Names of columns of labels; without y, which is often a direction or a measured value."""
TIME_COLUMNS = ("time", "timestamp", "date", "datetime")
"""Names of columns of times."""


class Recording:
    """A recording, read into memory.

    Attributes:
        path: the file.
        values: (C, T) float32, NaN where a value is missing.
        columns: columns of the channels; () if they have no names.
        labels: (T,) labels of the steps, or None.
        rate: sampling rate of sound, in Hz; 0: unknown.
        note: choices of columns, or "".
        losses: lines about columns and values that are left out.
        count: T; 0 if it cannot be read.
        reason: why it cannot be read, or "".
    """

    def __init__(
        self, path: Path, x: str | Sequence[str], y: str, missing: Missing, like: SampleSpec | None = None
    ) -> None:
        """Read a recording.

        Args:
            x: names of the channels, as in `aekit.data.readers.table_columns.read_columns`.
            y: name of the labels, likewise.
            missing: ``interpolate`` fills gaps.
            like: spec whose channels the recording must have.
        """
        self.path, self.count, self.reason, self.note = path, 0, "", ""
        self.values = np.zeros((0, 0), np.float32)
        self.columns: tuple[Column, ...] = ()
        self.losses: tuple[str, ...] = ()
        self.labels: np.ndarray | None = None
        self.rate = 0
        try:
            values = self._read(x, y, like)
        except DataError as error:
            self.reason = str(error).removeprefix(f"{path}: ")
            return
        if like is not None and len(values) != like.shape[0]:
            self.reason = f"{len(values)} channels, expected {like.shape[0]}"
            return
        if missing == "interpolate":
            filled = fill_gaps(values, missing)
            if isinstance(filled, str):
                self.reason = filled
                return
            values = filled
        self.values, self.count = values, values.shape[1]

    def _read(self, x: str | Sequence[str], y: str, like: SampleSpec | None) -> np.ndarray:
        ending = self.path.suffix.lower()
        if ending in SOUND_ENDINGS:
            self.rate, values = _sound(self.path)
            return values
        if ending == ".npy":
            array = np.asarray(read_npy(self.path))
            if array.ndim not in (1, 2) or array.dtype.kind not in "uifb":
                raise DataError(f"{self.path}: {array.dtype} of shape {array.shape}: expected (steps, channels)")
            return np.ascontiguousarray(array.reshape(len(array), -1).T, np.float32)
        table, where = tables.read_table(self.path), str(self.path)
        tabular = read_columns(
            table,
            where,
            x=x,
            y=y,
            categories="none",
            missing="keep",
            like=like,
            default_labels=LABELS,
            exclude=TIME_COLUMNS,
            rows_are_samples=False,
        )
        self.columns, self.labels, self.note = tabular.columns, tabular.labels, tabular.note
        self.losses = tabular.losses
        return np.ascontiguousarray(tabular.array.T, np.float32)


def _sound(path: Path) -> tuple[int, np.ndarray]:
    """Read the sampling rate and (channels, T) float32 of a .wav file; integers of any width are scaled to -1..1."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # about metadata that it skips
            rate, values = wavfile.read(path)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not a readable .wav file ({error})") from None
    values = values.reshape(len(values), -1).T
    if values.dtype == np.uint8:
        return rate, (values.astype(np.float32) - 128) / 128
    if values.dtype.kind == "i":
        return rate, values.astype(np.float32) / float(-np.iinfo(values.dtype).min)
    return rate, np.ascontiguousarray(values, np.float32)
