"""Random convolutions (ROCKET): strong features of series that need no training."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

KERNELS = 1000
LENGTHS = (7, 9, 11)
MAX_OUTPUT = 2**15
"""Entries that the output of one convolution has for each series, so that long series need no more memory than short ones."""


class RandomConvolutions(nn.Module):
    """Kernels of random lengths, dilations, channels, weights and biases.

    Each gives two features, the fraction of positive outputs and the maximum. Each channel of each series is standardized first.
    Lengths, dilations, paddings and channels are the same for every seed, like the sizes of the layers of a network. Weights and
    biases are drawn, and not trained.

    Dempster, Petitjean and Webb, ROCKET: exceptionally fast and accurate time series classification using random convolutional
    kernels, 2020; by default with a tenth of its kernels.

    Args:
        channels: C.
        steps: T.
        kernels: K.
        generator: draws weights and biases; default: torch's own.

    Attributes:
        weight: (K, C, 11), zero beyond the length of a kernel and in channels that it does not use.
        bias: (K,), uniform in -1 to 1.
        geometry: (K,) length, dilation and padding of each kernel, in ascending order.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, channels: int, steps: int, kernels: int = KERNELS, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.geometry, used = _geometry(channels, steps, kernels)
        weight = torch.randn(kernels, channels, max(LENGTHS), generator=generator)
        for kernel, (length, _, _) in zip(weight, self.geometry):
            kernel[:, length:] = 0
            kernel[:, :length] -= kernel[:, :length].mean(1, keepdim=True)
        self.register_buffer("weight", weight * torch.from_numpy(used)[:, :, None])
        self.register_buffer("bias", torch.rand(kernels, generator=generator) * 2 - 1)
        at_once = max(1, MAX_OUTPUT // steps)
        self.groups = list[tuple[int, int]]()
        for _, places in groupby(range(kernels), key=lambda place: self.geometry[place]):
            members = list(places)
            self.groups += [(start, min(start + at_once, members[-1] + 1)) for start in members[::at_once]]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, 2 K): the fraction of positive outputs of each kernel, then the maxima."""
        x = (x - x.mean(2, keepdim=True)) / x.std(2, correction=0, keepdim=True).clamp(min=1e-8)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        fractions, maxima = list[Tensor](), list[Tensor]()
        for start, stop in self.groups:
            length, dilation, padding = self.geometry[start]
            outputs = conv1d(x, weight[start:stop, :, :length], bias[start:stop], dilation=dilation, padding=padding)
            fractions.append((outputs > 0).to(x.dtype).mean(2))
            maxima.append(outputs.amax(2).to(x.dtype))
        return torch.cat(fractions + maxima, 1)


def _geometry(channels: int, steps: int, kernels: int) -> tuple[list[tuple[int, int, int]], np.ndarray]:
    """Draw the length, dilation and padding of each kernel, sorted, and whether it uses a channel (K, C)."""
    generator = np.random.default_rng(0)
    lengths = [length for length in LENGTHS if length <= steps] or [min(steps, max(LENGTHS))]
    geometry, used = list[tuple[int, int, int]](), np.zeros((kernels, channels), np.float32)
    for number in range(kernels):
        length = int(generator.choice(lengths))
        dilation = int(2 ** generator.uniform(0, np.log2(max(1, (steps - 1) / max(1, length - 1)))))
        padding = (length - 1) * dilation // 2 * int(generator.integers(2))
        geometry.append((length, dilation, padding))
        used[number, generator.permutation(channels)[: int(2 ** generator.uniform(0, np.log2(channels + 1)))]] = 1
    return sorted(geometry), used
