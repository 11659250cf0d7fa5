"""Write the output samples of a task to memory or to files that aekit can open as a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from PIL import Image

from aekit.data.readers.image_headers import IMAGE_ENDINGS
from aekit.data.spec import SampleSpec

NAME = "samples"


class SampleWriter:
    """Write samples: PNG files if the inputs were image files, else one .npy file; without a folder, keep them in memory.

    Args:
        folder: to write ``samples/`` or ``samples.npy`` into, or None.
        spec: spec of the samples.
        names: names of all samples. Image files keep their folders and get the suffix ``.png``.
    """

    def __init__(self, folder: Path | None, spec: SampleSpec, names: Sequence[str]) -> None:
        self.folder, self.dtype, self.count = folder, np.dtype(spec.dtype), 0
        self.values: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = spec.shape
        self.as_images = supports_png(spec) and bool(len(names)) and all(map(_is_image, names))
        stems = Counter(_target(name) for name in names) if self.as_images else Counter()
        self._shared = {stem for stem, count in stems.items() if count > 1}

    @property
    def samples_path(self) -> str | None:
        """The path for `aekit.open_data`, relative to the folder; None in memory."""
        return None if self.folder is None else NAME if self.as_images else f"{NAME}.npy"

    def add(self, names: Sequence[str], values: np.ndarray) -> None:
        """Add (B, *shape) values of the dtype; images of one call have the same size."""
        self.count += len(values)
        if self.folder is None:
            self.values += list(values)
        elif self.as_images:
            for name, value in zip(names, values):
                target = _target(name)
                # photo.jpg and photo.bmp would both become photo.png: keep their suffixes in the names.
                path = PurePosixPath(
                    f"{target.with_suffix('')}-{_suffix(name)}.png" if target in self._shared else target
                )
                write_png(self.folder / NAME / path, value)
        else:
            if self._file is None:
                self._shape = values.shape[1:]
                self._file = (self.folder / f"{NAME}.npy").open("wb")
                self._header(0)
            self._file.write(np.ascontiguousarray(values).tobytes())

    def close(self) -> np.ndarray | list[np.ndarray] | None:
        """Finish writing; return (N, *shape) values in memory, or a list if sizes differ; None if they were written."""
        if self._file is not None:
            self._file.seek(0)
            self._header(self.count)  # NumPy pads the header for any number of rows
            self._file.close()
        if self.folder is not None:
            return None
        return np.stack(self.values) if len({value.shape for value in self.values}) == 1 else self.values

    def _header(self, count: int) -> None:
        assert self._file is not None
        header: dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": (count, *self._shape)})


def supports_png(spec: SampleSpec) -> bool:
    """Return whether PNG files hold such samples losslessly: 8-bit grayscale, RGB or RGBA, or 16-bit grayscale."""
    return spec.is_image and (spec.dtype, spec.shape[0]) in {
        ("uint8", 1),
        ("uint8", 3),
        ("uint8", 4),
        ("uint16", 1),
    }


def write_png(path: Path, value: np.ndarray) -> None:
    """Write a (C, H, W) image that `supports_png`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(value[0] if len(value) == 1 else value.transpose(1, 2, 0)).save(path, "PNG")


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_ENDINGS)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.removeprefix(".")


def _target(name: str) -> PurePosixPath:
    """Return the relative path of an output image, always inside the folder."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("..", "/")]
    return PurePosixPath(*parts).with_suffix(".png")
