"""Compute the features of frozen layers once for a whole training instead of at every step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from aekit.data.cache import decode_once
from aekit.data.samples import Samples, memory_budget
from aekit.data.shared_samples import SharedSamples
from aekit.data.source import RowIds, Source
from aekit.data.streamed_samples import StreamedSamples
from aekit.encoder.encoder import Encoder
from aekit.encoder.freezing import FrozenTrunk, PrecomputedFeatures
from aekit.errors import TrainingError
from aekit.io.manifests import canonical_json
from aekit.io.processes import agreeing
from aekit.io.weights import add_weights
from aekit.objectives.base import Objective
from aekit.progress import Progress
from aekit.training.batches import Batches
from aekit.training.settings import Settings, uses_bf16

BATCH = 256
"""Samples per forward pass."""


def precompute_features(
    objective: Objective, batches: Batches, settings: Settings, title: str, progress: Progress
) -> Batches:
    """Replace the samples of batches by the features of the frozen layers, if possible; report whether it is, and why not.

    Args:
        objective: objective to train.
        batches: batches of raw samples.
        settings: settings of the training; its precision is that of the features.
        title: title of the training, for messages.
        progress: receives messages and a bar.

    Raises:
        TrainingError: features are not finite.
        OutputError: features that do not fit into memory cannot be written.
    """
    trunk, frozen = objective.frozen_trunk(), objective.encoder.frozen
    if trunk is None:
        if frozen:
            reason = "because the objective changes its input"
            progress.say(f"{title}: {_output_of(frozen)} is computed at every step, {reason}")
        return batches
    if isinstance(batches.samples, StreamedSamples):
        progress.say(f"{title}: {_output_of(trunk.number)} is computed at every step, because the samples are streamed")
        return batches
    size = f"{len(batches.samples):,} x {trunk.out.size:,} values"
    bf16 = uses_bf16(settings, objective.encoder.spec, batches.samples.device)
    features = frozen_features(objective, batches.samples, progress, bf16=bf16)
    targets = None if batches.targets is None else frozen_features(objective, batches.targets, progress, bf16=bf16)
    if features is None or (targets is None) != (batches.targets is None):
        progress.say(
            f"{title}: {_output_of(trunk.number)} is computed at every step, because {size} do not fit in memory"
        )
        return batches
    place = "in memory" if isinstance(features.data, Tensor) else "in a file"
    mebibytes = len(features) * trunk.out.nbytes / 2**20
    progress.say(f"{title}: {_output_of(trunk.number)} is computed once: {size}, {mebibytes:.1f} MiB {place}")
    return Batches(features, batches.batch_size, batches.seed, batches.labels, targets)


def frozen_features(
    objective: Objective, samples: Samples, progress: Progress, *, bf16: bool = False
) -> Samples | None:
    """Compute the features of the frozen layers of an objective; None if there are none, or if they are too large.

    Each of several processes computes those of its own samples. Features are stored on the device. If they do not fit there, they
    are written to a cache file, like decoded samples, provided that later runs can use them again and that they are not larger
    than the samples.
    """
    if not isinstance(samples, SharedSamples):
        return _local_features(objective, samples, progress, bf16)
    with agreeing(samples.ranks):
        features = _local_features(objective, samples.local, progress, bf16)
    lacking = samples.ranks.any(features is None)
    return None if features is None or lacking else samples.with_local(features)


def _local_features(
    objective: Objective, samples: Samples, progress: Progress, bf16: bool
) -> PrecomputedFeatures | None:
    trunk, encoder = objective.frozen_trunk(), objective.encoder
    if trunk is None:
        return None
    shape = (len(samples), *trunk.out.shape)
    if len(samples) * trunk.out.nbytes <= memory_budget(samples.device):
        stored = torch.empty(shape, device=samples.device)
        for start, features in _passes(trunk, samples, bf16, progress):
            stored[start : start + len(features)] = features
        return PrecomputedFeatures(trunk.out, samples.rows, stored, samples.device)
    if trunk.number > encoder.frozen or trunk.out.size > samples.spec.size:
        return None

    def fill(array: np.ndarray) -> np.ndarray:
        for start, features in _passes(trunk, samples, bf16, progress):
            array[start : start + len(features)] = features.cpu().numpy()
        return np.arange(len(array))

    mapped, _ = decode_once(
        _FeatureSource(encoder, trunk, samples, bf16), np.arange(len(samples)), fill, None, progress
    )
    return PrecomputedFeatures(trunk.out, samples.rows, mapped, samples.device)


def _passes(trunk: FrozenTrunk, samples: Samples, bf16: bool, progress: Progress) -> Iterator[tuple[int, Tensor]]:
    """Yield the position of each batch of features, and the features (B, *shape)."""
    trunk.eval()
    autocast = torch.autocast(samples.device.type, torch.bfloat16, enabled=bf16)
    start = 0
    with progress.task("features", len(samples)) as task:
        for raw in samples.chunks(BATCH):
            with autocast:
                features = trunk(raw)
            if not features.isfinite().all():
                raise TrainingError(f"{_output_of(trunk.number)} is not finite")
            yield start, features
            start += len(raw)
            task.advance(len(raw))


def _output_of(layers: int) -> str:
    return f"the output of the {'lowest layer' if layers == 1 else f'{layers} lowest layers'}"


class _FeatureSource(Source):
    """Features as a source that is never read, only identified: by the samples and the network that computes the features."""

    def __init__(self, encoder: Encoder, trunk: FrozenTrunk, samples: Samples, bf16: bool) -> None:
        self.spec, self.samples = trunk.out, samples
        self.ids, self.skipped = RowIds(None, len(samples)), {}
        origin = [encoder.architecture["backbone"], [plugin.to_dict() for plugin in encoder.plugins], bf16]
        self.stamp = hashlib.blake2b(canonical_json(origin), digest_size=16)
        add_weights(self.stamp, trunk.state_dict())

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        digests = []
        for row in self.samples.batch(torch.from_numpy(indices)).cpu().numpy():
            stamp = self.stamp.copy()
            stamp.update(np.ascontiguousarray(row).data)
            digests.append(stamp.hexdigest())
        return digests
