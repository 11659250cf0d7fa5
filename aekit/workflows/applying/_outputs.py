"""Write the output samples of a task to memory or to files that aekit can open as a source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from PIL import Image

from aekit.data.readers.endings import IMAGE_ENDINGS
from aekit.data.spec import SampleSpec
from aekit.errors import DataError

NAME = "samples"
_SUFFIXES = {
    ("uint8", 1): ".png",
    ("uint8", 3): ".png",
    ("uint8", 4): ".png",
    ("uint16", 1): ".png",
    ("float32", 1): ".tif",
}
_MAX_BYTES = 200
"""Bytes of a file name without suffix; file systems allow about 255."""


class SampleWriter:
    """Write samples: an image file for each if the inputs were image files, else one .npy file; without a folder, keep them in
    memory.

    Args:
        folder: to write ``samples/`` or ``samples.npy`` into, or None.
        spec: spec of the samples.
        names: names of all samples. Image files keep their folders and get the suffix of `image_suffix`.
        image_files: whether the inputs were image files; by default it is concluded from the endings of the names.
    """

    def __init__(
        self, folder: Path | None, spec: SampleSpec, names: Sequence[str], *, image_files: bool = False
    ) -> None:
        self.folder, self.spec, self.dtype, self.count = folder, spec, np.dtype(spec.dtype), 0
        self.values: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = spec.shape
        self._suffix = image_suffix(spec)
        self.as_images = bool(self._suffix and len(names)) and (image_files or all(map(_ending, names)))
        stems = Counter(_stem(name) for name in names) if self.as_images else Counter()
        self._shared = {stem for stem, count in stems.items() if count > 1}
        self._written: set[str] = set()

    @property
    def samples_path(self) -> str | None:
        """The path for `aekit.open_data`, relative to the folder; None in memory."""
        return None if self.folder is None else NAME if self.as_images else f"{NAME}.npy"

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Add (B, *shape) values of the dtype; images of one call have the same size.

        Raises:
            DataError: the shape differs from earlier samples of the .npy file.
        """
        if self.folder is None:
            self.values += list(values)
        elif self.as_images:
            for name, value in zip(names, values):
                write_image(self.folder / NAME / self._path(name), value)
        else:
            if self._file is None:
                self._shape = values.shape[1:]
                self._file = (self.folder / f"{NAME}.npy").open("wb")
                self._header(0)
            if values.shape[1:] != self._shape:
                self._file.close()
                actual, first = ("x".join(map(str, shape)) for shape in (values.shape[1:], self._shape))
                raise DataError(
                    f"{names[0]}: the output is {actual}, that of the first sample {first}; "
                    f"outputs of different sizes need image files, which cannot hold {self.spec}"
                )
            self._file.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self.count += len(values)

    def close(self) -> np.ndarray | list[np.ndarray] | None:
        """Finish writing; return (N, *shape) values in memory, or a list if sizes differ; None if they were written."""
        if self._file is not None:
            self._file.seek(0)
            self._header(self.count)  # NumPy pads the header for any number of rows
            self._file.close()
        if self.folder is not None:
            return None
        return np.stack(self.values) if len({value.shape for value in self.values}) == 1 else self.values

    def _path(self, name: str) -> str:
        """Return the relative path of an output image, different for each sample."""
        stem = _stem(name)
        # photo.jpg and photo.bmp would both become photo.png: keep their suffixes in the names.
        if stem in self._shared and (ending := _ending(name)):
            stem = f"{stem}-{ending[1:]}"
        path, number = f"{stem}{self._suffix}", 1
        while path.casefold() in self._written:  # ids that differ only in case, or in characters that are replaced
            number += 1
            path = f"{stem}-{number}{self._suffix}"
        self._written.add(path.casefold())
        return path

    def _header(self, count: int) -> None:
        assert self._file is not None
        header: dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": (count, *self._shape)})


def image_suffix(spec: SampleSpec) -> str:
    """Return the suffix of image files that hold such samples losslessly, or "".

    PNG holds 8-bit grayscale, RGB and RGBA, and 16-bit grayscale; TIFF holds grayscale floats.
    """
    return _SUFFIXES.get((spec.dtype, spec.shape[0]), "") if spec.is_image else ""


def write_image(path: Path, value: np.ndarray) -> None:
    """Write a (C, H, W) image in the format of its suffix; see `image_suffix`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(value[0] if len(value) == 1 else value.transpose(1, 2, 0)).save(path)


def _ending(name: str) -> str:
    """Return the image ending of a name, such as ``.jpg``, or ""; other dots belong to the name."""
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in IMAGE_ENDINGS else ""


def _stem(name: str) -> str:
    """Return the relative path of an output image without suffix, always inside the folder."""
    parts = PurePosixPath(name.removesuffix(_ending(name))).parts
    cleaned = [re.sub(r'[\x00-\x1f<>:"|?*\\]', "_", part) for part in parts if part not in ("..", "/", "//")]
    short = [part.encode()[:_MAX_BYTES].decode(errors="ignore") for part in cleaned]
    return "/".join(short) or "sample"
