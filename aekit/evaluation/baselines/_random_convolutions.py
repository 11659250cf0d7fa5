"""Random convolutions (ROCKET): strong features of series that need no training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d

KERNELS = 1000
LENGTHS = (7, 9, 11)
_MAX_OUTPUT = 2**24
"""Entries of the output of convolutions in memory at a time."""


class RandomConvolutions:
    """Kernels of random lengths, weights, dilations and channels; each gives the fraction of positive outputs and the maximum.

    Dempster, Petitjean and Webb, ROCKET: exceptionally fast and accurate time series classification using random convolutional
    kernels, 2020; with a tenth of its kernels. Each channel of each series is standardized first.

    Args:
        channels: C.
        steps: T.
        seed: seed of the kernels.
        count: K, the number of kernels.
    """

    def __init__(self, channels: int, steps: int, seed: int, count: int = KERNELS) -> None:
        generator = np.random.default_rng(seed)
        self.count, groups = count, dict[tuple[int, int, int], list[tuple[int, np.ndarray, float]]]()
        lengths = [length for length in LENGTHS if length <= steps] or [steps]
        for number in range(count):
            length = int(generator.choice(lengths))
            max_exponent = np.log2(max(1, (steps - 1) / max(1, length - 1)))
            dilation = int(2 ** generator.uniform(0, max_exponent))
            padding = (length - 1) * dilation // 2 * int(generator.integers(2))
            used = generator.permutation(channels)[: int(2 ** generator.uniform(0, np.log2(channels + 1)))]
            weights = np.zeros((channels, length), np.float32)
            weights[used] = generator.standard_normal((len(used), length))
            weights[used] -= weights[used].mean(axis=1, keepdims=True)
            groups.setdefault((length, dilation, padding), []).append((number, weights, generator.uniform(-1, 1)))
        self.groups = groups

    def __call__(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, 2 K): the fraction of positive outputs of each kernel, then the maxima."""
        x = (x - x.mean(2, keepdim=True)) / x.std(2, correction=0, keepdim=True).clamp(min=1e-8)
        features = x.new_empty(len(x), 2 * self.count)
        step = max(1, _MAX_OUTPUT // max(1, x.shape[0] * x.shape[2]))
        for (_, dilation, padding), kernels in self.groups.items():
            for start in range(0, len(kernels), step):
                numbers, weights, biases = zip(*kernels[start : start + step])
                weight, bias = torch.from_numpy(np.stack(weights)).to(x), x.new_tensor(biases)
                out = conv1d(x, weight, bias, dilation=dilation, padding=padding)
                columns = torch.tensor(numbers, device=x.device)
                features[:, columns], features[:, self.count + columns] = (out > 0).to(x).mean(2), out.amax(2)
        return features
