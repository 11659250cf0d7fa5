"""The features of the encoder that samples of a kind get by default and that is not trained: whether training was worth it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aekit.data.samples import load_samples
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.untrained import untrained_default, untrained_encoder
from aekit.errors import AekitError
from aekit.evaluation._backbone_features import network_features
from aekit.evaluation.baselines._cache import cached_features
from aekit.evaluation.baselines.build import Baseline
from aekit.evaluation.results import Split
from aekit.evaluation.splits import evenly_spaced
from aekit.progress import Progress
from aekit.registry.discovery import Plugin

MAX_SAMPLES = 5000
"""Samples up to which it is evaluated without being asked for: its hundreds of features take evaluators of 10,000 samples half a
minute."""
FITTED_ON = 5000
"""Training samples that it takes its statistics from: as many as the backbones of aekit use."""


def untrained_dim(encoder: Encoder) -> int:
    """Return the number of features, 0 if an encoder is not compared with any."""
    plugin = _plugin_beside(encoder)
    try:
        return untrained_encoder(plugin, encoder.spec, encoder.preprocess, 0).dim if plugin else 0
    except AekitError:
        return 0


def untrained_baseline(
    source: Source,
    rows: np.ndarray,
    encoder: Encoder,
    split: Split,
    notes: list[str],
    progress: Progress,
    *,
    seed: int = 0,
    max_samples: int | None = None,
    free_cores: Callable[[], int] | None = None,
) -> Baseline | None:
    """Compute what `aekit.fit` makes of the samples without options, if that is not trained.

    Args:
        source: source of the samples.
        rows: (N,) positions in the source.
        encoder: the encoder that is evaluated, whose preprocessing is shared.
        split: positions in `rows`; statistics are those of its training part only.
        notes: receives what the features are, or why there are none, such as samples that can no longer be read.
        progress: receives a bar, and the line on a failure.
        seed: of what the backbone draws.
        max_samples: samples above which it is left out, with a note; None: it never is.
        free_cores: as in `aekit.encoder.inference.Inference`.
    """
    plugin = _plugin_beside(encoder)
    if plugin is None:
        return None
    made = f"{plugin.name}, which aekit fit makes of such samples without options, untrained"
    if max_samples is not None and len(rows) > max_samples:
        why = f"more than {max_samples:,} samples are evaluated"
        notes.append(f"not compared with {made}, as {why}; quick=False (--thorough) compares it")
        return None
    fitted_on = rows[evenly_spaced(split.train, FITTED_ON)]
    try:
        network = untrained_encoder(plugin, encoder.spec, encoder.preprocess, seed)

        def compute() -> dict[str, np.ndarray]:
            network.backbone.start(load_samples(source, fitted_on, network.device), network.preprocess)
            title = f"features of {plugin.name}"
            values = network_features(
                source, rows, network, network.dim, title=title, progress=progress, free_cores=free_cores
            )
            return {"untrained": values}

        features = cached_features(compute, source, rows, network, {"untrained"}, progress, fitted_on.tobytes())
    except AekitError as error:
        notes.append(f"not compared with {plugin.name}: {error}")
        progress.say(notes[-1])
        return None
    option = f"backbone='{plugin.name}' (--backbone {plugin.name})"
    notes.append(f"compared with {made}; {option} asks for it")
    return Baseline(plugin.name, "untrained", features["untrained"])


def _plugin_beside(encoder: Encoder) -> Plugin | None:
    """Return the untrained backbone that an encoder is compared with; None if the encoder was not trained here either."""
    return untrained_default(encoder.spec) if "trained" in encoder.record else None
