"""Recordings: windows cut from long series, with no step in two splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import numpy as np

from aekit.plugin import (
    RECORDING_ENDINGS,
    SOUND_ENDINGS,
    DataError,
    Field,
    GapOptions,
    Listing,
    MetadataOption,
    Recording,
    SampleSpec,
    Source,
    WindowCutter,
    contains_files,
    describe_files,
    list_folder,
    match_sound,
    read_recordings,
)

Count = Annotated[int, Field(ge=1)]

_X = Field(description="columns for the channels; auto: all numeric columns except labels and times")
_Y = Field(
    description="column of the steps' labels; auto: by common names, unless folders are classes; none: no labels"
)
_LABEL = Field(description="label of a window whose steps have several: the most frequent, or the largest")
_STEP = Field(description="stride between steps of a window: 10 takes every tenth step")
_STRIDE = Field(description="steps between the starts of consecutive windows; auto: windows do not overlap")
_TEST = Field(
    ge=0, lt=1, description="held-out fraction: the end of a recording; in a folder, the last of each class; 0: none"
)
_GAP = Field(description="unused steps before the held-out end; auto: the span of a window")
_TIME = Field(
    description="column of times, by which rows are sorted; auto: by type, name and values; none: rows are in order"
)
_GROUP = Field(
    description="column of a table that tells recordings apart, such as machine; auto: by common names; none: there is one"
)
_RATE = Field(description="sampling rate of sound in Hz, to which other sound is resampled; auto: the most common one")


class Recordings(Source):
    """Cut recordings into windows (C, T) float32: tables with one row per step, arrays (T,) or (T, C) in .npy, sound in .wav.

    Ids are ``name@first``, with the window's first step. A single recording is split in time; in a folder, subfolders are
    classes, and ``train``, ``val``, ``test`` at the top are splits. An encoder finds its channels by name.

    Args:
        where: a recording, or a folder of recordings.
        like: spec of an encoder's input; overrides channels, length and step.

    Raises:
        DataError: there are no recordings, or the only one is unreadable or too short. In a folder, such a recording becomes one
            window ``name@0`` that is skipped with a reason, as are windows with missing values.
    """

    segment_starts: np.ndarray
    endings = SOUND_ENDINGS
    looks_for = f"sound in {', '.join(SOUND_ENDINGS)}; tables with a row per step as recordings:PATH"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        steps: Annotated[int, Field(ge=2, description="steps of a window")] = 128,
        frame_step: Annotated[Count, _STEP] = 1,
        stride: Annotated[Literal["auto"] | Count, _STRIDE] = "auto",
        x: Annotated[str | list[str], _X] = "auto",
        y: Annotated[str, _Y] = "auto",
        label: Annotated[Literal["most", "largest"], _LABEL] = "most",
        test: Annotated[float, _TEST] = 0.2,
        gap: Annotated[Literal["auto"] | Annotated[int, Field(ge=0)], _GAP] = "auto",
        time: Annotated[str, _TIME] = "auto",
        group: Annotated[str, _GROUP] = "auto",
        rate: Annotated[Literal["auto"] | Count, _RATE] = "auto",
        metadata: MetadataOption = "auto",
        **gaps: Unpack[GapOptions],
    ) -> None:
        root, self.skipped = Path(where), {}
        # Tables beside sound describe it.
        endings = SOUND_ENDINGS if root.is_dir() and contains_files(root, SOUND_ENDINGS) else RECORDING_ENDINGS
        listing = list_folder(root, endings, "recordings") if root.is_dir() else Listing([root.name], [root])
        listing = describe_files(listing, root, metadata)
        if like is not None and like.is_series:
            steps, frame_step = like.shape[1], like.frame_step
        else:
            like = None
        read = partial(read_recordings, x=x, y=y, missing=gaps.get("missing", "skip"), time=time, group=group)
        self.recordings, files = _read_all(listing.paths, read, steps, like)
        sample_rate, changes = match_sound(self.recordings, like, 0 if rate == "auto" else rate)
        first = next((one for one in self.recordings if not one.reason), None)
        if first is None:
            raise DataError(f"{listing.paths[0]}: {self.recordings[0].reason}")
        self.spec = SampleSpec(
            "series",
            like.shape if like is not None else (len(first.values), steps),
            "float64" if any(one.values.dtype == np.float64 for one in self.recordings) else "float32",
            frame_step=frame_step,
            sample_rate=sample_rate,
            columns=like.columns if like is not None else first.columns,
        )
        if len(files) > len(listing.paths):
            listing = _by_recording(listing, files, self.recordings)
        self.cutting = WindowCutter(
            steps, frame_step, steps * frame_step if stride == "auto" else stride, ("steps", "window")
        )
        for one in self.recordings:
            one.check(self.spec)
            one.check_length(self.cutting.span)
        several = root.is_dir() or len(self.recordings) > 1
        self.segment_starts, self.ids, self.splits = self.cutting.cut_files(
            self.recordings, listing, several, test, gap
        )
        if listing.metadata is not None:
            self.metadata = listing.metadata.repeated([files[number] for number in self.segment_starts[:, 0].tolist()])
        self.labels = self._window_labels(listing, y, label)
        assumed = bool(sample_rate) and not any(one.rate for one in self.recordings)
        rate_note = f"steps are taken as sound of {sample_rate} Hz, the rate of the encoder" if assumed else ""
        self.notes = tuple(filter(None, [f"windows of {steps} steps", *first.notes, rate_note, listing.note]))
        lines = [
            f"{one.path.name}: {line}" if root.is_dir() else line for one in self.recordings for line in one.losses
        ]
        changes += Recording.columns_left_out(self.recordings) if like is None else []
        self.losses = (*listing.losses, *list(dict.fromkeys(lines))[:5], *changes)

    @staticmethod
    def claims(path: Path) -> bool:
        """Return True for sound or a folder with sound. Open arrays and tables, whose rows may be samples or steps, as
        ``recordings:PATH``."""
        if path.is_dir():
            return contains_files(path, SOUND_ENDINGS)
        return path.name.lower().endswith(SOUND_ENDINGS)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.ones(len(indices), bool)
        for position, index in enumerate(indices.tolist()):
            number, first = self.segment_starts[index].tolist()
            recording, frames = self.recordings[number], self.cutting.frames(first)
            if recording.reason or frames[-1] >= recording.count:
                reason = f"{recording.count} steps, expected {self.cutting.span}"
                self.skipped[self.ids[index]] = recording.reason or reason
                ok[position] = False
            else:
                rows[position] = recording.values[:, frames.start : frames.stop : frames.step]
        return rows, ok

    def _window_labels(self, listing: Listing, y: str, rule: str) -> np.ndarray | None:
        """Return the labels (N,) of the windows: of their folders, or of their steps if those are missing or `y` names some."""
        has_step_labels = all(recording.labels is not None or recording.reason for recording in self.recordings)
        if listing.labels is not None and not (has_step_labels and y != "auto"):
            return listing.labels[self.segment_starts[:, 0]]
        return self._step_labels(rule) if has_step_labels else None

    def _step_labels(self, rule: str) -> np.ndarray:
        """Return the labels (N,) of the windows by a rule from those of their steps."""
        window_labels = []
        for number, start in self.segment_starts.tolist():
            frames, labels = self.cutting.frames(start), self.recordings[number].labels
            if labels is None or frames[-1] >= len(labels):
                window_labels.append("")  # an unreadable recording
                continue
            values, counts = np.unique(labels[frames.start : frames.stop : frames.step], return_counts=True)
            window_labels.append(values[-1 if rule == "largest" else counts.argmax()])
        return np.array(window_labels)

    @staticmethod
    def example(folder: Path) -> tuple[str, dict[str, Any]]:
        """Return an example for the conformance kit to open."""
        from aekit.plugin import write_recording

        return str(write_recording(folder)), {"steps": 6, "stride": 3}


def _read_all(
    paths: Sequence[Path], read: Callable[..., list[Recording]], steps: int, like: SampleSpec | None
) -> tuple[list[Recording], list[int]]:
    """Read the recordings of files, of which each may hold several; the first readable table defines the channels of all.

    Args:
        paths: of the files.
        read: `read_recordings` with its options.
        steps: of a window.
        like: spec of an encoder's input, which defines the channels instead.

    Returns:
        the recordings, and the number of the file of each.
    """
    recordings, files, expected = list[Recording](), list[int](), like
    for number, path in enumerate(paths):
        for one in read(path, like=expected):
            recordings.append(one)
            files.append(number)
            if expected is None and not one.reason and one.columns:
                expected = SampleSpec("series", (len(one.values), steps), "float32", columns=one.columns)
    return recordings, files


def _by_recording(listing: Listing, files: list[int], recordings: list[Recording]) -> Listing:
    """Return a listing with an entry per recording.

    Args:
        listing: of files.
        files: (N,) number of the file of each recording.
        recordings: N recordings.
    """
    ids = [f"{listing.ids[file]}:{one.name}" if one.name else listing.ids[file] for file, one in zip(files, recordings)]
    return replace(
        listing,
        ids=ids,
        paths=[one.path for one in recordings],
        labels=None if listing.labels is None else listing.labels[files],
        splits=None if listing.splits is None else listing.splits[files],
    )
