"""How probable a variational autoencoder finds a sample, by importance sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aekit.errors import DataError
from aekit.nn.gaussian import GaussianHead, log_importance_weights, reparameterize
from aekit.objectives.autoencoder import Autoencoder, repeat_draws
from aekit.objectives.losses import LOSSES

ENTRIES = 2**21
"""Numbers of decoded samples that are held at a time."""


@torch.no_grad()
def log_likelihood(autoencoder: Autoencoder, raw: Tensor, generator: torch.Generator, draws: int = 5000) -> Tensor:
    """Estimates log p(x) of each sample by the importance-weighted bound: below it on average, and nearer with more draws.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2015. In memory that does not grow with the draws.

    Args:
        autoencoder: whose head is Gaussian, as of the variants vae, iwae, beta-tc and dip; from `load_autoencoder`.
        raw: (B, *shape) samples in their own dtype. For ``bce`` to be a likelihood they have to be black or white.
        generator: of the draws, on the encoder's device.
        draws: K, of each sample.

    Returns:
        (B,) nats: the logarithm of a probability (``bce``, ``logistic``), or of a density on the preprocessed scale
        (``gaussian``). Where lower layers were frozen, of what they give.

    Raises:
        DataError: the autoencoder has no Gaussian head, or its loss is not the logarithm of a likelihood.
    """
    encoder, head = autoencoder.trained_part, autoencoder.trained_part.head
    if not isinstance(head, GaussianHead):
        raise DataError(f"a head of {type(head).__name__} gives no likelihoods; only a Gaussian one, as of 'vae', does")
    if not autoencoder.likelihood.normalized:
        known = ", ".join(name for name, loss in LOSSES.items() if loss.normalized)
        raise DataError(f"loss {autoencoder.loss_name!r} is not the logarithm of a likelihood; expected one of {known}")
    training = autoencoder.training
    autoencoder.eval()
    found = []
    for rows in raw.to(encoder.device).split(max(1, min(256, ENTRIES // encoder.spec.size))):
        clean = encoder.preprocess(rows)
        mean, logvar = head.posterior(encoder.backbone(clean))
        at_once = max(1, ENTRIES // clean.numel())
        total = mean.new_full((len(rows),), -torch.inf)
        for start in range(0, draws, at_once):
            codes = reparameterize(mean, logvar, min(at_once, draws - start), generator)
            count = len(codes) // len(rows)
            output = autoencoder.decoder(codes).float()
            errors = autoencoder.likelihood(output, repeat_draws(clean, count))
            weights = log_importance_weights(codes, mean, logvar) - errors.view(count, -1)
            total = torch.logaddexp(total, weights.logsumexp(0))
        found.append(total - math.log(draws))
    autoencoder.train(training)
    return torch.cat(found)
