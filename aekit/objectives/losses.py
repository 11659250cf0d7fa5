"""Reconstruction losses of the autoencoder, and image metrics for reports.

Each loss is a negative log-likelihood in nats, or a substitute for one. Errors are summed over the entries of a
sample, as in the literature's nats per sample, so that the weight of a penalty means the same for every loss and sample size.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.data.spec import SampleSpec
from aekit.io.device_constants import constant_like
from aekit.registry.options import Field


class ReconstructionLoss(nn.Module):
    """A loss between a decoder's output, before its activation, and the sample.

    Its parameters are trained and saved with the decoder. Its keyword-only arguments are its options, as for plugins.

    Attributes:
        unit: whether it needs samples in [0, 1].
        normalized: whether exp(-error) is a probability or a density of the sample, so that likelihoods can be computed.
    """

    unit: bool = False
    normalized: bool = False

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        """Return errors (B, *shape) of outputs for samples, (B, *shape) each."""
        raise NotImplementedError

    def forward(self, output: Tensor, clean: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return errors (B,), weighted by `weights` (B, *shape) and summed over entries, of outputs for samples (B, *shape)."""
        entries = self.elementwise(output, clean)
        return (entries if weights is None else entries * weights).flatten(1).sum(1)

    def activate(self, output: Tensor) -> Tensor:
        """Map outputs (B, *shape) to the scale of the preprocessed sample: the mean of the likelihood."""
        return torch.sigmoid(output) if self.unit else output

    def inverse_activation(self, x: Tensor) -> Tensor:
        """Return the outputs (B, *shape) whose activation gives these samples, as closely as finite numbers allow."""
        return torch.logit(x, 1e-3) if self.unit else x


class Bernoulli(ReconstructionLoss):
    """Binary cross-entropy: each entry in [0, 1] is a probability."""

    unit, normalized = True, True

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, clean, reduction="none")


class SquaredError(ReconstructionLoss):
    """Squared error, linear output."""

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        return (output - clean).square()


class Huber(ReconstructionLoss):
    """Half the squared error up to a distance of `delta`, linear beyond, so that outliers weigh less.

    Huber, Robust estimation of a location parameter, 1964. The default is a tenth of the range of data in [0, 1].
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        delta: Annotated[
            float, Field(gt=0, description="distance beyond which errors are linear, on the network's scale")
        ] = 0.1,
    ) -> None:
        super().__init__(spec)
        self.delta = delta

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        return F.huber_loss(output, clean, reduction="none", delta=self.delta)


class LogScale(nn.Module):
    """Learned log-scale for each channel, or for each column of vectors.

    Args:
        spec: of the samples.
        start: initial value.
        lowest: soft lower bound.
    """

    LR_SCALE = 10.0
    """Learning rate multiplier: the scale of the data may be smaller than the initial value by several powers of e."""

    def __init__(self, spec: SampleSpec, start: float, lowest: float) -> None:
        super().__init__()
        self.lowest, self.rank = lowest, len(spec.shape)
        # A vector, so that weight decay skips it.
        self.free = nn.Parameter(torch.full((spec.shape[0],), start / self.LR_SCALE))

    def forward(self) -> Tensor:
        """Return the log-scale, (C, 1, ...) or (D,), which broadcasts to samples."""
        bounded = self.lowest + F.softplus(self.LR_SCALE * self.free - self.lowest)
        return bounded.view(-1, *[1] * (self.rank - 1))


class Gaussian(ReconstructionLoss):
    """Negative log-density of a normal distribution around the output, with one learned standard deviation per channel, or per
    column of vectors, on the scale of the preprocessed sample.

    The balance between reconstruction and penalties is thereby learned. Rybkin, Daniilidis and Levine,
    Simple and effective VAE training with calibrated decoders, 2021, whose lower bound of e^-6 keeps the density of
    an exactly reconstructed channel finite.
    """

    normalized = True

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.log_deviation = LogScale(spec, start=0.0, lowest=-6.0)

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        log_deviation = self.log_deviation()
        return (((output - clean) / log_deviation.exp()).square() + math.log(2 * math.pi)) / 2 + log_deviation


class Logistic(ReconstructionLoss):
    """Negative log-probability of 8- or 16-bit data under a logistic distribution around the output, discretized to one bin
    per level; the lowest and the highest bin hold the tails. One learned scale per channel.

    Kingma et al., Improved variational inference with inverse autoregressive flow, 2016; Salimans et al., PixelCNN++, 2017.
    Levels are spread over [0, 1], as by ``unit`` scaling of 8-bit data. At the lower bound of the scale, a level in the
    middle of its bin has probability 0.76.

    Raises:
        ValueError: the data is neither uint8 nor uint16.
    """

    unit, normalized = True, True

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        if spec.dtype not in ("uint8", "uint16"):
            raise ValueError(f"expected uint8 or uint16 data, found {spec.dtype}; use 'gaussian' for floats")
        self.width = 1.0 / np.iinfo(spec.dtype).max  # of a level
        self.log_scale = LogScale(spec, start=math.log(0.1), lowest=math.log(self.width / 4))

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        scale = self.log_scale().exp()
        above, below = (clean - output + self.width / 2) / scale, (clean - output - self.width / 2) / scale
        # log(sigmoid(above) - sigmoid(below)), without cancellation.
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-self.width / scale))
        lowest, highest = clean < self.width / 2, clean > 1 - self.width / 2
        return -torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), inside))

    def activate(self, output: Tensor) -> Tensor:
        # Linear, since a sigmoid would attenuate gradients at black and white; values outside go to the end bins.
        return output.clamp(0, 1)

    def inverse_activation(self, x: Tensor) -> Tensor:
        return x


class SSIMLoss(ReconstructionLoss):
    """1 - SSIM around each pixel of an image, with mirrored borders.

    Raises:
        ValueError: the samples are not images.
    """

    unit = True

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        spec.require("image")

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        return 1 - _similarity(torch.sigmoid(output), clean, mirrored=True)


LOSSES: dict[str, type[ReconstructionLoss]] = {
    "bce": Bernoulli,
    "mse": SquaredError,
    "gaussian": Gaussian,
    "logistic": Logistic,
    "huber": Huber,
    "ssim": SSIMLoss,
}
"""Name of a loss in recipes -> its class."""


def ssim(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Return the structural similarity of two batches of images, 1 if they are equal.

    Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to structural similarity, 2004:
    Gaussian windows of 11 x 11 (the largest odd size that fits, for smaller images) with standard deviation 1.5, K1 = 0.01,
    K2 = 0.03; averaged over channels and over all windows inside the image.

    Args:
        a, b: (B, C, H, W) float, from 0, the lowest possible value: their means are compared as brightness.
        data_range: the highest possible value.

    Returns:
        (B,) in [-1, 1].

    Raises:
        ValueError: the inputs are not two batches of images of one shape.
    """
    if a.ndim != 4 or a.shape != b.shape:
        raise ValueError(f"expected two batches (B, C, H, W) of one shape, found {tuple(a.shape)} and {tuple(b.shape)}")
    return _similarity(a / data_range, b / data_range, mirrored=False).flatten(1).mean(1)


def psnr(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Return the peak signal-to-noise ratios (B,) of two batches (B, *shape) in decibels, infinite if they are equal."""
    return 10 * torch.log10(data_range**2 / (a - b).square().flatten(1).mean(1))


def _similarity(a: Tensor, b: Tensor, *, mirrored: bool) -> Tensor:
    """Return the SSIM of each window of (B, C, H, W) in [0, 1]: (B, C, H, W) if borders are mirrored, else smaller."""
    size = min(11, *a.shape[-2:])
    size -= 1 - size % 2
    blur_rows, blur_columns = (constant_like(_blur_matrix, side, size, mirrored, like=a) for side in a.shape[-2:])
    with torch.autocast(a.device.type, enabled=False):  # variances as differences of means need full precision
        # (5, B, C, H, W) -> five of (B, C, h, w)
        mean_a, mean_b, aa, bb, ab = blur_rows @ torch.stack([a, b, a * a, b * b, a * b]) @ blur_columns.T
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a.square() + bb - mean_b.square() + c2)
    return luminance * structure


def _blur_matrix(side: int, size: int, mirrored: bool) -> Tensor:
    """Build the matrix (positions, side) float64 of a Gaussian window of `size` at each position along a side.

    For one channel, products with it are many times faster than convolutions.
    """
    window = torch.exp(-0.5 * ((torch.arange(size, dtype=torch.float64) - size // 2) / 1.5).square())
    first, positions = (-(size // 2), side) if mirrored else (0, side - size + 1)
    indices = first + torch.arange(positions).unsqueeze(1) + torch.arange(size)  # (positions, size)
    indices = side - 1 - (side - 1 - indices.abs()).abs()
    weights = (window / window.sum()).expand_as(indices)
    return torch.zeros(positions, side, dtype=torch.float64).scatter_add_(1, indices, weights)
