"""Decide how much time the page of a run may take, from its recipe and its data alone, so that it is always the same page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from aekit.data.spec import SampleSpec
from aekit.registry.discovery import registry

MIN_SAMPLES, MAX_SAMPLES = 600, 2000
STEP_SECONDS = 3e-3
ENTRY_SECONDS = {"vector": 1e-7}
OTHER_ENTRY_SECONDS = 2e-6
"""Rough training times on two CPU cores, for a step and for an entry of a sample."""
NEIGHBORS_SECONDS, TSNE_SECONDS, EVALUATION_SECONDS = 4.0, 16.0, 75.0
"""Training times from which a page has an evaluation by neighbors, then t-SNE and clusters, then every quick evaluator."""
NEIGHBOR_EVALUATORS = ("knn", "retrieval")
"""Evaluators that fit nothing, and so take a fraction of a second."""
MAX_DIM = 4096
"""Dimensions of embeddings up to which it has them; backbone features (encoder.dim = 0) can have many more."""
ACCELERATION = 10.0
"""Rough speed of a GPU in training, relative to two CPU cores; t-SNE and the evaluation run on the CPU."""


class Effort(NamedTuple):
    """Limits on what a page may compute.

    Attributes:
        max_samples: samples to show.
        structure: whether to lay them out by t-SNE and to find clusters.
        evaluators: names of the evaluators to run where the recipe names none: quick ones, or none at all.
    """

    max_samples: int
    structure: bool
    evaluators: tuple[str, ...]


def page_effort(
    results: Mapping[str, Any], spec: SampleSpec, dim: int, device: str = "cpu", *, thorough: bool = False
) -> Effort:
    """Choose what the page of a run may compute, so that it costs about a tenth of the run, unless it is to be thorough.

    Args:
        results: the contents of ``results.json``, for the recipe and the number of training samples.
        spec: of the samples.
        dim: D, of an embedding.
        device: type of device of the training.
        thorough: whether the page may cost what it costs after a long run.
    """
    seconds = estimate_training_seconds(results, spec) / (1.0 if device == "cpu" else ACCELERATION)
    # Where nothing is trained, the page is what there is to wait for, and says at least how good neighbors are.
    seconds = math.inf if thorough else seconds or NEIGHBORS_SECONDS
    max_samples = int(min(MAX_SAMPLES, max(MIN_SAMPLES, 20 * seconds)))
    quick = [plugin for plugin in registry().by_kind("evaluator") if "quick" in plugin.entry.tags]
    if dim > MAX_DIM or seconds < NEIGHBORS_SECONDS:
        quick = []
    elif seconds < EVALUATION_SECONDS:
        quick = [plugin for plugin in quick if plugin.name in NEIGHBOR_EVALUATORS]
    structure = seconds >= TSNE_SECONDS and dim <= MAX_DIM
    return Effort(max_samples, structure, tuple(plugin.qualified for plugin in quick))


def estimate_training_seconds(results: Mapping[str, Any], spec: SampleSpec) -> float:
    """Estimate the training time of a run on two CPU cores, from its numbers of steps and of entries."""
    recipe = results["recipe"]
    layerwise = recipe.get("layerwise", {})
    epochs = recipe["train"]["epochs"] + sum(
        layer.get("epochs", layerwise["epochs"]) for layer in layerwise.get("layers", [])
    )
    epochs += 0 if layerwise.get("layers") else layerwise.get("epochs", 0)
    samples = epochs * results["trained"]["samples"]
    entry_seconds = ENTRY_SECONDS.get(spec.kind, OTHER_ENTRY_SECONDS)
    return STEP_SECONDS * samples / recipe["train"]["batch_size"] + entry_seconds * samples * spec.size
