"""Recordings: windows cut from long series, so that no step is in two splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import (
    RECORDING_ENDINGS,
    SOUND_ENDINGS,
    DataError,
    Field,
    Listing,
    MissingOption,
    Recording,
    SampleSpec,
    Source,
    WindowCutter,
    contains_files,
    list_folder,
)

Count = Annotated[int, Field(ge=1)]

_X = Field(description="the columns that are channels; auto: all of numbers, but for labels and times")
_Y = Field(description="the column of the steps' labels; auto: of a usual name, unless folders are classes; none: none")
_LABEL = Field(description="of a window whose steps have several labels: the most frequent, or the largest")
_EVERY = Field(description="steps from one of a window to its next: 10 takes every tenth")
_STRIDE = Field(description="steps from the start of a window to that of the next; auto: windows follow one another")
_TEST = Field(ge=0, lt=1, description="held out: the end of a recording; of a folder, the last of each class; 0: none")
_GAP = Field(description="steps before the held-out end that are in no window; auto: as many as a window spans")


class Recordings(Source):
    """Cuts recordings into windows (C, T) float32: tables with a row for each step, arrays (T,) or (T, C) in .npy, sound in .wav.

    Ids are ``name@first``, by the window's first step. One recording is split in time; in a folder, folders are classes, and
    ``train``, ``val``, ``test`` at the top are splits. An encoder finds its channels by their names.

    Args:
        where: a recording, or a folder of them.
        like: what an encoder takes: windows are of its channels, length and step, whatever the options say.

    Raises:
        DataError: there are no recordings, or the only one cannot be read or is too short. In a folder, such a recording is one
            window ``name@0`` that is skipped, with a reason; so are windows in which a value is missing.
    """

    segment_starts: np.ndarray
    looks_for = f"sound in {', '.join(SOUND_ENDINGS)}; tables of steps as recordings:PATH"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        steps: Annotated[int, Field(ge=2, description="of a window")] = 128,
        every: Annotated[Count, _EVERY] = 1,
        stride: Annotated[Literal["auto"] | Count, _STRIDE] = "auto",
        x: Annotated[str | list[str], _X] = "auto",
        y: Annotated[str, _Y] = "auto",
        label: Annotated[Literal["most", "largest"], _LABEL] = "most",
        missing: MissingOption = "skip",
        test: Annotated[float, _TEST] = 0.2,
        gap: Annotated[Literal["auto"] | Annotated[int, Field(ge=0)], _GAP] = "auto",
    ) -> None:
        root, self.skipped = Path(where), {}
        listing = list_folder(root, RECORDING_ENDINGS, "recordings") if root.is_dir() else Listing([root.name], [root])
        if like is not None and like.is_series:
            steps, every = like.shape[1], like.frame_step
        else:
            like = None
        self.recordings: list[Recording] = []
        for path in listing.paths:
            self.recordings.append(Recording(path, x, y, missing, like))
            first = self.recordings[-1]
            if like is None and not first.reason:
                # The first that can be read decides which channels there are.
                like = SampleSpec("series", (len(first.values), steps), "float32", columns=first.columns)
        if like is None:
            raise DataError(f"{listing.paths[0]}: {self.recordings[0].reason}")
        self.spec = SampleSpec("series", like.shape, "float32", frame_step=every, columns=like.columns)
        self.cutting = WindowCutter(steps, every, steps * every if stride == "auto" else stride, ("steps", "window"))
        self.segment_starts, self.ids, self.splits = self.cutting.cut_files(
            self.recordings, listing, root.is_dir(), test, gap
        )
        of_steps = all(one.labels is not None or one.reason for one in self.recordings)
        if listing.labels is not None and not (of_steps and y != "auto"):
            self.labels = listing.labels[self.segment_starts[:, 0]]
        elif of_steps:
            self.labels = self._labels(label)
        said = next(one.note for one in self.recordings if not one.reason)
        rates = sorted({one.rate for one in self.recordings} - {0})
        mixed = f"sound of {' and '.join(map(str, rates))} steps a second, as it is" if len(rates) > 1 else ""
        self.note = "; ".join(filter(None, [f"windows of {steps} steps", said, mixed, listing.note]))

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is sound, or a folder that holds some. Tables, whose rows may be samples or steps, and arrays are opened as
        ``recordings:PATH``."""
        if path.is_dir():
            return contains_files(path, SOUND_ENDINGS)
        return path.name.lower().endswith(SOUND_ENDINGS)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.ones(len(indices), bool)
        for position, index in enumerate(indices.tolist()):
            number, first = self.segment_starts[index].tolist()
            one, frames = self.recordings[number], self.cutting.frames(first)
            if one.reason or frames[-1] >= one.count:
                self.skipped[self.ids[index]] = one.reason or f"{one.count} steps, expected {self.cutting.span}"
                ok[position] = False
            else:
                rows[position] = one.values[:, frames.start : frames.stop : frames.step]
        return rows, ok

    def _labels(self, rule: str) -> np.ndarray:
        """(N,) of the windows."""
        found = []
        for number, start in self.segment_starts.tolist():
            frames, own = self.cutting.frames(start), self.recordings[number].labels
            if own is None or frames[-1] >= len(own):
                found.append("")  # a recording that cannot be read
                continue
            values, counts = np.unique(own[frames.start : frames.stop : frames.step], return_counts=True)
            found.append(values[-1 if rule == "largest" else counts.argmax()])
        return np.array(found)

    @staticmethod
    def example(folder: Path) -> tuple[str, dict[str, Any]]:
        """What the conformance kit opens."""
        from aekit.plugin import write_recording

        return str(write_recording(folder)), {"steps": 6, "stride": 3}
