"""Features of images that need no training: each patch compared with patches of the data, and summed over the cells of a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from aekit.nn.pooling import GridMeans

ATOMS = 256
CONTRAST = 0.05
"""Fraction of the mean variance of the patches that is added to the variance by which each is divided: flat patches stay flat."""
NOISE = 0.03
"""Added to the variances of whitened patches, relative to a mean of 1: directions in which they hardly vary are noise."""
FLAT = 0.1
"""Fraction of the mean variance of the patches from which one can become an atom."""
TINY = 1e-6
"""Added below square roots, whose slope at 0 is infinite."""
MAX_PLACES = 1024
"""Places of an image at which patches are compared by default, so that large images take no longer than small ones."""
MAX_OUTPUT = 2**16
"""Entries that one convolution has for each image, so that large images need no more memory either."""


class PatchFeatures(nn.Module):
    """Compare every patch of an image with K atoms, and average what exceeds a threshold over the cells of a grid.

    A patch is normalized: its mean is subtracted, it is divided by its standard deviation, and whitened as the patches of the
    training images are. Its products with the atoms, which are whitened training patches of length 1, are its similarities. What
    a similarity exceeds the threshold by, and what its negative does, is averaged over the patches of each cell. The square root
    of the mean is the feature: it is less dominated by the few atoms that many patches are similar to.

    Coates and Ng, The importance of encoding versus training with sparse coding and vector quantization, 2011; the square root
    and a grid instead of quadrants are ours.

    Args:
        channels: C.
        size: H and W.
        patch: height and width of the patches, at most H and W.
        atoms: K.
        grid: cells along each side; fewer where there are fewer places.
        threshold: similarity, above which a patch counts.
        stride: distance between neighboring patches; None: such that there are at most about 1,024 places.
        generator: draws the atoms; default: torch's own.

    Attributes:
        weight: (K, C, *patch), what an atom and whitening come to as a filter.
        bias: (K,).
        floor: (), added to the variance of a patch.
        width: 2 K G, number of the features; G: number of the cells.
    """

    weight: Tensor
    bias: Tensor
    floor: Tensor

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        patch: tuple[int, int],
        atoms: int = ATOMS,
        *,
        grid: int = 3,
        threshold: float = 0.5,
        stride: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.patch, self.threshold = patch, threshold
        self.stride = default_stride(size, patch) if stride is None else stride
        places = tuple((side - length) // self.stride + 1 for side, length in zip(size, patch))
        self.pool = GridMeans((places[0], places[1]), grid)
        self.at_once = max(1, MAX_OUTPUT // math.prod(places))
        self.width = 2 * atoms * self.pool.cells
        weight = torch.randn(atoms, channels, *patch, generator=generator)
        weight -= weight.mean((1, 2, 3), keepdim=True)
        self.register_buffer("weight", weight / weight[0].numel() ** 0.5)
        self.register_buffer("bias", torch.zeros(atoms))
        self.register_buffer("floor", torch.ones(()))

    def draw(self, images: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw patches (B * count, C, *patch) from images (B, C, H, W), `count` from random places of each."""
        device = images.device
        corners = []
        for side, length in zip(images.shape[2:], self.patch):
            first = torch.randint(side - length + 1, (len(images), count), generator=generator).to(device)
            corners.append(first[..., None] + torch.arange(length, device=device))
        image = torch.arange(len(images), device=device)[:, None, None, None]
        patches = images[image, :, corners[0][:, :, :, None], corners[1][:, :, None, :]]  # (B, count, *patch, C)
        return patches.flatten(0, 1).movedim(3, 1)

    def fit(self, patches: Tensor, generator: torch.Generator) -> None:
        """Set normalization, whitening and atoms from patches (N, C, *patch) of the training images.

        Where few patches are not flat, each of them becomes several atoms.
        """
        x = patches.flatten(1).cpu().double()  # not every device has float64
        x = x - x.mean(1, keepdim=True)
        variance = x.square().mean(1)
        typical = float(variance.mean())
        floor = CONTRAST * typical if typical > 0 else 1.0
        x = x / (variance[:, None] + floor).sqrt()
        mean = x.mean(0)
        x = x - mean
        values, vectors = torch.linalg.eigh(x.T @ x / len(x))
        whitening = (vectors * (values.clamp(min=0) + NOISE).rsqrt()) @ vectors.T
        atoms = x[self._chosen(variance >= FLAT * typical, generator)] @ whitening
        weight = atoms / atoms.norm(dim=1, keepdim=True).clamp(min=TINY) @ whitening
        self.bias.copy_(-(weight @ mean))
        # The mean of a patch is subtracted by its filters.
        self.weight.copy_((weight - weight.mean(1, keepdim=True)).view_as(self.weight))
        self.floor.fill_(floor)

    def _chosen(self, candidates: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the (K,) numbers of the patches that become atoms from those that `candidates` (N,) allows."""
        numbers = candidates.nonzero()[:, 0]
        order = numbers[torch.randperm(len(numbers), generator=generator)]
        return order[torch.arange(len(self.bias)) % len(order)]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to (B, 2 K G): the features of similar patches, atom by atom, then those of opposite ones."""
        with torch.autocast(x.device.type, enabled=False):  # differences of nearly equal pixels need full precision
            x = x.float()
            x = x - x.mean((1, 2, 3), keepdim=True)
            mean = avg_pool2d(x.mean(1, keepdim=True), self.patch, self.stride)
            squares = avg_pool2d(x.square().mean(1, keepdim=True), self.patch, self.stride)
            scale = ((squares - mean.square()).clamp(min=0) + self.floor).rsqrt()
            similar, opposite = list[Tensor](), list[Tensor]()
            for weight, bias in zip(self.weight.split(self.at_once), self.bias.split(self.at_once)):
                similarity = torch.addcmul(bias[:, None, None], conv2d(x, weight, stride=self.stride), scale)
                # Each of these is larger than all else here, so that none is made but for what is pooled.
                similar.append(self.pool((similarity - self.threshold).relu_()))
                opposite.append(self.pool((-self.threshold - similarity).relu_()))
            return (torch.cat(similar + opposite, 1).flatten(1) + TINY).sqrt()


def default_stride(size: tuple[int, int], patch: tuple[int, int]) -> int:
    """Return the smallest stride at which there are at most about 1,024 places."""
    places = math.prod(side - length + 1 for side, length in zip(size, patch))
    return max(1, math.ceil((places / MAX_PLACES) ** 0.5))
