"""How much of the test samples an autoencoder keeps, beside PCA of the same width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import load_samples
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.data.stream import stream
from aekit.encoder.eval_mode import eval_mode
from aekit.errors import DataError
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.results import Metric, Result
from aekit.evaluation.splits import evenly_spaced
from aekit.nn.pca import fit_pca
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.losses import ssim
from aekit.progress import SILENT, Progress

NAME = "reconstruction"
FITTED = 20_000
"""Training samples that PCA is fitted on."""
BATCH = 256


def evaluate_reconstruction(
    autoencoder: Autoencoder,
    source: Source,
    train: np.ndarray,
    test: np.ndarray,
    *,
    baselines: bool = True,
    groups: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Result]:
    """Squared error, signal to noise and structural similarity of what comes back, on the network's scale.

    Args:
        autoencoder: that restores samples.
        source: of them.
        train: (N1,) positions that the principal components are fitted on, at most 20,000 of them.
        test: (N3,) positions that are judged.
        controls: whether to judge PCA too.
        groups: (N3,) of the test samples, or None.
        seed: of the bootstrap.
        progress: receives a bar.

    Returns:
        ``encoder`` and, where the code is narrower than the sample, ``pca-D`` -> a result with ``explained``, the share of the
        test samples' variance that comes back (1 is perfect, 0 no better than their mean), ``mse``, and for images and clips
        ``psnr`` in decibels and, for images, ``ssim``.

    Raises:
        DataError: a sample can no longer be read.
    """
    encoder = autoencoder.encoder
    ways: dict[str, Callable[[Tensor], Tensor]] = {"encoder": autoencoder.reconstruct}
    if baselines and encoder.dim < encoder.spec.size:
        samples = load_samples(source, evenly_spaced(train, FITTED), encoder.device, strict=True, progress=progress)
        principal = fit_pca(samples, encoder.preprocess, encoder.dim)
        ways[f"pca-{principal.dim}"] = lambda raw: principal.reconstruct(encoder.preprocess(raw))
    low, high = encoder.preprocess.low, encoder.preprocess.high
    peak = 1.0 if encoder.preprocess.unit else max(float(high.max()) - float(low.min()), 1e-12)
    found: dict[str, dict[str, list[Tensor]]] = {name: {} for name in ways}
    total, squares, entries = 0.0, 0.0, 0
    with eval_mode(autoencoder):
        for _, raw in stream(source, test, encoder.device, title="reconstruct", batch_size=BATCH, progress=progress):
            x = encoder.preprocess(raw)
            total, squares = total + x.double().sum(0), squares + x.double().square().sum()
            entries += x.numel()
            for name, way in ways.items():
                for figure, values in _figures(way(raw), x, encoder.spec, peak).items():
                    found[name].setdefault(figure, []).append(values.cpu())
    count = entries // encoder.spec.size
    if count < len(test):
        raise DataError(f"{len(test) - count} of {len(test)} test samples can no longer be read")
    variance = float(squares - torch.as_tensor(total).square().sum() / count) / entries
    return {name: _result(own, variance, groups, seed) for name, own in found.items()}


def _figures(back: Tensor, x: Tensor, spec: SampleSpec, peak: float) -> dict[str, Tensor]:
    """(B,) of each figure."""
    errors = squared_errors(back, x)
    found = {"mse": errors}
    if spec.is_visual:
        found["psnr"] = psnr_from_mse(errors, peak)
    if spec.is_image:
        found["ssim"] = ssim(back.double(), x.double(), peak)
    return found


def _result(figures: dict[str, list[Tensor]], variance: float, groups: np.ndarray | None, seed: int) -> Result:
    every = {name: torch.cat(parts).numpy() for name, parts in figures.items()}
    scores = 1 - every["mse"] / max(variance, 1e-30)
    metrics: dict[str, Metric] = {"explained": bootstrap(scores, seed=seed, groups=groups)}
    metrics |= {name: bootstrap(values, seed=seed, groups=groups) for name, values in every.items()}
    return Result(metrics, scores=scores, chance=0.0)
