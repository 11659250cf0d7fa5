"""Read images of DICOM files as a viewer shows them: with the window that the file states, black as the lowest value."""

from __future__ import annotations

import importlib.util
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.readers._image_pages import ImagePage
from aekit.data.readers.endings import DICOM_ENDINGS
from aekit.io.memory import check_memory

MISSING_DICOM = "DICOM images need pydicom: pip install 'aekit[dicom]'"
_DEFERRED = 4096
"""Bytes from which an element of a file is read when it is asked for."""
_PREFIX = 128
"""Bytes before the letters DICM."""
_COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_422", "YBR_PARTIAL_420")


def has_pydicom() -> bool:
    """Return whether pydicom is installed."""
    return importlib.util.find_spec("pydicom") is not None


def is_dicom(content: Path | bytes) -> bool:
    """Return whether a file is called as DICOM files are, or whether bytes begin as one."""
    if isinstance(content, Path):
        return content.suffix.lower() in DICOM_ENDINGS
    return content[_PREFIX : _PREFIX + 4] == b"DICM"


class DicomPage(ImagePage):
    """A frame of a DICOM file.

    Gray values fill the range of uint16, or of uint8 if 8 bits are stored and there is no window: those of the window that the
    file states, or all that its bits may hold. Values of 32 bits, such as doses, are float32.
    """

    def __init__(self, dataset: Any, frame: int) -> None:
        if "PixelData" not in dataset or "Rows" not in dataset:
            raise ValueError(f"no image, but {str(dataset.get('Modality', 'data'))[:40]}")
        self._dataset, self._frame = dataset, frame
        self.height, self.width = int(dataset.Rows), int(dataset.Columns)
        self.pages = max(1, int(dataset.get("NumberOfFrames") or 1))
        self._interpretation = str(dataset.PhotometricInterpretation)
        is_gray = self._interpretation in ("MONOCHROME1", "MONOCHROME2")
        if not is_gray and self._interpretation not in (*_COLORS, "PALETTE COLOR"):
            raise ValueError(f"pixels of {self._interpretation[:40]!r}; expected gray, RGB, YBR or a palette")
        self.bands = 1 if is_gray else 3
        bits = int(dataset.BitsAllocated)
        if bits > 16 and not is_gray:
            raise ValueError(f"color of {bits} bits; expected 8 or 16")
        self.dtype = "uint8" if int(dataset.BitsStored) <= 8 and not self._window() else "uint16"
        if bits > 16:
            self.dtype = "float32"
        if self._interpretation == "PALETTE COLOR":
            self.dtype = "uint16" if int(dataset.RedPaletteColorLookupTableDescriptor[2]) > 8 else "uint8"
        self.has_alpha = False

    def read(self) -> np.ndarray:
        from pydicom.pixels import apply_color_lut, pixel_array

        stored = np.asarray(pixel_array(self._dataset, index=self._frame))
        if self._interpretation == "PALETTE COLOR":
            return apply_color_lut(stored, self._dataset).astype(self.dtype)
        if self.bands == 3:
            return stored
        return (stored.astype(np.float32) if self.dtype == "float32" else self._shown(stored))[:, :, None]

    def _shown(self, stored: np.ndarray) -> np.ndarray:
        """Return gray values (H, W) as they are shown."""
        bits, is_signed = int(self._dataset.BitsStored), bool(self._dataset.get("PixelRepresentation"))
        if window := self._window():
            from pydicom.pixels import apply_modality_lut

            center, width = window
            values = apply_modality_lut(stored, self._dataset).astype(np.float64)
            # DICOM PS3.3, C.11.2.1.2: the linear function of a window.
            share = (values - (center - 0.5)) / max(width - 1, 1e-6) + 0.5
        else:
            lowest = -(2 ** (bits - 1)) if is_signed else 0
            share = (stored.astype(np.float64) - lowest) / (2**bits - 1)
        share = np.clip(share, 0, 1)
        if self._interpretation == "MONOCHROME1":
            share = 1 - share
        return np.rint(share * np.iinfo(self.dtype).max).astype(self.dtype)

    def _window(self) -> tuple[float, float] | None:
        """Return center and width of the first window."""
        center, width = (self._dataset.get(name) for name in ("WindowCenter", "WindowWidth"))
        if center in (None, "") or width in (None, "") or self.bands != 1:
            return None
        first = [
            value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value for value in (center, width)
        ]
        return float(first[0]), float(first[1])


@contextmanager
def open_dicom(path: Path | bytes, frame: int = 0) -> Iterator[DicomPage]:
    """Open a frame of a DICOM file, or of the bytes of one.

    Raises:
        ValueError or what pydicom raises: it cannot be read, also while it is open.
    """
    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # what is wrong with a file is in its reason
    size = len(path) if isinstance(path, bytes) else path.stat().st_size
    check_memory(3 * size, "its content")
    # Pixels are read when they are asked for: most often, only the header is.
    file, later = (io.BytesIO(path), None) if isinstance(path, bytes) else (path, _DEFERRED)
    yield DicomPage(pydicom.dcmread(file, defer_size=later), frame)
