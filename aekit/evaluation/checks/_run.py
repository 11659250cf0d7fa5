"""Run every check of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aekit.encoder.embeddings import Embeddings
from aekit.evaluation._context import EvaluationContext
from aekit.evaluation.checks._stability import stability
from aekit.evaluation.checks.embedding_health import embedding_health, neighbor_overlap
from aekit.evaluation.checks.leakage import find_leakage
from aekit.evaluation.results import CheckResult


def run_checks(
    context: EvaluationContext,
    vectors: np.ndarray,
    stored: Embeddings | None,
    other_encoders: Mapping[str, np.ndarray],
) -> dict[str, CheckResult]:
    """Check the health of embeddings, leakage between the parts of the split and, if the encoder is known, stability.

    Args:
        context: the evaluation.
        vectors: (M, D) embeddings at the rows of the context.
        stored: the embeddings as they are stored, or None for an array.
        other_encoders: name -> (N, E) embeddings by another encoder, all rows of them.
    """
    rows, split, seed = context.rows, context.split, context.seed
    hashes, ids = None, None
    if stored is not None:
        ids = [stored.ids[row] for row in rows.tolist()]
        hashes = [stored.rows.hashes[row] for row in rows.tolist()]
        if hashes == ids:
            hashes = None  # vectors that no encoder made have no hashes of samples
    values = context.queue.values
    labels = values if values is not None and values.ndim == 1 and values.dtype.kind != "f" else None
    health = embedding_health(vectors, seed=seed)
    overlaps = {
        f"neighbors_shared_with_{name}": neighbor_overlap(vectors, other[rows], seed=seed)
        for name, other in other_encoders.items()
    }
    results = {"health": replace(health, values={**health.values, **overlaps})}
    results["leakage"] = find_leakage(vectors, split, sample_hashes=hashes, ids=ids, labels=labels, seed=seed)
    if context.provenance is not None:
        reusable = vectors[split.test] if stored is not None and stored.precision == "fp32" else None
        results["stability"] = stability(
            context.provenance.encoder,
            context.provenance.source,
            context.provenance.rows[rows[split.test]],
            vectors=reusable,
            seed=seed,
            progress=context.progress,
            free_cores=context.queue.free_cores,
        )
    return results
