"""Keep the features of baselines, which depend on the samples and the architecture alone, for the next evaluation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from aekit.data.array_cache import ArrayCache
from aekit.data.cache import samples_key
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.errors import AekitError
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
    network: Encoder,
    names: set[str],
    progress: Progress,
    *options: Any,
    kind: str = "baselines",
) -> dict[str, np.ndarray]:
    """Return the features of baselines by name, from the cache or by `compute`.

    They are found by the content of the samples, the weights of the network with its preprocessing, the options, the type of
    device and the versions of aekit and torch.

    Args:
        compute: computes the features.
        source: source of the samples.
        rows: (N,) positions in the source.
        network: the encoder with random weights, or a pretrained one.
        names: names that must be among the features.
        progress: receives a note on what was kept or read, and where.
        options: what else the features depend on, such as a seed.
        kind: folder of the cache, and the name of the features in notes.
    """
    key = hashlib.blake2b(samples_key(source, rows).encode(), digest_size=16)
    # Files have equal contents however they are decoded: the first and the last sample show how.
    key.update(np.ascontiguousarray(source.read(rows[[0, -1]])[0]).tobytes())
    versions = (__version__, torch.__version__, [plugin.to_dict() for plugin in network.plugins])
    settings = (network.digest, network.preprocess.to_dict(), *options, network.device.type, versions)
    key.update(repr(settings).encode())
    cache = ArrayCache(kind, MAX_BYTES, progress)
    if features := cache.read(key.hexdigest(), names, len(rows)):
        return features
    start = time.perf_counter()
    features = compute()
    size = sum(array.nbytes for array in features.values())
    if time.perf_counter() - start >= MIN_SECONDS and size <= MAX_BYTES // 2:
        try:
            with cache.write(key.hexdigest(), size) as part:
                for name, array in features.items():
                    np.save(part / f"{name}.npy", array)
        except (OSError, AekitError) as error:
            progress.say(f"{kind}: not kept for the next evaluation: {error}")
        else:
            progress.say(f"{kind}: kept in {cache.folder} for the next evaluation ({size / 2**20:.0f} MiB)")
    return features
