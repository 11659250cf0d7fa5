"""Read sound: .wav files with scipy, other formats with soundfile, and resample it."""

from __future__ import annotations

import importlib.util
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from aekit.errors import DataError

SOUND_ENDINGS = (".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
MISSING_SOUNDFILE = "{} files need soundfile: pip install 'aekit[audio]'"


def read_sound(path: Path) -> tuple[int, np.ndarray]:
    """Read the sampling rate in Hz, and (channels, T) float32; integers of any width are scaled to -1..1.

    Raises:
        DataError: it is damaged, or needs soundfile, which is not installed.
    """
    ending = path.suffix.lower()
    if ending == ".wav":
        try:
            return _read_wav(path)
        except (ValueError, EOFError, OSError) as error:
            if not has_soundfile():
                raise DataError(f"{path}: not a readable .wav file ({error})") from None
    elif not has_soundfile():
        raise DataError(f"{path}: {MISSING_SOUNDFILE.format(ending)}")
    import soundfile

    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise DataError(f"{path}: not a readable {ending} file ({str(error).splitlines()[0]})") from None
    return int(rate), np.ascontiguousarray(values.T)


def has_soundfile() -> bool:
    """Return whether soundfile is installed."""
    return importlib.util.find_spec("soundfile") is not None


def resample_sound(values: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resample (channels, T) from one rate to another, with a filter against aliasing."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, new_rate)
    return resample_poly(values, new_rate // common, rate // common, axis=1).astype(np.float32)


def _read_wav(path: Path) -> tuple[int, np.ndarray]:
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # about metadata that it skips
        rate, raw = wavfile.read(path)
    values: np.ndarray[Any, Any] = raw.reshape(len(raw), -1).T
    if values.dtype == np.uint8:
        return rate, (values.astype(np.float32) - 128) / 128
    if values.dtype.kind == "i":
        return rate, values.astype(np.float32) / float(-np.iinfo(values.dtype).min)
    return rate, np.ascontiguousarray(values, np.float32)
