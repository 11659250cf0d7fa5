"""Read frames of videos in order: video files by PyAV, animated images by Pillow, and arrays of frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit.data.readers._image_files import MAX_MEGAPIXELS, open_pillow, quiet_pillow, reading_frames
from aekit.data.readers.image_headers import BadImage, Header, header_of
from aekit.data.readers.images import image_to_array
from aekit.data.readers.numpy_files import read_npy, read_npz
from aekit.data.reading import check_mapped, hash_content, reading
from aekit.data.spec import SampleSpec
from aekit.errors import DataError, importing

ANIMATED = (".apng", ".gif", ".webp")
ARRAYS = (".npy", ".npz")
ANIMATED_FORMATS = ("PNG", "GIF", "WEBP")
CONTAINERS = "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,m4v,h264,hevc,asf,ogg,flv,ivf"
"""FFmpeg's names of the formats that videos may have, whatever their ending is."""

_TURNS = {
    90: Image.Transpose.ROTATE_90,
    -90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
}
_SIDEWAYS = (90, -90)
"""Degrees by which frames are turned, against the clock, of which these swap height and width."""
Frame = Any
"""An image of Pillow, a frame of PyAV, or an array (H, W) or (H, W, C); `fit_frame` converts them."""


class Video:
    """A file of frames, of which only the header is read.

    Attributes:
        path: the file.
        header: header of its frames.
        count: number of frames according to the file; 0 if it cannot be read.
        rate: frames per second in the mean; 0 if unknown.
        reason: why it cannot be read, or "".
        breaks: (), as frames follow each other.
    """

    breaks: tuple[int, ...] = ()
    header: Header
    count: int = 0
    rate: float = 0.0
    reason: str = ""

    def __init__(self, path: Path) -> None:
        self.path, ending = path, path.suffix.lower()
        self._array: np.ndarray | None = None
        readers = dict.fromkeys(ARRAYS, self._read_array) | dict.fromkeys(ANIMATED, self._read_image_header)
        read = readers.get(ending, self._read_video_header)
        if read == self._read_video_header:
            _pyav(path)  # without which no video can be read
        try:
            with reading(path):
                read()
        except DataError as error:
            self.reason = str(error).removeprefix(f"{path}: ")

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `first` on.

        Raises:
            BadImage: it cannot be decoded.
        """
        if self.reason:
            raise BadImage(self.reason)
        if self._array is not None:
            for frame in self._array[first:]:
                check_mapped(self._array)
                yield frame
        elif self.path.suffix.lower() in ANIMATED:
            yield from self._decode_image(first)
        else:
            yield from self._decode_video(first)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the file."""
        return hash_content(self.path)

    def _read_array(self) -> None:
        array = read_npy(self.path) if self.path.suffix.lower() == ".npy" else read_npz(self.path, y="none")[0]
        pixels = array.ndim == 4 and array.shape[-1] in (1, 3, 4)
        if not (array.ndim == 3 or pixels) or array.dtype.kind not in "uif" or 0 in array.shape[1:]:
            raise BadImage(f"{array.dtype} of shape {array.shape}: expected frames (T, H, W) or (T, H, W, C)")
        self._array, self.count = array, len(array)
        height, width = array.shape[1:3]
        self.header = Header((height, width), pixels and array.shape[-1] > 1, str(array.dtype), depth_reduced=False)

    def _read_image_header(self) -> None:
        with reading_frames("not an animated image that Pillow reads"), quiet_pillow(), self._open_image() as image:
            self.header, self.count = header_of(image), getattr(image, "n_frames", 1)

    def _open_image(self) -> Image.Image:
        return open_pillow(self.path, ANIMATED_FORMATS)

    def _decode_image(self, first: int) -> Iterator[Frame]:
        number, image = first, None
        try:
            while number < self.count:
                with reading_frames("damaged"), quiet_pillow():
                    image = self._open_image() if image is None else image
                    image.seek(number)
                    frame = image.copy()
                yield frame
                number += 1
        finally:
            if image is not None:
                image.close()

    def _read_video_header(self) -> None:
        with reading_frames("not a video that PyAV reads"), self._open_video() as container:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                raise BadImage("no video stream")
            stream = container.streams.video[0]
            context = stream.codec_context
            if context.height * context.width > MAX_MEGAPIXELS * 1e6:
                raise BadImage(
                    f"frames of {context.width}x{context.height} pixels, more than {MAX_MEGAPIXELS:.0f} million"
                )
            self.rate = float(stream.average_rate or 0)
            gray = str(context.pix_fmt).startswith(("gray", "mono"))
            # Not every container states its number of frames, and a frame takes at least a byte.
            is_known = 0 < stream.frames <= self.path.stat().st_size
            self.count = stream.frames if is_known else sum(1 for packet in container.demux(stream) if packet.size)
            size = (context.height, context.width)
            is_turned = "mov" in container.format.name and _turn_of_first(container, stream) in _SIDEWAYS
            self.header = Header(size[::-1] if is_turned else size, not gray, "uint8", depth_reduced=False)

    def _open_video(self) -> Any:
        # Playlists and the like, of any ending, would name other files and addresses.
        return _pyav(self.path).open(str(self.path), options={"format_whitelist": CONTAINERS})

    def _decode_video(self, first: int) -> Iterator[Frame]:
        container = None
        try:
            with reading_frames("damaged"):
                container = self._open_video()
                decoded = container.decode(container.streams.video[0])
            # Seeking is by time, which does not determine the number of a frame if the frame rate varies.
            for number in count():
                with reading_frames("damaged"):
                    frame = next(decoded, None)
                if frame is None:
                    return
                if number >= first:
                    yield frame
        finally:
            if container is not None:
                container.close()


class VideoReader:
    """Read frames of one video as (C, H, W), and keep the last few, so that overlapping clips are decoded once.

    Args:
        video: the video.
        spec: spec of a frame, (C, H, W).
        keep: number of frames to keep.
    """

    def __init__(self, video: Video, spec: SampleSpec, keep: int) -> None:
        self.video, self.spec, self.keep = video, spec, keep
        self._kept: deque[tuple[int, np.ndarray]] = deque(maxlen=keep)
        self._next, self._frames = 0, video.frames()
        self._broken: tuple[int, str] | None = None

    def frame(self, number: int) -> np.ndarray:
        """Return frame `number` as (C, H, W) of spec.dtype; fast if numbers rise, or fall by less than `keep`.

        Raises:
            BadImage: there is no such frame, or it cannot be decoded.
        """
        for kept, values in self._kept:
            if kept == number:
                return values
        if self._broken and number >= self._broken[0]:
            raise BadImage(self._broken[1])
        if number < self._next:
            self._next, self._frames = number, self.video.frames(number)
            self._kept.clear()
        while self._next <= number:
            try:
                frame = next(self._frames, None)
                if frame is None:
                    raise BadImage(f"ends after {self._next} frames")
                if self._next > number - self.keep:
                    self._kept.append((self._next, fit_frame(frame, self.spec)))
            except BadImage as error:
                self._broken = self._next, str(error)
                raise
            self._next += 1
        return self._kept[-1][1]


def fit_frame(frame: Frame, spec: SampleSpec) -> np.ndarray:
    """Convert a frame to (C, H, W) of `spec`.

    Raises:
        BadImage: it is an array that cannot be converted.
    """
    if isinstance(frame, np.ndarray):
        first = frame[None] if frame.ndim == 2 else np.moveaxis(frame, -1, 0)
        if (first.shape, str(first.dtype)) == (spec.shape, spec.dtype):
            return first
        if frame.dtype != np.uint8:
            size = "x".join(map(str, first.shape))
            raise BadImage(f"frames {size} {frame.dtype}, expected {spec}; only 8-bit frames are resized and converted")
        frame = Image.fromarray(first[0] if len(first) == 1 else np.ascontiguousarray(frame))
    if not isinstance(frame, Image.Image):
        image, turn = frame.to_image(), _TURNS.get(frame.rotation)
        frame = image if turn is None else image.transpose(turn)
    return image_to_array(frame, spec)


def _turn_of_first(container: Any, stream: Any) -> int:
    """Return by how many degrees the first frame is shown turned, as telephones write that they were held upright."""
    container.seek(0)
    frame = next(container.decode(stream), None)
    return 0 if frame is None else int(frame.rotation)


def _pyav(path: Path) -> Any:
    with importing(f"{path}: reading videos needs PyAV", "pip install 'aekit[video]'"):
        import av
    return av
