"""Measure how well an autoencoder reconstructs the test samples, compared with PCA of the same width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import load_samples
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.data.stream import stream
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.identity import check_same_encoder
from aekit.encoder.inference import Inference
from aekit.errors import DataError
from aekit.evaluation._context import EvaluationContext
from aekit.evaluation._provenance import Provenance
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.results import Metric, Result
from aekit.evaluation.splits import evenly_spaced
from aekit.nn.pca import fit_pca
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.objectives.losses import ssim
from aekit.progress import SILENT, Progress

NAME = "reconstruction"
PCA_SAMPLES = 20_000
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
    """Measure squared error, signal-to-noise ratio and structural similarity of the reconstruction, on the network's scale.

    Args:
        autoencoder: autoencoder that reconstructs samples.
        source: source of the samples.
        train: (N1,) positions of the training samples; PCA is fitted on at most 20,000 of them.
        test: (N3,) positions of the test samples.
        baselines: evaluate PCA too.
        groups: (N3,) groups of the test samples, or None.
        seed: seed of the bootstrap.
        progress: receives a bar.

    Returns:
        ``encoder`` and, if the embedding is narrower than the sample, ``pca-D`` -> a result with ``explained``, the fraction of
        the test samples' variance that is reconstructed (1 is perfect, 0 no better than their mean), ``mse``, and for images
        and clips ``psnr`` in decibels and, for images, ``ssim``.

    Raises:
        DataError: a sample can no longer be read.
    """
    encoder = autoencoder.encoder
    run = Inference(autoencoder, len(test), device=encoder.device, forward=Autoencoder.reconstruct)
    methods: dict[str, Callable[[Tensor], Tensor]] = {"encoder": run}
    if baselines and encoder.dim < encoder.spec.size:
        samples = load_samples(
            source, evenly_spaced(train, PCA_SAMPLES), encoder.device, strict=True, progress=progress
        )
        principal = fit_pca(samples, encoder.preprocess, encoder.dim)
        methods[f"pca-{principal.dim}"] = lambda raw: principal.reconstruct(encoder.preprocess(raw))
    low, high = float(encoder.preprocess.low.min()), float(encoder.preprocess.high.max())
    black, peak = (0.0, 1.0) if encoder.preprocess.unit else (low, max(high - low, 1e-12))
    values_by_method: dict[str, dict[str, list[Tensor]]] = {name: {} for name in methods}
    total, squares, entries = 0.0, 0.0, 0
    with eval_mode(autoencoder):
        for _, raw in stream(source, test, encoder.device, title="reconstruct", batch_size=BATCH, progress=progress):
            x = encoder.preprocess(raw)
            total, squares = total + x.double().sum(0), squares + x.double().square().sum()
            entries += x.numel()
            for name, reconstruct in methods.items():
                for metric, values in _image_metrics(reconstruct(raw), x, encoder.spec, black, peak).items():
                    values_by_method[name].setdefault(metric, []).append(values.cpu())
    count = entries // encoder.spec.size
    if count < len(test):
        raise DataError(f"{len(test) - count} of {len(test)} test samples can no longer be read")
    variance = float(squares - torch.as_tensor(total).square().sum() / count) / entries
    return {name: _result(values, variance, groups, seed) for name, values in values_by_method.items()}


def _image_metrics(reconstruction: Tensor, x: Tensor, spec: SampleSpec, black: float, peak: float) -> dict[str, Tensor]:
    """Return (B,) values of each metric; those of images are of values from `black` to `black` + `peak`."""
    errors = squared_errors(reconstruction, x)
    metrics = {"mse": errors}
    if spec.is_visual:
        metrics["psnr"] = psnr_from_mse(errors, peak)
    if spec.is_image:
        metrics["ssim"] = ssim(reconstruction.double() - black, x.double() - black, peak)
    return metrics


def _result(parts_by_metric: dict[str, list[Tensor]], variance: float, groups: np.ndarray | None, seed: int) -> Result:
    values_by_metric = {name: torch.cat(parts).numpy() for name, parts in parts_by_metric.items()}
    scores = 1 - values_by_metric["mse"] / max(variance, 1e-30)
    metrics: dict[str, Metric] = {"explained": bootstrap(scores, seed=seed, groups=groups)}
    metrics |= {name: bootstrap(values, seed=seed, groups=groups) for name, values in values_by_metric.items()}
    return Result(metrics, scores=scores, chance=0.0)


def evaluate_run(
    context: EvaluationContext, provenance: Provenance, run: str | Path | Autoencoder, *, baselines: bool
) -> dict[str, Result]:
    """Return subject -> the reconstruction of the test samples by a run; {} if its decoder does not reconstruct samples.

    Args:
        context: the evaluation.
        provenance: source and encoder of the embeddings.
        run: folder of the run, or its autoencoder.
        baselines: evaluate PCA too.

    Raises:
        IdentityError: the run is of another encoder.
    """
    encoder = provenance.encoder
    autoencoder = run if isinstance(run, Autoencoder) else load_autoencoder(run, device=encoder.device)
    check_same_encoder(autoencoder.encoder.digest, encoder.digest, what="the run", maker="the embeddings are")
    if not autoencoder.reconstructs_samples:
        context.notes.append(
            "no reconstruction: the decoder reconstructs the output of frozen stages rather than samples"
        )
        return {}
    positions = provenance.rows[context.rows]
    return evaluate_reconstruction(
        autoencoder,
        provenance.source,
        positions[context.split.train],
        positions[context.split.test],
        baselines=baselines,
        groups=context.split.test_groups,
        seed=context.seed,
        progress=context.progress,
    )
