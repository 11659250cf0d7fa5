"""Random convolutions: features of series that need no training, and are hard to beat."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d

KERNELS = 1000
LENGTHS = (7, 9, 11)
_HELD = 2**24
"""Numbers of a convolution's output that are held at a time."""


class RandomConvolutions:
    """Kernels of random lengths, weights, dilations and channels; of each, the share of positive outputs and the largest.

    Dempster, Petitjean and Webb, ROCKET: exceptionally fast and accurate time series classification using random convolutional
    kernels, 2020; with a tenth of its kernels. Each channel of each series is brought to mean 0 and deviation 1 first.

    Args:
        channels, steps: C and T of the series.
        seed: of all that is drawn.
        count: K, the number of kernels.
    """

    def __init__(self, channels: int, steps: int, seed: int, count: int = KERNELS) -> None:
        drawn = np.random.default_rng(seed)
        self.count, groups = count, dict[tuple[int, int, int], list[tuple[int, np.ndarray, float]]]()
        lengths = [length for length in LENGTHS if length <= steps] or [steps]
        for number in range(count):
            length = int(drawn.choice(lengths))
            most = np.log2(max(1, (steps - 1) / max(1, length - 1)))
            dilation = int(2 ** drawn.uniform(0, most))
            padding = (length - 1) * dilation // 2 * int(drawn.integers(2))
            used = drawn.permutation(channels)[: int(2 ** drawn.uniform(0, np.log2(channels + 1)))]
            weights = np.zeros((channels, length), np.float32)
            weights[used] = drawn.standard_normal((len(used), length))
            weights[used] -= weights[used].mean(axis=1, keepdims=True)
            groups.setdefault((length, dilation, padding), []).append((number, weights, drawn.uniform(-1, 1)))
        self.groups = groups

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, 2 K): the share of positive outputs of each kernel, then the largest of each."""
        x = (x - x.mean(2, keepdim=True)) / x.std(2, correction=0, keepdim=True).clamp(min=1e-8)
        found = x.new_empty(len(x), 2 * self.count)
        most = max(1, _HELD // max(1, x.shape[0] * x.shape[2]))
        for (_, dilation, padding), kernels in self.groups.items():
            for start in range(0, len(kernels), most):
                numbers, weights, biases = zip(*kernels[start : start + most])
                weight, bias = torch.from_numpy(np.stack(weights)).to(x), x.new_tensor(biases)
                out = conv1d(x, weight, bias, dilation=dilation, padding=padding)
                places = torch.tensor(numbers, device=x.device)
                found[:, places], found[:, self.count + places] = (out > 0).to(x).mean(2), out.amax(2)
        return found
