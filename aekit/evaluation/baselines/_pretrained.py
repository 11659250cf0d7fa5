"""The features of a pretrained network as a baseline: whether training an encoder was worth it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch

from aekit.data.samples import to_tensor
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.pretrained import (
    AUTO,
    NONE,
    VARIABLE,
    describe_pretrained,
    open_pretrained,
    pretrained_name,
    short_name,
)
from aekit.errors import AekitError
from aekit.evaluation._backbone_features import network_features
from aekit.evaluation.baselines._cache import cached_features
from aekit.evaluation.baselines.build import Baseline
from aekit.progress import Progress

MIN_SIDE = 32
"""Shorter side in pixels from which images are compared with a pretrained network that nobody named."""
MAX_SECONDS = 120.0
"""Time to compute its features up to which the comparison is made without being asked for."""
TIMED = 16
"""Samples from which that time is estimated."""


class _SkippedError(AekitError):
    """The comparison is left out, for the reason that the message gives."""


def pretrained_baseline(
    name: str,
    source: Source,
    rows: np.ndarray,
    encoder: Encoder,
    notes: list[str],
    progress: Progress,
    *,
    free_cores: Callable[[], int] | None = None,
) -> Baseline | None:
    """Compute the features of a pretrained network for the same samples.

    Args:
        name: as `aekit.encoder.pretrained` describes; ``auto`` takes a network whose weights are at hand, for images that are
            not tiny, and only if it takes no more than two minutes; ``none`` takes none.
        source: source of the samples.
        rows: (N,) positions in the source.
        encoder: the encoder that is evaluated.
        notes: receives which network and weights are used, or why ``auto`` uses none.
        progress: receives a bar, and the same lines.
        free_cores: as in `aekit.encoder.inference.Inference`.

    Raises:
        RecipeError, DataError, IdentityError, PluginError: the network that is named cannot be used.
    """
    chosen, unnamed = pretrained_name(name), name == AUTO and not os.environ.get(VARIABLE)
    small = not encoder.spec.is_image or min(encoder.spec.shape[1:]) < MIN_SIDE
    if chosen == NONE or (unnamed and small):
        if unnamed and not small:
            progress.say(
                "not compared with a pretrained network, as no weights are on this machine; name one as pretrained (--pretrained)"
            )
        return None
    try:
        network = open_pretrained(chosen, encoder.spec, encoder.preprocess, place="pretrained")
        if _is_same(encoder, network):
            raise _SkippedError(f"the encoder itself has the weights of {describe_pretrained(network)}, unchanged")
        features = _features(source, rows, network, progress, MAX_SECONDS if unnamed else None, free_cores)
    except AekitError as error:
        if name != AUTO and not isinstance(error, _SkippedError):
            raise
        notes.append(f"not compared with a pretrained network: {error}")
        progress.say(notes[-1])
        return None
    resized = [f"; {part}" for part in network.backbone.note.split("; ") if "are resized" in part]
    notes.append(f"{short_name(network)} is pretrained and frozen: {describe_pretrained(network)}{''.join(resized)}")
    progress.say(notes[-1])
    return Baseline(short_name(network), "pretrained", features)


def _features(
    source: Source,
    rows: np.ndarray,
    network: Encoder,
    progress: Progress,
    max_seconds: float | None,
    free_cores: Callable[[], int] | None,
) -> np.ndarray:
    """Compute (N, F) features, or read them from the cache; refuse to compute them if that would take too long."""

    def compute() -> dict[str, np.ndarray]:
        if max_seconds is not None and len(rows) > TIMED:
            raw = to_tensor(source.read(rows[:TIMED])[0]).to(network.device)
            start = time.perf_counter()
            with torch.inference_mode():
                network(raw).sum().item()  # waits for the device
            minutes = (time.perf_counter() - start) / TIMED * len(rows) / 60
            if 60 * minutes > max_seconds:
                raise _SkippedError(
                    f"{describe_pretrained(network)} would take about {minutes:.0f} minutes for {len(rows):,} samples; "
                    "name it to evaluate it anyway"
                )
        title = f"features of {short_name(network)}"
        features = network_features(
            source, rows, network, network.dim, title=title, progress=progress, free_cores=free_cores
        )
        return {"pretrained": features}

    return cached_features(compute, source, rows, network, {"pretrained"}, progress)["pretrained"]


def _is_same(encoder: Encoder, network: Encoder) -> bool:
    """Return whether an encoder's backbone has the weights of a pretrained network and was not trained further."""
    ours, theirs = encoder.record.get("weights", {}), network.record["weights"]
    same = any(ours.get(key) == theirs[key] for key in ("sha256", "hub", "digest") if key in theirs)
    frozen = encoder.record.get("frozen", 0) >= len(encoder.backbone.stages)
    return (same and (frozen or "trained" not in encoder.record)) or network.digest == encoder.digest
