"""A backbone that cuts images into patches and mixes them, across patches and within each patch."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from aekit.plugin import Backbone, Field, SampleSpec


class PatchMixer(Backbone):
    """Tolstikhin et al., MLP-Mixer: an all-MLP architecture for vision, 2021; tiny, and without a decoder.

    Raises:
        ValueError: samples that are not images, or that the patches do not divide.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        patch: Annotated[int, Field(ge=1, description="side of a patch, in pixels")] = 4,
        width: Annotated[int, Field(ge=1, description="width of a patch's token")] = 16,
        depth: Annotated[int, Field(ge=1, description="number of mixing layers")] = 1,
    ) -> None:
        super().__init__()
        if spec.kind != "image" or any(side % patch for side in spec.shape[1:]):
            raise ValueError(f"expected images whose sides are multiples of {patch}, found {spec}")
        patches = (spec.shape[1] // patch) * (spec.shape[2] // patch)
        # (B, C, H, W) -> (B, width, H / patch, W / patch) -> (B, width, P)
        cut = nn.Sequential(nn.Conv2d(spec.shape[0], width, patch, stride=patch), nn.Flatten(2))
        self.stages = nn.ModuleList([cut, *(Mixing(width, patches) for _ in range(depth))])
        self.features_shape, self.features_dim = (width, patches), width * patches


class Mixing(nn.Module):
    """Mix across patches, then within each: (B, width, P) -> (B, width, P)."""

    def __init__(self, width: int, patches: int) -> None:
        super().__init__()
        self.across = nn.Sequential(nn.LayerNorm(patches), nn.Linear(patches, patches), nn.GELU())
        self.within = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.across(x)
        within: Tensor = self.within(x.transpose(1, 2))
        return x + within.transpose(1, 2)
