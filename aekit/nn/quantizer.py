"""Vector quantization: the head of vector-quantized autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_USE = 1e-12
"""Use of an entry below which its mean would be a ratio of two vanishing numbers."""


class VectorQuantizer(nn.Module):
    """Map (B, F) -> (B, D), whose G groups are each an entry of their codebook (K, D / G).

    Args:
        features_dim: F.
        dim: D.
        groups: G.
        entries: K.

    Attributes:
        codebook: (G, K, D / G); saved with the weights.
        use: (G, K) moving average of how many codes of a batch are assigned to each entry; saved with the weights.
    """

    codebook: Tensor
    use: Tensor

    def __init__(self, features_dim: int, dim: int, groups: int, entries: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features_dim, dim)
        self.register_buffer("codebook", torch.randn(groups, entries, dim // groups))
        self.register_buffer("use", torch.zeros(groups, entries))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, F) -> (B, D)."""
        return self.quantize(self.linear(features).float())[0]

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the code (B, D), the ``unquantized`` code (B, D) and the ``indices`` (G, B) of the entries."""
        unquantized = self.linear(features).float()
        code, indices = self.quantize(unquantized)
        return code, {"unquantized": unquantized, "indices": indices}

    def quantize(self, unquantized: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest entries (B, D), with the gradient of the unquantized code (B, D), and their indices (G, B)."""
        grouped = self._split(unquantized.detach())
        # Autocast would round away the differences between close entries.
        with torch.autocast(grouped.device.type, enabled=False):
            indices = (self.codebook.square().sum(2)[:, None] - 2 * grouped @ self.codebook.mT).argmin(2)
        # The value is that of the entries, the gradient that of the unquantized code.
        return self._lookup(indices) + (unquantized - unquantized.detach()), indices

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return (count, D) codes, each group drawn independently by the use of its entries."""
        weights = self.use + torch.finfo(self.use.dtype).tiny
        return self._lookup(torch.multinomial(weights, count, replacement=True, generator=generator))

    def ema_update(self, unquantized: Tensor, indices: Tensor, order: Tensor, decay: float, revive: float) -> None:
        """Update the codebook after a batch, and move unused entries onto its codes, at most one entry per code.

        Args:
            unquantized: (B, D) codes.
            indices: (G, B) of the entries that the codes were assigned to.
            order: (B,) random order in which codes replace unused entries.
            decay: of the moving averages.
            revive: fraction of the mean use up to which an entry counts as unused.
        """
        grouped = self._split(unquantized)  # (G, B, D / G)
        assigned = F.one_hot(indices, self.use.shape[1]).float()  # (G, B, K)
        use = decay * self.use + (1 - decay) * assigned.sum(1)
        sums = decay * self.use[..., None] * self.codebook + (1 - decay) * assigned.mT @ grouped
        codebook = torch.where(use[..., None] > MIN_USE, sums / use[..., None], self.codebook)
        mean = use.mean(1, keepdim=True)
        place = (use <= revive * mean).cumsum(1) - 1
        moved = (use <= revive * mean) & (place < len(order))
        positions = place.clamp(0, len(order) - 1)[..., None].expand(-1, -1, grouped.shape[2])
        replacements = grouped[:, order].gather(1, positions)
        self.codebook.copy_(torch.where(moved[..., None], replacements, codebook))
        self.use.copy_(torch.where(moved, mean, use))

    def _split(self, unquantized: Tensor) -> Tensor:
        """Split codes (B, D) -> (G, B, D / G)."""
        return unquantized.unflatten(1, (len(self.codebook), -1)).transpose(0, 1)

    def _lookup(self, indices: Tensor) -> Tensor:
        """Return the entries (B, D) at indices (G, B)."""
        groups = torch.arange(len(self.codebook), device=indices.device)
        return self.codebook[groups[:, None], indices].transpose(0, 1).flatten(1)
