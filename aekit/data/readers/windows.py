"""Cut videos into clips and recordings into windows, and hold some of them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from aekit.data.readers.image_lists import Listing
from aekit.errors import DataError


class FrameSequence(Protocol):
    """A file of frames or of steps.

    Attributes:
        count: number of frames or steps; 0 if it cannot be read.
        reason: why it cannot be read, or "".
        breaks: frames or steps after a gap, which no clip or window crosses.
    """

    path: Path
    count: int
    reason: str
    breaks: tuple[int, ...]


class Windows(NamedTuple):
    """Clips or windows, as `aekit.plugin.Source` describes them.

    Attributes:
        segment_starts: (N, 2) number of the video, and first frame.
        ids: (N,) ``name@first``.
        splits: (N,) or None.
    """

    segment_starts: np.ndarray
    ids: list[str]
    splits: np.ndarray | None


@dataclass(frozen=True)
class WindowCutter:
    """Cut videos into clips, or recordings into windows.

    Attributes:
        length: number of frames of a clip.
        step: distance between consecutive frames of a clip.
        stride: distance between the starts of consecutive clips, in frames.
        unit_names: names of a clip's units and of a clip, for messages.
    """

    length: int
    step: int
    stride: int
    unit_names: tuple[str, str] = ("frames", "clip")

    @property
    def span(self) -> int:
        """Number of frames from the first of a clip to its last, inclusive."""
        return (self.length - 1) * self.step + 1

    def frames(self, first: int) -> range:
        """Return the numbers of the frames of the clip that starts at `first`."""
        return range(first, first + self.span, self.step)

    def starts(self, begin: int, end: int, breaks: Sequence[int] = ()) -> np.ndarray:
        """Return the first frames (N,) of the clips in frames `begin` to `end`, exclusive, that do not cross a break."""
        edges = [begin, *(at for at in breaks if begin < at < end), end]
        parts = [np.arange(at, max(at, to - self.span + 1), self.stride) for at, to in pairwise(edges)]
        return np.concatenate(parts)

    def cut_files(
        self,
        videos: Sequence[FrameSequence],
        listing: Listing,
        in_folder: bool,
        test: float,
        gap: int | Literal["auto"],
    ) -> Windows:
        """Cut a folder of videos, each of which is in one split, or a single video, whose end is held out.

        Args:
            videos: F videos.
            listing: ids, classes and splits of the videos.
            in_folder: whether they come from a folder.
            test: as in `by_file`.
            gap: as in `hold_out_end`; ``auto``: the span of a clip.

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
        """Cut a video, and hold out its end; no frame is in two splits.

        Args:
            video: the video.
            test: fraction to hold out; 0: none, and there are no splits.
            gap: number of unused frames before the held-out part.

        Returns:
            first frames (N,) and splits (N,) of the clips.

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
                    f"{video.path}: {video.count} {frames}{part}; expected {self.span}, the span of a {clip}"
                )
        starts = {split: self.starts(*part, video.breaks) for split, part in parts.items()}
        for split, firsts in starts.items():
            if not len(firsts):
                frames, clip = self.unit_names
                where = f" in the {split} part" if split else ""
                raise DataError(f"{video.path}: no {clip} of {self.span} {frames} fits between two gaps{where}")
        splits = np.repeat(list(starts), [len(part) for part in starts.values()]) if test else None
        return np.concatenate(list(starts.values())), splits

    def by_file(
        self, videos: Sequence[FrameSequence], classes: np.ndarray | None, splits: np.ndarray | None, test: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Cut several videos, each of which is in one split.

        A video that cannot be read, or is too short, has one clip, which cannot be read.

        Args:
            videos: F videos.
            classes: (F,) classes of the videos, or None.
            splits: (F,) splits of the videos; None: the last ones of each class are held out, at least one of two or more.
            test: fraction to hold out; 0: none, and there are no splits.

        Returns:
            numbers of the videos (N,), first frames (N,) and splits (N,) of the clips.
        """
        starts = [self.starts(0, max(video.count, self.span), video.breaks) for video in videos]
        if splits is None and test:
            splits = np.full(len(videos), "train")
            for name in set(classes.tolist()) if classes is not None else {None}:
                members = np.flatnonzero(classes == name) if classes is not None else np.arange(len(videos))
                held_out = min(len(members) - 1, max(1, round(test * len(members))))
                splits[members[len(members) - held_out :]] = "test"
        numbers = np.repeat(np.arange(len(videos)), [len(part) for part in starts])
        return numbers, np.concatenate(starts), None if splits is None else splits[numbers]
