"""Stream the readable samples of a source as batches on a device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.errors import DataError
from aekit.progress import SILENT, Progress

BATCH = 256


def stream(
    source: Source,
    rows: np.ndarray,
    device: torch.device,
    *,
    title: str,
    batch_size: int = BATCH,
    progress: Progress = SILENT,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield positions (B,) in the source and raw samples (B, *shape).

    Args:
        source: source of the samples; its `skipped` receives the unreadable ones.
        rows: (N,) positions to read, in this order.
        device: device of the tensors.
        title: title of the progress bar.
        batch_size: samples per batch.
        progress: receives a progress bar.

    Raises:
        DataError: no sample can be read.
    """
    usable = 0
    with progress.task(title, len(rows)) as task:
        for start in range(0, len(rows), batch_size):
            indices = rows[start : start + batch_size]
            raw, ok = read_valid(source, indices)
            usable += int(ok.sum())
            task.advance(len(indices))
            if ok.any():
                yield indices[ok], to_tensor(raw[ok]).to(device)
    if not usable:
        reasons = [f"{name}: {why}" for name, why in list(source.skipped.items())[:3]]
        raise DataError(f"none of {len(rows)} samples can be used; {'; '.join(reasons)}")
