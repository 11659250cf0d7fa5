"""Draw the batches of an epoch, the same for the same seed, epoch and step, and share them between processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from aekit.data.samples import Samples
from aekit.data.shared_samples import SharedSamples
from aekit.data.streamed_samples import StreamedSamples
from aekit.encoder.freezing import PrecomputedFeatures
from aekit.objectives.base import Batch


class Batches:
    """Shuffled batches of samples. The order depends on (seed, epoch) alone.

    Args:
        samples: to draw from.
        batch_size: a smaller last batch is dropped, so that all steps see the same number of samples.
        seed: of the order.
        labels: (N,) for supervised objectives.
        targets: the clean samples in the same order, if the objective is to restore them from `samples`.

    Attributes:
        ranks: the processes that share each batch, or None.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        seed: int,
        labels: Tensor | None = None,
        targets: Samples | None = None,
    ) -> None:
        self.samples, self.labels, self.targets, self.seed = samples, labels, targets, seed
        self.ranks = samples.ranks
        self.batch_size = min(batch_size, len(samples))
        self.per_epoch = len(samples) // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, starting at batch number `start`."""
        seed = derive_seed(self.seed, epoch)
        if isinstance(self.samples, StreamedSamples):
            for positions, raw in self.samples.shuffled(self.batch_size, seed, start):
                yield self._streamed(positions, raw)
            return
        order = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(seed))
        for number in range(start, self.per_epoch):
            yield self._at(order[number * self.batch_size : (number + 1) * self.batch_size])

    def all(self) -> Iterator[Batch]:
        """Yield all samples once, in their order, in batches of equal size, so that none is left for a batch of its own."""
        for positions in torch.arange(len(self.samples)).tensor_split(-(-len(self.samples) // self.batch_size)):
            yield self._at(positions)

    def _at(self, positions: Tensor) -> Batch:
        labels = None if self.labels is None else self.labels[positions]
        targets = None if self.targets is None else self.targets.shared_batch(positions)
        if self.ranks is None:
            return Batch(self.samples.batch(positions), labels, targets, self.is_features, positions=positions)
        labels = None if labels is None else labels[self.ranks.rank :: self.ranks.size]
        local = positions[self.ranks.rank :: self.ranks.size]
        raw = self.samples.shared_batch(positions)
        return Batch(raw, labels, targets, self.is_features, total=len(positions), positions=local)

    def _streamed(self, positions: Tensor, raw: Tensor) -> Batch:
        """Return the share of this process in a batch, whose samples (B, *shape) were read in their order."""
        labels = None if self.labels is None else self.labels[positions]
        targets = None if self.targets is None else self.targets.batch(positions)
        total = None if self.ranks is None else self.batch_size
        return Batch(raw, labels, targets, total=total, positions=positions)

    @property
    def local_size(self) -> int:
        """Largest number of samples of a batch that this process gets."""
        return -(-self.batch_size // (self.ranks.size if self.ranks else 1))

    @property
    def is_features(self) -> bool:
        """Whether the samples are features of frozen layers."""
        local = self.samples.local if isinstance(self.samples, SharedSamples) else self.samples
        return isinstance(local, PrecomputedFeatures)


def derive_seed(*parts: int) -> int:
    """Derive a seed from several numbers, such as (seed, epoch, step); similar numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
