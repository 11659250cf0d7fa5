"""Which pieces long things are cut into, clips of films and windows of recordings, and which of them are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from aekit.data.readers.image_lists import Listing
from aekit.errors import DataError


class FrameSequence(Protocol):
    """What is cut: a file of frames, or of steps.

    Attributes:
        count: of them; 0 where it cannot be read.
        reason: why it cannot be read, or "".
    """

    path: Path
    count: int
    reason: str


class Windows(NamedTuple):
    """Clips or windows, as `aekit.Source` describes them.

    Attributes:
        moments: (N, 2) number of the film and first frame.
        ids: (N,) ``name@first``.
        splits: (N,), or None.
    """

    segment_starts: np.ndarray
    ids: list[str]
    splits: np.ndarray | None


@dataclass(frozen=True)
class WindowCutter:
    """How films are cut into clips, or recordings into windows.

    Attributes:
        length: frames of a clip.
        step: frames from one of a clip to its next.
        stride: frames from the start of a clip to that of the next.
        words: what frames and clips are called.
    """

    length: int
    step: int
    stride: int
    unit_names: tuple[str, str] = ("frames", "clip")

    @property
    def span(self) -> int:
        """Frames from the first of a clip to its last, both counted."""
        return (self.length - 1) * self.step + 1

    def frames(self, first: int) -> range:
        """Numbers of the frames of the clip that starts at `first`."""
        return range(first, first + self.span, self.step)

    def starts(self, begin: int, end: int) -> np.ndarray:
        """(N,) first frames of the clips in frames `begin` to `end`, which is left out."""
        return np.arange(begin, max(begin, end - self.span + 1), self.stride)

    def cut_files(
        self, films: Sequence[FrameSequence], listing: Listing, in_folder: bool, test: float, gap: int | Literal["auto"]
    ) -> Windows:
        """Of a folder of films, which are in one split each, or of a single one, whose end is held out.

        Args:
            films: F of them.
            listing: of the films, with their names, classes and splits.
            in_folder: whether there may be several.
            test, gap: as `by_film` and `in_time` take them; a gap of ``auto`` is as long as a clip spans.

        Raises:
            DataError: the single film cannot be read, or a part of it is too short for a clip.
        """
        if in_folder:
            numbers, starts, splits = self.by_file(films, listing.labels, listing.splits, test)
        else:
            starts, splits = self.hold_out_end(films[0], test, self.span if gap == "auto" else gap)
            numbers = np.zeros_like(starts)
        ids = [f"{listing.ids[film]}@{first}" for film, first in zip(numbers.tolist(), starts.tolist())]
        return Windows(np.stack([numbers, starts], axis=1), ids, splits)

    def hold_out_end(self, film: FrameSequence, test: float, gap: int) -> tuple[np.ndarray, np.ndarray | None]:
        """First frames (N,) and splits (N,) of the clips of a film whose end is held out. No frame is in two splits.

        Args:
            film: that is cut.
            test: share that is held out; 0: nothing, and there are no splits.
            gap: frames before it that are in no clip.

        Raises:
            DataError: the film cannot be read, or a part is too short for a clip.
        """
        if film.reason:
            raise DataError(f"{film.path}: {film.reason}")
        cut = film.count - round(test * film.count)
        parts = {"train": (0, cut - gap), "test": (cut, film.count)} if test else {"": (0, film.count)}
        for split, (begin, end) in parts.items():
            if end - begin < self.span:
                part = f", {max(0, end - begin)} of them in the {split} part" if split else ""
                frames, clip = self.unit_names
                raise DataError(f"{film.path}: {film.count} {frames}{part}; expected {self.span}, which a {clip} spans")
        starts = {split: self.starts(*part) for split, part in parts.items()}
        splits = np.repeat(list(starts), [len(own) for own in starts.values()]) if test else None
        return np.concatenate(list(starts.values())), splits

    def by_file(
        self, films: Sequence[FrameSequence], classes: np.ndarray | None, splits: np.ndarray | None, test: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Numbers of the films (N,), first frames (N,) and splits (N,) of the clips of several films, each in one split.

        A film that cannot be read, or is too short, has one clip, which cannot be read.

        Args:
            films: F of them.
            classes: (F,) of the films, or None.
            splits: (F,) of the films; None: the last `test` of each class are held out, at least one of two or more.
            test: share; 0: nothing, and there are no splits.
        """
        starts = [self.starts(0, max(film.count, self.span)) for film in films]
        if splits is None and test:
            splits = np.full(len(films), "train")
            for name in set(classes.tolist()) if classes is not None else {None}:
                own = np.flatnonzero(classes == name) if classes is not None else np.arange(len(films))
                held = min(len(own) - 1, max(1, round(test * len(own))))
                splits[own[len(own) - held :]] = "test"
        numbers = np.repeat(np.arange(len(films)), [len(own) for own in starts])
        return numbers, np.concatenate(starts), None if splits is None else splits[numbers]
