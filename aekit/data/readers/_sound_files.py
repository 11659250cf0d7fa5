"""Read sound: .wav files with scipy, other formats with soundfile, and resample it."""

from __future__ import annotations

import importlib.util
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.reading import reading
from aekit.errors import DataError
from aekit.io.memory import check_memory

HIGHEST_RATE = 10_000_000
"""Highest sampling rate in Hz."""
_UNKNOWN_SIZE = 0x7FFF_0000
"""Sizes in the header of a WAV file from which on they are not known."""
MISSING_SOUNDFILE = "{} files need soundfile: pip install 'aekit[audio]'"


def read_sound(path: Path) -> tuple[int, np.ndarray]:
    """Read the sampling rate in Hz, and (channels, T) float32; integers of any width are scaled to -1..1.

    Raises:
        DataError: it is damaged, or needs soundfile, which is not installed.
    """
    ending = path.suffix.lower()
    if ending == ".wav":
        try:
            return _checked(path, *_read_wav(path))
        except DataError:
            if not has_soundfile():
                raise
    elif not has_soundfile():
        raise DataError(f"{path}: {MISSING_SOUNDFILE.format(ending)}")
    import soundfile

    with reading(path, f"not a readable {ending} file"), soundfile.SoundFile(path) as sound:
        check_memory(max(sound.frames, 0) * sound.channels * 4, f"{path}: {sound.frames:,} steps of sound")
        values, rate = sound.read(dtype="float32", always_2d=True), sound.samplerate
    return _checked(path, int(rate), np.ascontiguousarray(values.T))


def is_cut_off(path: Path) -> bool:
    """Return whether a WAV file is shorter than it says, as after a download or a recorder that stopped.

    Programs that write to a pipe say the largest sizes there are, as they do not know it.
    """
    with reading(path), path.open("rb") as file:
        head = file.read(12)
    size = int.from_bytes(head[4:8], "little")
    return head[:4] == b"RIFF" and head[8:] == b"WAVE" and path.stat().st_size < size + 8 and size < _UNKNOWN_SIZE


def _checked(path: Path, rate: int, values: np.ndarray) -> tuple[int, np.ndarray]:
    if not 0 < rate <= HIGHEST_RATE:
        raise DataError(f"{path}: a sampling rate of {rate} Hz: expected 1 to {HIGHEST_RATE:,}")
    if not values.size:
        raise DataError(f"{path}: holds no sound")
    return rate, values


def has_soundfile() -> bool:
    """Return whether soundfile is installed."""
    return importlib.util.find_spec("soundfile") is not None


def resample_sound(values: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resample (channels, T) from one rate to another, with a filter against aliasing."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, new_rate)
    up, down = new_rate // common, rate // common
    wanted = 8 * (20 * max(up, down) + values.size * up // down)  # of the filter, and of the result
    check_memory(wanted, f"sound of {rate} Hz, resampled to {new_rate} Hz,")
    return resample_poly(values, up, down, axis=1).astype(np.float32)


def _read_wav(path: Path) -> tuple[int, np.ndarray]:
    from scipy.io import wavfile

    with reading(path, "not a readable .wav file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # about metadata that it skips
        rate, raw = wavfile.read(path)
        values: np.ndarray[Any, Any] = raw.reshape(len(raw), -1).T
        if values.dtype == np.uint8:
            return rate, (values.astype(np.float32) - 128) / 128
        if values.dtype.kind == "i":
            return rate, values.astype(np.float32) / float(-np.iinfo(values.dtype).min)
        return rate, np.ascontiguousarray(values, np.float32)
