"""Log-likelihoods of samples under a variational autoencoder, by importance sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aekit._arguments import checked_arguments
from aekit.encoder.eval_mode import eval_mode
from aekit.errors import DataError
from aekit.nn.gaussian import GaussianHead, log_importance_weights, reparameterize
from aekit.objectives.autoencoder import Autoencoder, repeat_draws
from aekit.objectives.losses import LOSSES

MAX_ENTRIES = 2**21
"""Entries of decoded samples in memory at a time."""


@checked_arguments
def log_likelihood(autoencoder: Autoencoder, raw: Tensor, generator: torch.Generator, draws: int = 5000) -> Tensor:
    """Estimate log p(x) of each sample by the importance-weighted lower bound, which tightens with more draws.

    Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2015. Memory does not grow with the number of draws.

    Args:
        autoencoder: from `load_autoencoder`, with a Gaussian head (variants vae, iwae, beta-tc, dip).
        raw: (B, *shape) samples in their own dtype. ``bce`` is a likelihood only for binary samples.
        generator: for the draws, on the encoder's device.
        draws: K, codes drawn per sample.

    Returns:
        (B,) nats: the log of a probability (``bce``, ``logistic``), or of a density on the preprocessed scale (``gaussian``);
        of the features of frozen layers, if there are any.

    Raises:
        DataError: the autoencoder has no Gaussian head, or its loss is not a log-likelihood.

    >>> import torch
    >>> samples = np.random.default_rng(0).integers(0, 2, (40, 1, 6, 6), dtype=np.uint8)
    >>> options = {"encoder.backbone": "mlp", "objective.loss": "bce"}
    >>> encoder = aekit.fit(samples, variants=["vae"], dim=2, epochs=1, overrides=options, out="vae", report=False)
    >>> autoencoder = aekit.load_autoencoder("vae")
    >>> aekit.log_likelihood(autoencoder, torch.from_numpy(samples[:3]), torch.Generator().manual_seed(0), draws=10).shape
    torch.Size([3])
    """
    encoder, head = autoencoder.trained_part, autoencoder.trained_part.head
    if not isinstance(head, GaussianHead):
        raise DataError(
            f"head {type(head).__name__} has no likelihood; expected a Gaussian head, as from variant 'vae'"
        )
    if not autoencoder.likelihood.normalized:
        known = ", ".join(name for name, loss in LOSSES.items() if loss.normalized)
        raise DataError(f"loss {autoencoder.loss_name!r} is not a log-likelihood; expected one of {known}")
    estimates = []
    with eval_mode(autoencoder):
        for rows in raw.to(encoder.device).split(max(1, min(256, MAX_ENTRIES // encoder.spec.size))):
            clean = encoder.preprocess(rows)
            mean, logvar = head.posterior(encoder.backbone(clean))
            chunk = max(1, MAX_ENTRIES // clean.numel())
            total = mean.new_full((len(rows),), -torch.inf)
            for start in range(0, draws, chunk):
                codes = reparameterize(mean, logvar, min(chunk, draws - start), generator)
                count = len(codes) // len(rows)
                output = autoencoder.decoder(codes).float()
                errors = autoencoder.likelihood(output, repeat_draws(clean, count))
                weights = log_importance_weights(codes, mean, logvar) - errors.view(count, -1)
                total = torch.logaddexp(total, weights.logsumexp(0))
            estimates.append(total - math.log(draws))
    return torch.cat(estimates)
