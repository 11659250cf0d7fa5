"""Clips: windows of frames cut from videos, with no frame in two splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from aekit.plugin import (
    VIDEO_ENDINGS,
    BadImage,
    Field,
    Listing,
    MetadataOption,
    Resize,
    SampleSpec,
    Source,
    Video,
    VideoReader,
    WindowCutter,
    choose_spec,
    contains_files,
    describe_files,
    list_folder,
)

Side = Annotated[int, Field(ge=1, le=8192)]
Size = Literal["auto"] | Side | Annotated[list[Side], Field(min_length=2, max_length=2)]
Count = Annotated[int, Field(ge=1)]

_OTHER_RATE = 1.1
"""Ratio of frame rates from which on they are said to differ."""
_STEP = Field(description="step between frames of a clip: 2 takes every second frame, so that a clip spans more time")
_STRIDE = Field(description="frames between the starts of consecutive clips; auto: clips do not overlap")
_SIZE = Field(
    description="size in pixels, one side or [height, width]; auto: the size that all frames share, up to 96, else 64"
)
_TEST = Field(
    ge=0, lt=1, description="held-out fraction: the end of a video; in a folder, the last videos of each class; 0: none"
)
_GAP = Field(description="unused frames before the held-out end of a video; auto: the span of a clip")


class Clips(Source):
    """Cut videos into clips (C, T, H, W) of the videos' bit depth: video files, animated images, arrays of frames.

    Ids are ``name@first``, with the clip's first frame. A single video is split in time; in a folder, subfolders are classes,
    and ``train``, ``val``, ``test`` at the top are splits. Videos are decoded in order and never held in memory whole.

    Args:
        where: a video, an array of frames (T, H, W) or (T, H, W, C) in .npy or .npz, or a folder of videos.
        like: spec of an encoder's input; overrides length, step, size, channels and depth.

    Raises:
        DataError: there are no videos, or the only one is unreadable or too short. In a folder, such a video becomes one clip
            ``name@0`` that is skipped with a reason, as are clips with damaged frames.
    """

    slow = True
    segment_starts: np.ndarray
    endings = VIDEO_ENDINGS
    looks_for = f"videos: {', '.join(VIDEO_ENDINGS)}"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        frames: Annotated[int, Field(ge=2, description="frames of a clip")] = 8,
        frame_step: Annotated[Count, _STEP] = 1,
        stride: Annotated[Literal["auto"] | Count, _STRIDE] = "auto",
        size: Annotated[Size, _SIZE] = "auto",
        resize: Annotated[Resize, Field(description="crop the center, pad with black or stretch")] = "crop",
        grayscale: Annotated[bool, Field(description="convert clips to one channel")] = False,
        test: Annotated[float, _TEST] = 0.2,
        gap: Annotated[Literal["auto"] | Annotated[int, Field(ge=0)], _GAP] = "auto",
        metadata: MetadataOption = "auto",
    ) -> None:
        root, self.skipped = Path(where), {}
        listing = list_folder(root, VIDEO_ENDINGS, "videos") if root.is_dir() else Listing([root.name], [root])
        listing = describe_files(listing, root, metadata)
        self.videos = [Video(path) for path in listing.paths]
        image = None
        if like is not None and like.is_clip:
            channels, frames, *sides = like.shape
            frame_step = like.frame_step
            image = SampleSpec("image", (channels, *sides), like.dtype, like.resize)
        headers = [video.header for video in self.videos if not video.reason]
        self._frame, notes = choose_spec(headers, image, size, resize, 1 if grayscale else "auto", source="clips")
        shape = (self._frame.shape[0], frames, *self._frame.shape[1:])
        self.spec = replace(self._frame, kind="clip", shape=shape, frame_step=frame_step)
        self.cutting = WindowCutter(frames, frame_step, frames * frame_step if stride == "auto" else stride)
        self.segment_starts, self.ids, self.splits = self.cutting.cut_files(
            self.videos, listing, root.is_dir(), test, gap
        )
        self.labels = None if listing.labels is None else listing.labels[self.segment_starts[:, 0]]
        if listing.metadata is not None:
            self.metadata = listing.metadata.repeated(self.segment_starts[:, 0].tolist())
        self.notes, self.losses = (*notes, *filter(None, [listing.note, self._rates()])), listing.losses
        self._reader: tuple[int, VideoReader | None] = (-1, None)

    def _rates(self) -> str:
        """Return a line on videos of different frame rates, of which a clip takes as many frames; "" where they are alike."""
        rates = [video.rate for video in self.videos if video.rate]
        if not rates or max(rates) < _OTHER_RATE * min(rates):
            return ""
        return f"videos of {min(rates):.4g} to {max(rates):.4g} frames per second: clips differ in duration"

    @staticmethod
    def claims(path: Path) -> bool:
        """Return True for a video file or a folder that holds one. Open other videos as ``clips:PATH``."""
        if path.is_dir():
            return contains_files(path, VIDEO_ENDINGS)
        return path.name.lower().endswith(VIDEO_ENDINGS)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.zeros(len(indices), bool)
        # In the order of videos and frames, to decode each video once per batch.
        for position in np.lexsort(self.segment_starts[indices].T[::-1]).tolist():
            index = int(indices[position])
            try:
                rows[position], ok[position] = self._clip(*self.segment_starts[index].tolist()), True
            except BadImage as error:
                self.skipped[self.ids[index]] = str(error)
        return rows, ok

    def _clip(self, video: int, first: int) -> np.ndarray:
        current, reader = self._reader
        if reader is None or current != video:
            reader = VideoReader(self.videos[video], self._frame, self.cutting.span)
            self._reader = video, reader
        return np.stack([reader.frame(number) for number in self.cutting.frames(first)], 1)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        # Of the video's file, because the frames of a clip are not kept after it was read.
        starts = self.segment_starts[indices].tolist()
        return [f"{self.videos[video].fingerprint}@{first}/{self.cutting.step}" for video, first in starts]

    @staticmethod
    def example(folder: Path) -> tuple[str, dict[str, Any]]:
        """Return an example for the conformance kit to open."""
        from aekit.plugin import video

        return str(video(folder)), {"frames": 3, "stride": 1}
