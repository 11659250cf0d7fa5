"""Read sound: .wav files with scipy, other formats with soundfile, and resample it."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aekit.data.reading import reading
from aekit.errors import DataError
from aekit.io.memory import check_memory
from aekit.shared_settings import warning_rules

HIGHEST_RATE = 10_000_000
"""Highest sampling rate in Hz."""
_UNKNOWN_SIZE = 0x7FFF_0000
"""Sizes in a header from which on programs that write to a pipe do not know them."""
_OGG_PAGE, _OGG_LAST = 1 << 16, 4
"""Most bytes of a page of Ogg, about, and the flag of the last one."""
_UNKNOWN_LENGTH = 1 << 62
"""Steps from which on libsndfile means that it does not know their number."""
_MP3_FRAME = 256
"""Bytes of the first frame of an MP3 in which its size is."""
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
        if sound.frames >= _UNKNOWN_LENGTH:
            raise DataError(f"{path}: its reader does not know how long it is; convert it to WAV or FLAC")
        check_memory(max(sound.frames, 0) * sound.channels * 4, f"{path}: {sound.frames:,} steps of sound")
        # Some codings of telephones can be read from the start alone, for a length that is named.
        length = -1 if sound.seekable() else sound.frames
        values, rate = sound.read(length, dtype="float32", always_2d=True), sound.samplerate
    return _checked(path, int(rate), np.ascontiguousarray(values.T))


def is_cut_off(path: Path) -> bool:
    """Return whether a file of sound is shorter than it says, as after a download or a recorder that stopped.

    WAV, AIFF, AU and most MP3 say their size, and the last page of Ogg that it is the last; damage in FLAC is found by its
    reader.
    """
    with reading(path), path.open("rb") as file:
        head, size = file.read(12), path.stat().st_size
        file.seek(max(0, size - _OGG_PAGE))
        tail = file.read()
    if path.suffix.lower() == ".mp3":
        return size < _said_by_mp3(path)
    if head[:4] == b"OggS":
        last = tail.rfind(b"OggS")
        return last >= 0 and not int.from_bytes(tail[last + 5 : last + 6], "big") & _OGG_LAST
    kind = head[:4] + (b"" if head[:4] == b".snd" else head[8:])
    order: Literal["little", "big"] = "little" if kind == b"RIFFWAVE" else "big"
    first, second = int.from_bytes(head[4:8], order), int.from_bytes(head[8:], order)
    said = {b"RIFFWAVE": first + 8, b"FORMAIFF": first + 8, b"FORMAIFC": first + 8, b".snd": first + second}.get(
        kind, 0
    )
    return size < said < _UNKNOWN_SIZE


def _said_by_mp3(path: Path) -> int:
    """Return the size that the first frame of an MP3 gives, as most encoders write it behind ``Xing`` or ``Info``; 0: none."""
    with reading(path), path.open("rb") as file:
        head = file.read(10)
        # Each byte of the size of a tag with images and names has 7 bits.
        start = (
            10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))
            if head[:3] == b"ID3"
            else 0
        )
        file.seek(start)
        _, _, fields = re.split(b"(Xing|Info)", file.read(_MP3_FRAME) + b"Info", maxsplit=1)
    has_count, has_bytes = (fields[3] & 1, fields[3] & 2) if len(fields) > 12 else (0, 0)
    place = 8 if has_count else 4
    return start + int.from_bytes(fields[place : place + 4], "big") if has_bytes else 0


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

    # The warnings are about metadata that it skips.
    with reading(path, "not a readable .wav file"), warning_rules(("ignore", "", wavfile.WavFileWarning)):
        rate, raw = wavfile.read(path)
        values: np.ndarray[Any, Any] = raw.reshape(len(raw), -1).T
        if values.dtype == np.uint8:
            return rate, (values.astype(np.float32) - 128) / 128
        if values.dtype.kind == "i":
            return rate, values.astype(np.float32) / float(-np.iinfo(values.dtype).min)
        return rate, np.ascontiguousarray(values, np.float32)
