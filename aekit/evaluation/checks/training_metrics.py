"""Measure an encoder without labels, on a sample of its training data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aekit.encoder.inference import Inference
from aekit.objectives.autoencoder import Autoencoder

if TYPE_CHECKING:
    from aekit.data.samples import Samples
    from aekit.encoder.encoder import Encoder

MAX_SAMPLES = 2048


@torch.inference_mode()
def training_metrics(
    encoder: Encoder, samples: Samples, autoencoder: Autoencoder | None, targets: Samples | None = None
) -> dict[str, float]:
    """Compute metrics of a trained encoder on at most 2048 of its training samples.

    Args:
        encoder: the trained encoder.
        samples: its training samples.
        autoencoder: the autoencoder around the encoder, if there is one.
        targets: targets of the reconstruction, if they are not the samples.

    Returns:
        ``effective_rank`` of the embedding (see `effective_rank`), ``dead_units``, the number of constant dimensions, and, with
        an autoencoder, ``explained``, the fraction of the samples' variance that the reconstruction explains (1 is perfect, 0
        is no better than the mean), ``mse``, the mean squared error on the network's scale, and ``psnr`` in decibels if that
        scale is 0..1. An autoencoder that reconstructs the output of frozen layers gives ``features_explained`` and
        ``features_mse`` instead.
    """
    encoder.eval()
    chunks = list(samples.chunks(size=256, max_samples=MAX_SAMPLES))
    targets_of = None if targets is None else list(targets.chunks(size=256, max_samples=MAX_SAMPLES))
    count = sum(map(len, chunks))
    if autoencoder is None:
        embed = Inference(encoder, count, device=encoder.device)
        code, error, variance = torch.cat([embed(raw).cpu() for raw in chunks]), 0.0, 0.0
    else:
        autoencoder.eval()
        code, error, variance = _embed_and_compare(autoencoder, chunks, targets_of or chunks)
    deviation = code.std(0) if len(code) > 1 else torch.zeros(code.shape[1])
    metrics = {
        "effective_rank": round(effective_rank(code), 2),
        "dead_units": float((deviation <= 1e-6 * deviation.max().clamp(min=1e-12)).sum()),
    }
    if autoencoder is not None and variance > 0:
        prefix = "" if autoencoder.reconstructs_samples else "features_"
        metrics[f"{prefix}explained"] = round(1 - error / variance, 4)
        mse = error / (len(code) * autoencoder.trained_part.spec.size)
        metrics[f"{prefix}mse"] = float(f"{mse:.4g}")
        if autoencoder.reconstructs_samples and encoder.preprocess.unit and mse > 0:
            metrics["psnr"] = round(-10 * math.log10(mse), 2)
    return metrics


def _embed_and_compare(
    autoencoder: Autoencoder, chunks: list[Tensor], targets: list[Tensor]
) -> tuple[Tensor, float, float]:
    """Return the embeddings (N, D), and the squared distances of the targets from the reconstruction and from their mean."""
    preprocess, dim = autoencoder.trained_part.preprocess, autoencoder.encoder.dim
    count = sum(map(len, chunks))
    run = Inference(
        autoencoder, count, device=autoencoder.encoder.device, forward=Autoencoder.embed_with_reconstruction
    )
    mean = sum(preprocess(raw).sum(0) for raw in targets) / count
    codes, error, variance = [], 0.0, 0.0
    for raw, target in zip(chunks, targets):
        clean, output = preprocess(target), run(raw)
        codes.append(output[:, :dim].cpu())
        error += (output[:, dim:].reshape(clean.shape) - clean).square().sum().item()
        variance += (clean - mean).square().sum().item()
    return torch.cat(codes), error, variance


def effective_rank(code: Tensor) -> float:
    """Return the number of directions that (N, D) embeddings use: exp of the entropy of their normalized singular values.

    Roy and Vetterli, The effective rank, 2007. Between 1 and min(N, D); 0 if all embeddings are equal.
    """
    values = variance_spectrum(code).sqrt()
    if values.max() <= 1e-12:
        return 0.0
    p = values / values.sum()
    p = p[p > 0]
    return float(torch.exp(-(p * p.log()).sum()))


def variance_spectrum(code: Tensor) -> Tensor:
    """Return (min(N, D),) float64 squared singular values of the centered embeddings (N, D), the smallest first."""
    centered = (code - code.mean(0)).double()
    # Both products have the same nonzero eigenvalues: the smaller one is faster.
    product = centered.T @ centered if code.shape[1] <= len(code) else centered @ centered.T
    return torch.linalg.eigvalsh(product).clamp(min=0)
