"""The control of an encoder on frozen weights of others: what their network gives without what was trained on top of it."""

from __future__ import annotations

import numpy as np
import torch

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.errors import DataError
from aekit.progress import SILENT, Progress

NAME = "features"
BATCH = 256


def has_pretrained_features(encoder: Encoder) -> bool:
    """Whether its backbone has kept weights of others all through, and something was trained on top of it."""
    below = getattr(encoder.backbone, "trunk", encoder.backbone)
    kept = encoder.record.get("frozen", 0) >= len(below.stages)
    return kept and "weights" in encoder.record and below.features_dim != encoder.dim


@torch.inference_mode()
def backbone_features(source: Source, rows: np.ndarray, encoder: Encoder, *, progress: Progress = SILENT) -> np.ndarray:
    """What the backbone gives before any dense layers and the head: (N, F) float32.

    Args:
        source: of the samples.
        rows: (N,) positions in it.
        encoder: whose backbone it is.
        progress: receives a bar.

    Raises:
        DataError: a sample can no longer be read.
    """
    below = getattr(encoder.backbone, "trunk", encoder.backbone)
    found = np.empty((len(rows), below.features_dim), np.float32)
    with progress.task("features before the head", len(rows)) as task, eval_mode(encoder):
        for start in range(0, len(rows), BATCH):
            raw, ok = read_valid(source, rows[start : start + BATCH])
            if not ok.all():
                raise DataError(f"{source.ids[int(rows[start + int(np.argmin(ok))])]}: can no longer be read")
            x = encoder.preprocess(to_tensor(raw).to(encoder.device))
            found[start : start + BATCH] = below(x).float().cpu().numpy()
            task.advance(len(raw))
    return found
