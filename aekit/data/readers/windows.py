"""Which pieces long things are cut into, clips of videos and windows of recordings, and which of them are held out."""

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
        moments: (N, 2) number of the video and first frame.
        ids: (N,) ``name@first``.
        splits: (N,), or None.
    """

    segment_starts: np.ndarray
    ids: list[str]
    splits: np.ndarray | None


@dataclass(frozen=True)
class WindowCutter:
    """How videos are cut into clips, or recordings into windows.

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
        self,
        videos: Sequence[FrameSequence],
        listing: Listing,
        in_folder: bool,
        test: float,
        gap: int | Literal["auto"],
    ) -> Windows:
        """Of a folder of videos, which are in one split each, or of a single one, whose end is held out.

        Args:
            videos: F of them.
            listing: of the videos, with their names, classes and splits.
            in_folder: whether there may be several.
            test, gap: as `by_video` and `in_time` take them; a gap of ``auto`` is as long as a clip spans.

        Raises:
            DataError: the single video cannot be read, or a part of it is too short for a clip.
        """
        if in_folder:
            numbers, starts, splits = self.by_file(videos, listing.labels, listing.splits, test)
        else:
            starts, splits = self.hold_out_end(videos[0], test, self.span if gap == "auto" else gap)
            numbers = np.zeros_like(starts)
        ids = [f"{listing.ids[video]}@{first}" for video, first in zip(numbers.tolist(), starts.tolist())]
        return Windows(np.stack([numbers, starts], axis=1), ids, splits)

    def hold_out_end(self, video: FrameSequence, test: float, gap: int) -> tuple[np.ndarray, np.ndarray | None]:
        """First frames (N,) and splits (N,) of the clips of a video whose end is held out. No frame is in two splits.

        Args:
            video: that is cut.
            test: share that is held out; 0: nothing, and there are no splits.
            gap: frames before it that are in no clip.

        Raises:
            DataError: the video cannot be read, or a part is too short for a clip.
        """
        if video.reason:
            raise DataError(f"{video.path}: {video.reason}")
        cut = video.count - round(test * video.count)
        parts = {"train": (0, cut - gap), "test": (cut, video.count)} if test else {"": (0, video.count)}
        for split, (begin, end) in parts.items():
            if end - begin < self.span:
                part = f", {max(0, end - begin)} of them in the {split} part" if split else ""
                frames, clip = self.unit_names
                raise DataError(
                    f"{video.path}: {video.count} {frames}{part}; expected {self.span}, which a {clip} spans"
                )
        starts = {split: self.starts(*part) for split, part in parts.items()}
        splits = np.repeat(list(starts), [len(own) for own in starts.values()]) if test else None
        return np.concatenate(list(starts.values())), splits

    def by_file(
        self, videos: Sequence[FrameSequence], classes: np.ndarray | None, splits: np.ndarray | None, test: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Numbers of the videos (N,), first frames (N,) and splits (N,) of the clips of several videos, each in one split.

        A video that cannot be read, or is too short, has one clip, which cannot be read.

        Args:
            videos: F of them.
            classes: (F,) of the videos, or None.
            splits: (F,) of the videos; None: the last `test` of each class are held out, at least one of two or more.
            test: share; 0: nothing, and there are no splits.
        """
        starts = [self.starts(0, max(video.count, self.span)) for video in videos]
        if splits is None and test:
            splits = np.full(len(videos), "train")
            for name in set(classes.tolist()) if classes is not None else {None}:
                own = np.flatnonzero(classes == name) if classes is not None else np.arange(len(videos))
                held = min(len(own) - 1, max(1, round(test * len(own))))
                splits[own[len(own) - held :]] = "test"
        numbers = np.repeat(np.arange(len(videos)), [len(own) for own in starts])
        return numbers, np.concatenate(starts), None if splits is None else splits[numbers]
