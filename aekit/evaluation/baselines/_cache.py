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

    Args:
        compute: computes the features.
        source, rows, network, progress, options, kind: as for `FeatureCache`.
        names: names that must be among the features.
    """
    cache = FeatureCache(source, rows, network, progress, *options, kind=kind)
    if features := cache.read(names):
        return features
    start = time.perf_counter()
    features = compute()
    cache.keep(features, time.perf_counter() - start)
    return features


class FeatureCache:
    """The features of a network, or of baselines, for certain samples on the disk.

    They are found by the content of the samples, the weights of the network with its preprocessing, the options, the type of
    device and the versions of aekit and torch.

    Args:
        source: source of the samples.
        rows: (N,) positions in the source.
        network: the encoder with random weights, or a pretrained one.
        progress: receives a note on what was kept or read, and where.
        options: what else the features depend on, such as a seed.
        kind: folder of the cache, and the name of the features in notes.
    """

    def __init__(
        self,
        source: Source,
        rows: np.ndarray,
        network: Encoder,
        progress: Progress,
        *options: Any,
        kind: str = "baselines",
    ) -> None:
        key = hashlib.blake2b(samples_key(source, rows).encode(), digest_size=16)
        # Files have equal contents however they are decoded: the first and the last sample show how.
        key.update(np.ascontiguousarray(source.read(rows[[0, -1]])[0]).tobytes())
        versions = (__version__, torch.__version__, [plugin.to_dict() for plugin in network.plugins])
        settings = (network.digest, network.preprocess.to_dict(), *options, network.device.type, versions)
        key.update(repr(settings).encode())
        self._key, self._count, self._kind, self._progress = key.hexdigest(), len(rows), kind, progress
        self._cache = ArrayCache(kind, MAX_BYTES, progress)

    def read(self, names: set[str]) -> dict[str, np.ndarray]:
        """Return the features by name if all these names are there; else none."""
        return self._cache.read(self._key, names, self._count)

    def keep(self, features: dict[str, np.ndarray], seconds: float) -> None:
        """Keep features for the next evaluation if they took long to compute; a failure is reported."""
        size = sum(array.nbytes for array in features.values())
        if seconds < MIN_SECONDS or size > MAX_BYTES // 2:
            return
        try:
            with self._cache.write(self._key, size) as part:
                for name, array in features.items():
                    np.save(part / f"{name}.npy", array)
        except (OSError, AekitError) as error:
            self._progress.say(f"{self._kind}: not kept for the next evaluation: {error}")
        else:
            kept = f"{self._kind}: kept in {self._cache.folder} for the next evaluation ({size / 2**20:.0f} MiB)"
            self._progress.say(kept)
