"""The baseline of an encoder with a frozen pretrained backbone: the features of that backbone alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.backbone import Backbone
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.inference import Forward, Inference
from aekit.errors import DataError
from aekit.progress import SILENT, Progress

NAME = "features"
BATCH = 256


def has_pretrained_features(encoder: Encoder) -> bool:
    """Return whether an encoder has a fully frozen pretrained backbone with trained layers on top."""
    trunk = _trunk(encoder)
    frozen = encoder.record.get("frozen", 0) >= len(trunk.stages)
    return frozen and "weights" in encoder.record and trunk.features_dim != encoder.dim


def _trunk(encoder: Encoder) -> Backbone:
    return getattr(encoder.backbone, "trunk", encoder.backbone)


def backbone_features(
    source: Source,
    rows: np.ndarray,
    encoder: Encoder,
    *,
    progress: Progress = SILENT,
    free_cores: Callable[[], int] | None = None,
) -> np.ndarray:
    """Compute the features (N, F) float32 of the backbone, before any added layers and the head.

    Args:
        source: source of the samples.
        rows: (N,) positions in the source.
        encoder: the encoder.
        progress: receives a bar.
        free_cores: as in `aekit.encoder.inference.Inference`.

    Raises:
        DataError: a sample can no longer be read.
    """
    return network_features(
        source,
        rows,
        encoder,
        _trunk(encoder).features_dim,
        forward=lambda encoder, raw: _trunk(encoder)(encoder.preprocess(raw)),
        progress=progress,
        free_cores=free_cores,
    )


def network_features(
    source: Source,
    rows: np.ndarray,
    network: Encoder,
    dim: int,
    *,
    forward: Forward | None = None,
    title: str = "backbone features",
    progress: Progress = SILENT,
    free_cores: Callable[[], int] | None = None,
) -> np.ndarray:
    """Compute features (N, F) float32 of a network for raw samples.

    Args:
        source: source of the samples.
        rows: (N,) positions in the source.
        network: the network.
        dim: F, width of the features.
        forward: as in `aekit.encoder.inference.Inference`; default: the embeddings.
        title: title of the bar.
        progress: receives a bar.
        free_cores: as in `aekit.encoder.inference.Inference`.

    Raises:
        DataError: a sample can no longer be read.
    """
    inference = Inference(network, len(rows), device=network.device, forward=forward, free_cores=free_cores)
    features = np.empty((len(rows), dim), np.float32)
    with progress.task(title, len(rows)) as task, eval_mode(network):
        for start in range(0, len(rows), BATCH):
            raw, ok = read_valid(source, rows[start : start + BATCH])
            if not ok.all():
                raise DataError(f"{source.ids[int(rows[start + int(np.argmin(ok))])]}: can no longer be read")
            features[start : start + BATCH] = inference(to_tensor(raw)).cpu().numpy()
            task.advance(len(raw))
    return features
