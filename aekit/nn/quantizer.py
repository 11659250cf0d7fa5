"""Codes out of a codebook: the head of vector-quantized autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEVER = 1e-12
"""Use of an entry below which its mean would be a ratio of two vanishing numbers."""


class VectorQuantizer(nn.Module):
    """(B, F) -> (B, D), whose G parts are each an entry of their codebook (K, D / G).

    ``use`` (G, K) is how many codes of a batch fall to each entry, smoothed. Both are saved with the weights.
    """

    codebook: Tensor
    use: Tensor

    def __init__(self, features_dim: int, dim: int, groups: int, entries: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features_dim, dim)
        self.register_buffer("codebook", torch.randn(groups, entries, dim // groups))
        self.register_buffer("use", torch.zeros(groups, entries))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, D)."""
        return self.quantize(self.linear(features).float())[0]

    def draw(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The same, with the ``whole`` code (B, D) and the numbers of the ``chosen`` entries (G, B)."""
        whole = self.linear(features).float()
        with torch.autocast(whole.device.type, enabled=False):  # which would round off what tells near entries apart
            code, chosen = self.quantize(whole)
        return code, {"whole": whole, "chosen": chosen}

    def quantize(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> the nearest entries (B, D), with the gradient of the whole code, and their numbers (G, B)."""
        parts = self._parts(whole.detach())
        chosen = (self.codebook.square().sum(2)[:, None] - 2 * parts @ self.codebook.mT).argmin(2)
        # In value the entries, as the rest is zero; in gradient the whole code.
        return self._entries(chosen) + (whole - whole.detach()), chosen

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D): each part by itself an entry drawn as often as it is used; how parts go together is not known here."""
        weights = self.use + torch.finfo(self.use.dtype).tiny
        return self._entries(torch.multinomial(weights, count, replacement=True, generator=generator))

    def ema_update(self, whole: Tensor, chosen: Tensor, order: Tensor, decay: float, revive: float) -> None:
        """Moves the codebook after a batch of whole codes (B, D); unused entries go to codes in the given random order (B,),
        no more of them than there are codes."""
        parts, taken = self._parts(whole), F.one_hot(chosen, self.use.shape[1]).float()  # (G, B, D / G), (G, B, K)
        use = decay * self.use + (1 - decay) * taken.sum(1)
        sums = decay * self.use[..., None] * self.codebook + (1 - decay) * taken.mT @ parts
        codebook = torch.where(use[..., None] > NEVER, sums / use[..., None], self.codebook)
        mean = use.mean(1, keepdim=True)
        place = (use <= revive * mean).cumsum(1) - 1
        moved = (use <= revive * mean) & (place < len(order))
        fresh = parts[:, order].gather(1, place.clamp(0, len(order) - 1)[..., None].expand(-1, -1, parts.shape[2]))
        self.codebook.copy_(torch.where(moved[..., None], fresh, codebook))
        self.use.copy_(torch.where(moved, mean, use))

    def _parts(self, whole: Tensor) -> Tensor:
        return whole.unflatten(1, (len(self.codebook), -1)).transpose(0, 1)

    def _entries(self, chosen: Tensor) -> Tensor:
        """Numbers (G, B) -> (B, D)."""
        groups = torch.arange(len(self.codebook), device=chosen.device)
        return self.codebook[groups[:, None], chosen].transpose(0, 1).flatten(1)
