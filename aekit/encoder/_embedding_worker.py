"""Embed units of samples in a worker process. ``python -m aekit.encoder._embedding_worker DESCRIPTOR`` runs one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aekit.data.opening import reopen
from aekit.data.source import Source
from aekit.encoder.embedding import BatchEmbedder
from aekit.encoder.engines.units import Setup
from aekit.encoder.engines.worker import Batch, WorkerBase, serve
from aekit.encoder.loading import load


class Worker(WorkerBase):
    """Embed units of samples: (M, D) vectors and content hashes."""

    def open(self, setup: Setup) -> Source:
        encoder = load(Path(setup.folder), device=setup.device)
        source = reopen(setup.origin, like=encoder.spec)
        self._embedder = BatchEmbedder(encoder, source, **setup.settings)
        return source

    def compute(self, positions: np.ndarray) -> Iterator[Batch]:
        for indices, vectors, hashes in self._embedder.vectors(positions):
            yield indices, {"vector": vectors, "hash": hashes}


if __name__ == "__main__":
    serve(Worker)
