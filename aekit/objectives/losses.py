"""How a reconstruction is compared with its sample: the losses of the autoencoder, and measures for reports.

Each loss is the negative logarithm of a likelihood, in nats, or stands in for one. Errors are summed over the entries of a
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
from aekit.registry.options import Field


class ReconstructionLoss(nn.Module):
    """A loss between a decoder's output, before its activation, and the sample.

    What it learns is trained and saved with the decoder. Its keyword-only parameters are its options, as those of plugins.

    Attributes:
        unit: whether it needs samples in [0, 1].
        normalized: whether the exponential of an error, negated, is a probability or a density of the sample, so that
            likelihoods can be told from it.
    """

    unit: bool = False
    normalized: bool = False

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        """(B, *shape) outputs and samples -> (B, *shape) errors."""
        raise NotImplementedError

    def forward(self, output: Tensor, clean: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, *shape) outputs and samples -> (B,) errors, summed over entries; `weights` (B, *shape) are factors on them."""
        entries = self.elementwise(output, clean)
        return (entries if weights is None else entries * weights).flatten(1).sum(1)

    def activate(self, output: Tensor) -> Tensor:
        """(B, *shape) outputs on the scale of the preprocessed sample: the mean of the likelihood."""
        return torch.sigmoid(output) if self.unit else output

    def inverse_activation(self, x: Tensor) -> Tensor:
        """(B, *shape) samples -> the outputs (B, *shape) whose activation they are, as nearly as finite numbers allow."""
        return torch.logit(x, 1e-3) if self.unit else x


class Bernoulli(ReconstructionLoss):
    """Binary cross-entropy: each entry in [0, 1] is read as a probability."""

    unit, normalized = True, True

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, clean, reduction="none")


class SquaredError(ReconstructionLoss):
    """Squared error, linear output."""

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        return (output - clean).square()


class Huber(ReconstructionLoss):
    """Squared error, halved, up to a distance of `delta`, and linear from there on: single large errors weigh less.

    Huber, Robust estimation of a location parameter, 1964. The default is a tenth of the range of data in [0, 1].
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        delta: Annotated[
            float, Field(gt=0, description="distance from which on errors are linear, on the network's scale")
        ] = 0.1,
    ) -> None:
        super().__init__(spec)
        self.delta = delta

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        return F.huber_loss(output, clean, reduction="none", delta=self.delta)


class LogScale(nn.Module):
    """The logarithm of a learned scale for each channel (for each column of vectors).

    Args:
        spec: of the samples.
        start: its first value.
        lowest: where it bends before it falls below.
    """

    PACE = 10.0
    """How much faster than other weights it moves: data may be finer than the start by several powers of e."""

    def __init__(self, spec: SampleSpec, start: float, lowest: float) -> None:
        super().__init__()
        self.lowest, self.rank = lowest, len(spec.shape)
        # As a vector, so that weight decay leaves it alone.
        self.free = nn.Parameter(torch.full((spec.shape[0],), start / self.PACE))

    def forward(self) -> Tensor:
        """(C, 1, ...) or (D,), to go with samples."""
        bent = self.lowest + F.softplus(self.PACE * self.free - self.lowest)
        return bent.view(-1, *[1] * (self.rank - 1))


class Gaussian(ReconstructionLoss):
    """Negative log-density of a normal distribution about the output, with one learned deviation for each channel (for each
    column of vectors), on the scale of the preprocessed sample.

    What the weight between reconstruction and penalties would be is learned with the rest. Rybkin, Daniilidis and Levine,
    Simple and effective VAE training with calibrated decoders, 2021, whose lower limit of e^-6 keeps a channel that is
    reproduced exactly from growing beyond all bounds.
    """

    normalized = True

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.log_deviation = LogScale(spec, start=0.0, lowest=-6.0)

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        log_deviation = self.log_deviation()
        return (((output - clean) / log_deviation.exp()).square() + math.log(2 * math.pi)) / 2 + log_deviation


class Logistic(ReconstructionLoss):
    """Negative log-probability of a level of 8- or 16-bit data under a logistic distribution about the output, cut into as
    many bins as there are levels; the lowest and the highest bin hold the tails. One learned scale for each channel.

    Kingma et al., Improved variational inference with inverse autoregressive flow, 2016; Salimans et al., PixelCNN++, 2017.
    Levels are those of the dtype spread over [0, 1], as ``unit`` scaling of 8-bit data does it. At the lower limit of the
    scale, a level in the middle of its bin has probability 0.76.

    Raises:
        ValueError: for data that has no such levels.
    """

    unit, normalized = True, True

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        if spec.dtype not in ("uint8", "uint16"):
            raise ValueError(
                f"needs data of whole levels, uint8 or uint16, found {spec.dtype}; 'gaussian' takes floats"
            )
        self.width = 1.0 / np.iinfo(spec.dtype).max
        """Of a level."""
        self.log_scale = LogScale(spec, start=math.log(0.1), lowest=math.log(self.width / 4))

    def elementwise(self, output: Tensor, clean: Tensor) -> Tensor:
        scale = self.log_scale().exp()
        above, below = (clean - output + self.width / 2) / scale, (clean - output - self.width / 2) / scale
        # log(sigmoid(above) - sigmoid(below)), without the difference of two numbers that may round to the same.
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-self.width / scale))
        lowest, highest = clean < self.width / 2, clean > 1 - self.width / 2
        return -torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), inside))

    def activate(self, output: Tensor) -> Tensor:
        # Linear, as a sigmoid would hold back the gradient at black and white; what lies outside is cut into the end bins.
        return output.clamp(0, 1)

    def inverse_activation(self, x: Tensor) -> Tensor:
        return x


class SSIMLoss(ReconstructionLoss):
    """1 - SSIM about each pixel, for images; beyond the border the image is its own mirror image.

    Raises:
        ValueError: for samples that are not images.
    """

    unit = True

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        if not spec.is_image:
            raise ValueError(f"compares images (C, H, W), found {spec.kind} samples")

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
"""Name in recipes -> loss."""


def ssim(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Structural similarity of two batches of images, 1 where they are equal.

    Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to structural similarity, 2004:
    Gaussian windows of 11 x 11 with deviation 1.5 (of the largest odd size that fits, for images that are smaller), K1 = 0.01,
    K2 = 0.03; averaged over channels and over all windows that lie inside the image.

    Args:
        a, b: (B, C, H, W) float.
        data_range: from the lowest possible value to the highest.

    Returns:
        (B,) in [-1, 1].

    Raises:
        ValueError: they are not two batches of images of one shape.
    """
    if a.ndim != 4 or a.shape != b.shape:
        raise ValueError(f"expected two batches (B, C, H, W) of one shape, found {tuple(a.shape)} and {tuple(b.shape)}")
    return _similarity(a / data_range, b / data_range, mirrored=False).flatten(1).mean(1)


def psnr(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of two batches (B, *shape) in decibels, (B,): infinite where they are equal."""
    return 10 * torch.log10(data_range**2 / (a - b).square().flatten(1).mean(1))


def _similarity(a: Tensor, b: Tensor, *, mirrored: bool) -> Tensor:
    """(B, C, H, W) in [0, 1] -> SSIM of each window; (B, C, H, W) if the border is mirrored, else only inside windows."""
    size = min(11, *a.shape[-2:])
    size -= 1 - size % 2
    down, along = (_blur(side, size, mirrored).to(a) for side in a.shape[-2:])
    with torch.autocast(a.device.type, enabled=False):  # variances as differences of means need all digits
        # (5, B, C, H, W) -> five of (B, C, h, w)
        mean_a, mean_b, aa, bb, ab = down @ torch.stack([a, b, a * a, b * b, a * b]) @ along.T
    c1, c2 = 0.01**2, 0.03**2
    of_means = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    of_shapes = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a.square() + bb - mean_b.square() + c2)
    return of_means * of_shapes


def _blur(side: int, size: int, mirrored: bool) -> Tensor:
    """A Gaussian window of `size` at each place along a side, as a matrix (places, side) float64: for one channel, products
    with it are many times faster than convolutions."""
    window = torch.exp(-0.5 * ((torch.arange(size, dtype=torch.float64) - size // 2) / 1.5).square())
    first, places = (-(size // 2), side) if mirrored else (0, side - size + 1)
    seen = first + torch.arange(places).unsqueeze(1) + torch.arange(size)  # (places, size)
    seen = side - 1 - (side - 1 - seen.abs()).abs()
    return torch.zeros(places, side, dtype=torch.float64).scatter_add_(1, seen, (window / window.sum()).expand_as(seen))
