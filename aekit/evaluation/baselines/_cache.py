"""Keep the features of baselines, which depend on the samples and the architecture alone, for the next evaluation."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from aekit.data.cache import samples_key
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.errors import AekitError
from aekit.io.atomic import atomic_folder
from aekit.io.cache_folder import cache_folder
from aekit.progress import Progress
from aekit.version import __version__

MIN_SECONDS = 2.0
"""Time to compute features from which they are kept."""
MAX_BYTES = 2**31
"""Size of all features that are kept; the ones that were not used for the longest time are removed first."""


def cached_features(
    compute: Callable[[], dict[str, np.ndarray]],
    source: Source,
    rows: np.ndarray,
    random_encoder: Encoder,
    seed: int,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Return the features of baselines by name, from the cache or by `compute`.

    They are found by the content of the samples, the weights of the random encoder with its preprocessing, the seed, the type
    of device and the versions of aekit and torch.

    Args:
        compute: computes the features.
        source: source of the samples.
        rows: (N,) positions in the source.
        random_encoder: the encoder with random weights.
        seed: seed of what else is random.
        progress: receives a note on what was kept or read, and where.
    """
    key = hashlib.blake2b(samples_key(source, rows).encode(), digest_size=16)
    # Files have equal contents however they are decoded: the first and the last sample show how.
    key.update(np.ascontiguousarray(source.read(rows[[0, -1]])[0]).tobytes())
    versions = (__version__, torch.__version__, [plugin.to_dict() for plugin in random_encoder.plugins])
    settings = (random_encoder.digest, random_encoder.preprocess.to_dict(), seed, random_encoder.device.type, versions)
    key.update(repr(settings).encode())
    folder = cache_folder() / "baselines"
    entry = folder / key.hexdigest()
    try:
        features = {path.stem: np.load(path, allow_pickle=False) for path in sorted(entry.glob("*.npy"))}
        if features:
            if not {"raw", "random"} <= features.keys() or {len(array) for array in features.values()} != {len(rows)}:
                raise ValueError("files are missing")
            os.utime(entry)
            progress.say(f"baselines: read from {folder}, where an earlier evaluation kept them")
            return features
    except (OSError, ValueError) as error:
        progress.say(f"baselines: computed again, as {entry} is damaged ({error})")
        shutil.rmtree(entry, ignore_errors=True)
    start = time.perf_counter()
    features = compute()
    size = sum(array.nbytes for array in features.values())
    if time.perf_counter() - start >= MIN_SECONDS and size <= MAX_BYTES // 2:
        try:
            _make_room(folder, MAX_BYTES - size)
            with atomic_folder(entry) as part:
                for name, array in features.items():
                    np.save(part / f"{name}.npy", array)
        except (OSError, AekitError) as error:
            progress.say(f"baselines: not kept for the next evaluation: {error}")
        else:
            progress.say(f"baselines: kept in {folder} for the next evaluation ({size / 2**20:.0f} MiB)")
    return features


def _make_room(folder: Path, max_bytes: int) -> None:
    """Remove the entries that were not used for the longest time, until the others have at most `max_bytes`."""
    entries = [path for path in folder.glob("*") if path.is_dir() and path.suffix != ".part"]
    total = 0
    for entry in sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True):
        total += sum(file.stat().st_size for file in entry.iterdir())
        if total > max_bytes:
            shutil.rmtree(entry, ignore_errors=True)
