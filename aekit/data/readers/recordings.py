"""Read recordings: long series, as a table with one row per step and one column per channel, as an array, or as sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aekit.data.readers import tables
from aekit.data.readers._sound_files import MISSING_SOUNDFILE, is_cut_off, read_sound, resample_sound
from aekit.data.readers._time_axis import TIME_COLUMNS as TIME_COLUMNS, find_time_axis
from aekit.data.readers.endings import SHEET_ENDINGS, SOUND_ENDINGS, TEXT_ENDINGS
from aekit.data.readers.numpy_files import read_npy
from aekit.data.readers.series import Missing, fill_gaps
from aekit.data.readers.table_columns import read_columns
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError

TABLES = (*TEXT_ENDINGS, ".parquet", *SHEET_ENDINGS)
RECORDING_ENDINGS = (*TABLES, *SOUND_ENDINGS, ".npy")
LABELS = tuple(name for name in tables.LABEL_COLUMNS if name != "y")
"""Names of columns of labels; without y, which is often a direction or a measured value."""


class Recording:
    """A recording, read into memory.

    Attributes:
        path: the file.
        name: name of the machine, where a file holds several recordings; or "".
        values: (C, T) float32, or float64 where float32 would not tell steps apart; NaN where a value is missing.
        columns: columns of the channels; () if they have no names.
        names: all columns of a table, or ().
        labels: (T,) labels of the steps, or None.
        rate: sampling rate of sound, in Hz; 0: unknown.
        is_cut_off: whether a file of sound is shorter than it says.
        breaks: steps after a gap.
        notes: lines about choices of columns.
        losses: lines about steps that are sorted or left out.
        count: T; 0 if it cannot be read.
        reason: why it cannot be read, or "".
    """

    def __init__(self, path: Path, name: str = "", reason: str = "") -> None:
        self.path, self.name, self.reason, self.count = path, name, reason, 0
        self.values = np.zeros((0, 0), np.float32)
        self.columns: tuple[Column, ...] = ()
        self.names: tuple[str, ...] = ()
        self.labels: np.ndarray | None = None
        self.rate, self.is_cut_off = 0, False
        self.breaks: tuple[int, ...] = ()
        self.notes: list[str] = []
        self.losses: list[str] = []

    def fill(self, values: np.ndarray, missing: Missing) -> None:
        """Set the values, or the reason why there are none."""
        filled = fill_gaps(values, missing) if missing == "interpolate" else values
        if isinstance(filled, str):
            self.reason = filled
        else:
            self.values, self.count = filled, filled.shape[1]

    def check(self, like: SampleSpec) -> None:
        """Check that it has the channels of a spec."""
        if not self.reason and len(self.values) != like.shape[0]:
            self.reason, self.count = f"{len(self.values)} channels, expected {like.shape[0]}", 0

    @staticmethod
    def columns_left_out(recordings: Sequence[Recording]) -> list[str]:
        """Return a line on columns of tables that the first readable one, which defines the channels, lacks."""
        names_of = {one.path: one.names for one in recordings if one.names and not one.reason}
        first = next(iter(names_of), None)
        lacking = Counter(
            name for names in names_of.values() for name in names if first and name not in names_of[first]
        )
        if first is None or not lacking:
            return []
        listed = ", ".join(f"{name!r} of {count:,}" for name, count in lacking.most_common(5))
        more = ", ..." if len(lacking) > 5 else ""
        return [f"columns that {first.name!r} lacks are left out of other files: {listed}{more}"]

    def check_length(self, span: int) -> None:
        """Check that a window fits between two gaps."""
        if self.breaks and not self.reason and np.diff([0, *self.breaks, self.count]).max() < span:
            self.reason, self.count = f"no {span} steps without a gap", 0


def read_recordings(
    path: Path,
    x: str | Sequence[str] = "auto",
    y: str = "auto",
    missing: Missing = "skip",
    time: str = "auto",
    group: str = "auto",
    like: SampleSpec | None = None,
) -> list[Recording]:
    """Read the recordings of a file: one, or one for each machine of a table.

    Args:
        path: the file.
        x: names of the channels, as in `aekit.data.readers.table_columns.read_columns`.
        y: name of the labels, likewise.
        missing: ``interpolate`` fills gaps.
        time: as in `aekit.data.readers._time_axis.find_time_axis`.
        group: likewise.
        like: spec whose channels are found by name.
    """
    try:
        ending = Path(path.name.lower().removesuffix(".gz")).suffix
        if ending in TABLES:
            return _read_table(path, x, y, missing, time, group, like)
        recording = Recording(path)
        if path.suffix.lower() in SOUND_ENDINGS:
            recording.rate, values = read_sound(path)
            recording.is_cut_off = is_cut_off(path)
        else:
            if ending != ".npy":
                known = f"{', '.join(TABLES[:2])}, .parquet, .xlsx, .npy or sound"
                raise DataError(
                    f"{path}: recordings are read from {known}, not from {ending}; save the table as .parquet"
                )
            array = np.asarray(read_npy(path))
            if array.ndim not in (1, 2) or array.dtype.kind not in "uifb":
                raise DataError(f"{path}: {array.dtype} of shape {array.shape}: expected (steps, channels)")
            if not array.size:
                raise DataError(f"{path}: shape {array.shape}: it holds no values; expected at least one step")
            values = _to_float(array.reshape(len(array), -1).T)
        recording.fill(values, missing)
        return [recording]
    except DataError as error:
        return [Recording(path, reason=str(error).removeprefix(f"{path}: "))]


def match_sound(recordings: Sequence[Recording], like: SampleSpec | None, rate: int = 0) -> tuple[int, list[str]]:
    """Give sound one sampling rate and one number of channels.

    Args:
        recordings: recordings, of which those with a rate are changed.
        like: spec of an encoder, which decides both.
        rate: rate in Hz without an encoder; 0: the most common one.

    Returns:
        the rate, 0 if there is no sound, and lines about what was changed.
    """
    lines = []
    missing = [one for one in recordings if one.reason == MISSING_SOUNDFILE.format(one.path.suffix.lower())]
    if missing:
        lines.append(f"{len(missing)} of {len(recordings)} recordings cannot be read: {missing[0].reason}")
    sound = [recording for recording in recordings if recording.rate and not recording.reason]
    if not sound:
        return (like.sample_rate if like is not None else 0), lines
    if cut := [recording for recording in sound if recording.is_cut_off]:
        lines.append(f"sound is cut off, and read up to there: {_some(cut, sound)}")
    common = Counter(recording.rate for recording in sound).most_common(1)[0][0]
    rate = (like.sample_rate if like is not None else 0) or rate or common
    others = [recording for recording in sound if recording.rate != rate]
    if others:
        rates = ", ".join(str(one) for one in sorted({recording.rate for recording in others}))
        lines.append(f"sound of {rates} Hz is resampled to {rate} Hz: {_some(others, sound)}")
    for recording in others:
        recording.values = resample_sound(recording.values, recording.rate, rate)
        recording.count = recording.values.shape[1]
    widths = {len(recording.values) for recording in sound}
    channels = like.shape[0] if like is not None else min(widths)
    wide = [recording for recording in sound if len(recording.values) > channels]
    narrow = [recording for recording in sound if len(recording.values) == 1 < channels]
    if channels == 1 and wide:
        lines.append(f"channels are averaged to one: {_some(wide, sound)}")
        for recording in wide:
            recording.values = recording.values.mean(axis=0, keepdims=True, dtype=np.float32)
    if narrow:
        lines.append(f"one channel is repeated as {channels}: {_some(narrow, sound)}")
        for recording in narrow:
            recording.values = np.repeat(recording.values, channels, axis=0)
    return rate, lines


def _some(changed: Sequence[Recording], sound: Sequence[Recording]) -> str:
    return f"{len(changed)} of {len(sound)} files, e.g. {changed[0].path.name!r}"


def _read_table(
    path: Path, x: str | Sequence[str], y: str, missing: Missing, time: str, group: str, like: SampleSpec | None
) -> list[Recording]:
    table, where = tables.read_table(path), str(path)
    names = table.column_names
    label = tables.find_column(names, LABELS) if y == "auto" else y
    chosen = [] if x == "auto" else [x] if isinstance(x, str) else list(x)
    expected = [] if like is None else [column.name for column in like.columns]
    axis = find_time_axis(
        table, where, time, group, [*chosen, *expected, *([label] if label and label in names else [])]
    )
    tabular = read_columns(
        table,
        where,
        x=x,
        y=y,
        categories="none",
        missing="keep",
        like=like,
        default_labels=LABELS,
        exclude=[*TIME_COLUMNS, *(name.lower() for name in axis.columns)],
        rows_are_samples=False,
    )
    values = _to_float(tabular.array.T)
    recordings = []
    for part in axis.parts:
        recording = Recording(path, part.name)
        recording.columns, recording.breaks = tabular.columns, part.breaks
        recording.names = tuple(names)
        recording.labels = None if tabular.labels is None else tabular.labels[part.rows]
        recording.notes = axis.notes + ([tabular.note] if tabular.note else [])
        recording.losses = [*axis.losses, *tabular.losses]
        recording.fill(np.ascontiguousarray(values[:, part.rows]), missing)
        recordings.append(recording)
    return recordings


def _to_float(values: np.ndarray) -> np.ndarray:
    """Return (C, T) as float32, or as float64 where that would round away what a channel varies by."""
    single = np.ascontiguousarray(values, np.float32)
    if values.dtype == np.float32 or not values.size:
        return single
    double = np.ascontiguousarray(values, np.float64)
    finite = np.isfinite(double).all(axis=0)
    if not finite.any():
        return single
    lost = abs(double[:, finite] - single[:, finite]).max(axis=1)
    return double if (lost > 1e-3 * double[:, finite].std(axis=1)).any() else single
