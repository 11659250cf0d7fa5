"""What can be said of an encoder without labels, from a quick look at a sample of its own training data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from aekit.data.samples import Samples
    from aekit.encoder.encoder import Encoder
    from aekit.objectives.autoencoder import Autoencoder

LOOK_AT = 2048


@torch.inference_mode()
def training_metrics(
    encoder: Encoder, samples: Samples, autoencoder: Autoencoder | None, targets: Samples | None = None
) -> dict[str, float]:
    """Figures of a trained encoder on at most 2048 of its training samples.

    Args:
        encoder: that is trained.
        samples: that it was trained on.
        autoencoder: around the encoder, if there is one.
        targets: what is to be restored, where that is not the samples.

    Returns:
        ``effective_rank`` of the embedding (see `effective_rank`), ``dead_units``, the number of its entries that never
        change, and, where there is an autoencoder, ``explained``, the share of the samples' variance that the
        reconstruction explains (1 is perfect, 0 is no better than the mean), ``mse``, the mean squared error of an entry
        on the network's scale, and ``psnr`` in decibels where that scale is 0..1. Where it restores what frozen layers give,
        the two are of that, and are named ``features_explained`` and ``features_mse``.
    """
    encoder.eval()
    codes, error, variance = [], 0.0, 0.0
    chunks = list(samples.chunks(size=256, max_samples=LOOK_AT))
    wanted = chunks if targets is None else list(targets.chunks(size=256, max_samples=LOOK_AT))
    preprocess = encoder.preprocess if autoencoder is None else autoencoder.trained_part.preprocess
    mean = sum(preprocess(raw).sum(0) for raw in wanted) / sum(len(raw) for raw in wanted)
    if autoencoder is not None:
        autoencoder.eval()
    for raw, target in zip(chunks, wanted):
        codes.append(encoder(raw).float().cpu())
        if autoencoder is not None:
            clean = preprocess(target)
            error += (autoencoder.reconstruct(raw) - clean).square().sum().item()
            variance += (clean - mean).square().sum().item()
    code = torch.cat(codes)
    spread = code.std(0) if len(code) > 1 else torch.zeros(code.shape[1])
    figures = {
        "effective_rank": round(effective_rank(code), 2),
        "dead_units": float((spread <= 1e-6 * spread.max().clamp(min=1e-12)).sum()),
    }
    if autoencoder is not None and variance > 0:
        of = "" if autoencoder.reconstructs_samples else "features_"
        figures[f"{of}explained"] = round(1 - error / variance, 4)
        mse = error / (len(code) * autoencoder.trained_part.spec.size)
        figures[f"{of}mse"] = float(f"{mse:.4g}")
        if autoencoder.reconstructs_samples and preprocess.unit and mse > 0:
            figures["psnr"] = round(-10 * math.log10(mse), 2)
    return figures


def effective_rank(code: Tensor) -> float:
    """The number of directions that (N, D) embeddings use: exp of the entropy of their normalized singular values.

    Roy and Vetterli, The effective rank, 2007. Between 1 and min(N, D); 0 if all embeddings are equal.
    """
    values = variance_spectrum(code).sqrt()
    if values.max() <= 1e-12:
        return 0.0
    share = values / values.sum()
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))


def variance_spectrum(code: Tensor) -> Tensor:
    """(N, D) -> (min(N, D),) float64, the squared singular values of the centerd embeddings, the smallest first."""
    centerd = (code - code.mean(0)).double()
    # Both products have the same eigenvalues but for zeros: the smaller one is quicker.
    product = centerd.T @ centerd if code.shape[1] <= len(code) else centerd @ centerd.T
    return torch.linalg.eigvalsh(product).clamp(min=0)
