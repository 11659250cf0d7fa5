"""Apply a task to units of samples in a worker process. ``python -m aekit.workflows.applying._worker DESCRIPTOR`` runs one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from aekit.data.source import Source
from aekit.encoder.engines.units import Setup
from aekit.encoder.engines.worker import Batch, WorkerBase, serve
from aekit.workflows.applying._context import Context
from aekit.workflows.applying._denoising import Denoising
from aekit.workflows.applying._reconstruction import Reconstruction
from aekit.workflows.applying._restoration import Restoration
from aekit.workflows.applying._sharing import STATE, Step


class Worker(WorkerBase):
    """Apply a task to units of samples."""

    def open(self, setup: Setup) -> Source:
        told, folder = setup.settings, Path(setup.folder)
        context = Context(folder, told["task"], told["data"], told["options"], told["split"], device=setup.device)
        with torch.inference_mode():
            self._step = _make_step(context, told["settings"], folder / STATE)
        return self._step.source

    def compute(self, positions: np.ndarray) -> Iterator[Batch]:
        with torch.inference_mode():
            for _, applied in self._step.apply(positions):
                if applied is not None:
                    yield applied.positions, applied.columns()


def _make_step(context: Context, settings: dict[str, Any], state: Path) -> Step:
    """Build the step of the context's task from what `applied_to_all` has sent."""
    if context.task == "reconstruct":
        return Reconstruction.from_state(context, load_file(state, device=context.device), **settings)
    if context.task == "denoise":
        return Denoising(context, [], **settings)
    return Restoration(context, [], **settings)


if __name__ == "__main__":
    serve(Worker)
