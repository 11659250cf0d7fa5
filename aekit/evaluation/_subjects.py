"""The subjects of an evaluation: the embeddings themselves, and those to compare them with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from aekit.encoder.encoder import Encoder
from aekit.evaluation._backbone_features import NAME as FEATURES, backbone_features, has_pretrained_features
from aekit.evaluation._provenance import Provenance
from aekit.evaluation._queue import EvaluatorQueue
from aekit.evaluation.baselines._pretrained import pretrained_baseline
from aekit.evaluation.baselines.build import Baseline, baseline_features
from aekit.evaluation.results import Split
from aekit.progress import Progress

__all__ = ["FEATURES", "Subject", "baseline_subjects"]


class Subject(NamedTuple):
    """Embeddings that are evaluated: the encoder's, or others that they are compared with."""

    name: str
    features: np.ndarray


def baseline_subjects(
    dim: int,
    rows: np.ndarray,
    split: Split,
    provenance: Provenance,
    kinds: Collection[str],
    pretrained: str,
    seed: int,
    notes: list[str],
    progress: Progress,
    queue: EvaluatorQueue,
) -> Iterator[Baseline | Subject]:
    """Yield the features of the baselines of D dimensions; evaluators in the queue may run while they are computed."""
    source, positions, encoder = provenance
    if "random" in kinds and _is_untrained(encoder):
        kinds = [kind for kind in kinds if kind != "random"]
        notes.append("random weights are not a baseline here: the encoder was not trained")
    features = baseline_features(
        source,
        positions[rows],
        encoder,
        split,
        dim=dim,
        kinds=kinds,
        seed=seed,
        progress=progress,
        free_cores=queue.free_cores,
    )
    yield from features
    if "pretrained" not in kinds:
        return
    if has_pretrained_features(encoder):
        bare = backbone_features(source, positions[rows], encoder, progress=progress, free_cores=queue.free_cores)
        yield Subject(FEATURES, bare)
    network = pretrained_baseline(
        pretrained, source, positions[rows], encoder, notes, progress, free_cores=queue.free_cores
    )
    if network is not None:
        yield network


def _is_untrained(encoder: Encoder) -> bool:
    return not encoder.backbone.trains and not {"trained", "weights"} & set(encoder.record)
