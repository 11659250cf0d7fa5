"""How a reconstruction is compared with its sample: the losses of the autoencoder.

Each is the negative logarithm of a likelihood, in nats, or stands in for one. Errors are summed over the entries of a sample,
as in the literature's nats per sample, so that the weight of a penalty means the same for every loss and sample size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.samples import SampleSpec


class Reconstruction(nn.Module):
    """A loss between a decoder's output, before its activation, and the sample.

    Attributes:
        unit: whether it needs samples in [0, 1].
    """

    unit: bool = False

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()

    def entries(self, output: Tensor, clean: Tensor) -> Tensor:
        """(B, *shape) outputs and samples -> (B, *shape) errors."""
        raise NotImplementedError

    def forward(self, output: Tensor, clean: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, *shape) outputs and samples -> (B,) errors, summed over entries; `weights` (B, *shape) are factors on them."""
        entries = self.entries(output, clean)
        return (entries if weights is None else entries * weights).flatten(1).sum(1)

    def activate(self, output: Tensor) -> Tensor:
        """(B, *shape) outputs on the scale of the preprocessed sample: the mean of the likelihood."""
        return torch.sigmoid(output) if self.unit else output


class Bernoulli(Reconstruction):
    """Binary cross-entropy: each entry in [0, 1] is read as a probability."""

    unit = True

    def entries(self, output: Tensor, clean: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, clean, reduction="none")


class Squared(Reconstruction):
    """Squared error, linear output."""

    def entries(self, output: Tensor, clean: Tensor) -> Tensor:
        return (output - clean).square()


LOSSES: dict[str, type[Reconstruction]] = {"bce": Bernoulli, "mse": Squared}
"""Name in recipes -> loss."""
