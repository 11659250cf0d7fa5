"""Features of layers that stand still, computed once for a whole training instead of at every step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from aekit.data.cache import decode_once
from aekit.data.samples import Samples, memory_budget
from aekit.data.source import RowIds, Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.freezing import FrozenTrunk, PrecomputedFeatures
from aekit.errors import TrainingError
from aekit.io.weights import add_weights, canonical_json
from aekit.objectives.base import Objective
from aekit.progress import Progress
from aekit.training.batches import Batches
from aekit.training.settings import Settings, uses_bf16

AT_ONCE = 256
"""Samples a pass."""


def precompute_features(
    objective: Objective, batches: Batches, settings: Settings, title: str, progress: Progress
) -> Batches:
    """The same batches with all that stands still behind them, where that is possible; says whether it is, and why not.

    Args:
        objective: that will be trained on them.
        batches: of raw samples.
        settings: of the training, in whose precision the features are computed.
        title: of the training, for what is said.
        progress: receives what is said, and a bar.

    Raises:
        TrainingError: features that are not finite.
        OutputError: what does not fit into memory cannot be written.
    """
    below, frozen = objective.frozen_trunk(), objective.encoder.frozen
    if below is None:
        if frozen:
            why = "as the task does not show them the samples as they are"
            progress.say(f"{title}: {_output_of(frozen)} is computed at every step, {why}")
        return batches
    size = f"{len(batches.samples):,} x {below.out.size:,} numbers"
    bf16 = uses_bf16(settings, objective.encoder.spec, batches.samples.device)
    held = frozen_features(objective, batches.samples, progress, bf16=bf16)
    targets = None if batches.targets is None else frozen_features(objective, batches.targets, progress, bf16=bf16)
    if held is None or (targets is None) != (batches.targets is None):
        why = f"as {size} are more than fits in memory"
        progress.say(f"{title}: {_output_of(below.number)} is computed at every step, {why}")
        return batches
    where = f"{len(held) * below.out.nbytes / 2**20:.1f} MiB {'in memory' if isinstance(held.data, Tensor) else 'in a file'}"
    progress.say(
        f"{title}: {_output_of(below.number)} is computed once, as nothing changes up to there: {size}, {where}"
    )
    return Batches(held, batches.batch_size, batches.seed, batches.labels, targets)


def frozen_features(
    objective: Objective, samples: Samples, progress: Progress, *, bf16: bool = False
) -> PrecomputedFeatures | None:
    """What stands still in an objective makes of the samples; None if nothing does, or if that is too much to hold.

    It is held on the device. What does not fit there is written to a file, as decoded samples are, if later runs can use it
    again, and if it has no more numbers than the samples.
    """
    below, encoder = objective.frozen_trunk(), objective.encoder
    if below is None:
        return None
    shape = (len(samples), *below.out.shape)
    if len(samples) * below.out.nbytes <= memory_budget(samples.device):
        held = torch.empty(shape, device=samples.device)
        for start, features in _passes(below, samples, bf16, progress):
            held[start : start + len(features)] = features
        return PrecomputedFeatures(below.out, samples.rows, held, samples.device)
    if below.number > encoder.frozen or below.out.size > samples.spec.size:
        return None

    def fill(array: np.ndarray) -> np.ndarray:
        for start, features in _passes(below, samples, bf16, progress):
            array[start : start + len(features)] = features.cpu().numpy()
        return np.arange(len(array))

    mapped, _ = decode_once(_Stamped(encoder, below, samples, bf16), np.arange(len(samples)), fill, None, progress)
    return PrecomputedFeatures(below.out, samples.rows, mapped, samples.device)


def _passes(below: FrozenTrunk, samples: Samples, bf16: bool, progress: Progress) -> Iterator[tuple[int, Tensor]]:
    """Where each batch of features begins, and the features (B, *shape)."""
    below.eval()
    autocast = torch.autocast(samples.device.type, torch.bfloat16, enabled=bf16)
    start = 0
    with progress.task("features", len(samples)) as task:
        for raw in samples.chunks(AT_ONCE):
            with autocast:
                features = below(raw)
            if not features.isfinite().all():
                raise TrainingError(f"{_output_of(below.number)} is not finite")
            yield start, features
            start += len(raw)
            task.advance(len(raw))


def _output_of(layers: int) -> str:
    return f"the output of the {'lowest layer' if layers == 1 else f'{layers} lowest layers'}"


class _Stamped(Source):
    """Features as a source that is not read, only told from others: by the samples, and by what computes them."""

    def __init__(self, encoder: Encoder, below: FrozenTrunk, samples: Samples, bf16: bool) -> None:
        self.spec, self.samples = below.out, samples
        self.ids, self.skipped = RowIds(None, len(samples)), {}
        made_by = [encoder.architecture["backbone"], [plugin.to_dict() for plugin in encoder.plugins], bf16]
        self.stamp = hashlib.blake2b(canonical_json(made_by), digest_size=16)
        add_weights(self.stamp, below)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        found = []
        for row in self.samples.batch(torch.from_numpy(indices)).cpu().numpy():
            stamp = self.stamp.copy()
            stamp.update(np.ascontiguousarray(row).data)
            found.append(stamp.hexdigest())
        return found
