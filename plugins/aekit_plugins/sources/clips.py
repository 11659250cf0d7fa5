"""Clips: windows of frames cut from videos, so that no frame is in two splits."""

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
    Resize,
    SampleSpec,
    Source,
    Video,
    VideoReader,
    WindowCutter,
    choose_spec,
    contains_files,
    list_folder,
)

Side = Annotated[int, Field(ge=1, le=8192)]
Size = Literal["auto"] | Side | Annotated[list[Side], Field(min_length=2, max_length=2)]
Count = Annotated[int, Field(ge=1)]

_STEP = Field(description="frames from one of a clip to its next: 2 takes every second, so that more happens in a clip")
_STRIDE = Field(description="frames from the start of a clip to that of the next; auto: clips follow one another")
_SIZE = Field(description="pixels, one side or [height, width]; auto: the common one of at most 512, or 64")
_TEST = Field(
    ge=0, lt=1, description="held out: the end of a video; of a folder, the last videos of each class; 0: none"
)
_GAP = Field(description="frames before the held-out end of a video that are in no clip; auto: as many as a clip spans")


class Clips(Source):
    """Cuts videos into clips (C, T, H, W) of the videos' own depth: video files, animated images, arrays of frames.

    Ids are ``name@first``, by the clip's first frame. One video is split in time; in a folder, folders are classes, and
    ``train``, ``val``, ``test`` at the top are splits. Videos are decoded in order, and never kept whole.

    Args:
        where: a video, an array of frames (T, H, W) or (T, H, W, C) in .npy or .npz, or a folder of videos.
        like: what an encoder takes: clips are of its length, step, size, channels and depth, whatever the options say.

    Raises:
        DataError: there are no videos, or the only one cannot be read or is too short. In a folder, such a video is one clip
            ``name@0`` that is skipped, with a reason; so are clips of frames that are damaged.
    """

    slow = True
    segment_starts: np.ndarray
    looks_for = f"videos: {', '.join(VIDEO_ENDINGS)}"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        frames: Annotated[int, Field(ge=2, description="of a clip")] = 8,
        step: Annotated[Count, _STEP] = 1,
        stride: Annotated[Literal["auto"] | Count, _STRIDE] = "auto",
        size: Annotated[Size, _SIZE] = "auto",
        resize: Annotated[Resize, Field(description="crop the center, pad with black, or stretch")] = "crop",
        gray: Annotated[bool, Field(description="clips of one channel, whatever the video has")] = False,
        test: Annotated[float, _TEST] = 0.2,
        gap: Annotated[Literal["auto"] | Annotated[int, Field(ge=0)], _GAP] = "auto",
    ) -> None:
        root, self.skipped = Path(where), {}
        listing = list_folder(root, VIDEO_ENDINGS, "videos") if root.is_dir() else Listing([root.name], [root])
        self.videos = [Video(path) for path in listing.paths]
        image = None
        if like is not None and like.is_clip:
            channels, frames, *sides = like.shape
            step = like.frame_step
            image = SampleSpec("image", (channels, *sides), like.dtype, like.resize)
        headers = [video.header for video in self.videos if not video.reason]
        self._frame, notes = choose_spec(headers, image, size, resize, 1 if gray else "auto")
        shape = (self._frame.shape[0], frames, *self._frame.shape[1:])
        self.spec = replace(self._frame, kind="clip", shape=shape, frame_step=step)
        self.cutting = WindowCutter(frames, step, frames * step if stride == "auto" else stride)
        self.segment_starts, self.ids, self.splits = self.cutting.cut_files(
            self.videos, listing, root.is_dir(), test, gap
        )
        self.labels = None if listing.labels is None else listing.labels[self.segment_starts[:, 0]]
        self.note = "; ".join(filter(None, [*notes, listing.note]))
        self._player: tuple[int, VideoReader | None] = (-1, None)

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is a video file, or a folder that holds one. Other videos are opened as ``clips:PATH``."""
        if path.is_dir():
            return contains_files(path, VIDEO_ENDINGS)
        return path.name.lower().endswith(VIDEO_ENDINGS)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = np.zeros((len(indices), *self.spec.shape), self.spec.dtype), np.zeros(len(indices), bool)
        # In the order of videos and frames, so that each video is decoded once a batch.
        for position in np.lexsort(self.segment_starts[indices].T[::-1]).tolist():
            index = int(indices[position])
            try:
                rows[position], ok[position] = self._clip(*self.segment_starts[index].tolist()), True
            except BadImage as error:
                self.skipped[self.ids[index]] = str(error)
        return rows, ok

    def _clip(self, video: int, first: int) -> np.ndarray:
        playing, player = self._player
        if player is None or playing != video:
            player = VideoReader(self.videos[video], self._frame, self.cutting.span)
            self._player = video, player
        return np.stack([player.frame(number) for number in self.cutting.frames(first)], 1)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        # Of the video's file, as the frames of a clip are gone when it has been read.
        moments = self.segment_starts[indices].tolist()
        return [f"{self.videos[video].fingerprint}@{first}/{self.cutting.step}" for video, first in moments]

    @staticmethod
    def example(folder: Path) -> tuple[str, dict[str, Any]]:
        """What the conformance kit opens."""
        from aekit.plugin import video

        return str(video(folder)), {"frames": 3, "stride": 1}
