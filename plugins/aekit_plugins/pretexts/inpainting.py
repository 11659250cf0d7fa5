"""Inpainting: a hole is cut into each sample, and the encoder's code of what surrounds it has to say what was there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.nn.masks import biharmonic_fill, block_masks, dilate_mask, nearest_fill, random_shape_masks, smooth_fill
from aekit.objectives.masking import MaskFill
from aekit.objectives.restoration import Baseline, DamagedBatch, LossOption, ResidualOption, RestorationTask
from aekit.plugin import Encoder, Field, Samples

CELLS = 4
"""Of the coarse noise that random shapes are cut from, along each side of a sample."""


class Inpainting(RestorationTask):
    """The context encoder. Holes go through all channels. In their place the network sees the mean of the training samples, as in
    the paper, or, where it adds to what it sees, a blend of what surrounds them.

    Errors count in the hole and, more, in a band of what is visible around it, so that the edges of the two fit together. Its
    adversarial loss is left out. A gap in a series is a hole along time; that in a clip goes over time and space.

    Pathak, Krähenbühl, Donahue, Darrell and Efros, Context encoders: feature learning by inpainting, 2016.

    Raises:
        ValueError: vectors, whose entries have no neighbors.
    """

    task = "inpaint"

    def __init__(
        self,
        encoder: Encoder,
        *,
        hole: Annotated[
            Literal["center", "block", "shapes"],
            Field(description="a block in the center, a block anywhere of random proportions, or random shapes"),
        ] = "shapes",
        share: Annotated[float, Field(gt=0, lt=1, description="of the sample that is hidden")] = 0.25,
        fill: Annotated[
            Literal["mean", "surroundings"] | None,
            Field(description="what the network sees in the hole; by default surroundings where residual"),
        ] = None,
        overlap: Annotated[int, Field(ge=0, description="width in entries of the visible band around the hole")] = 2,
        overlap_weight: Annotated[float, Field(ge=0, description="factor on the errors in that band")] = 10.0,
        loss: LossOption = "mse",
        residual: ResidualOption = None,
    ) -> None:
        if encoder.spec.is_vector:
            raise ValueError(f"expected series, images or clips, whose entries have neighbors, found {encoder.spec}")
        super().__init__(encoder, loss, residual)
        self.hole, self.share, self.overlap, self.overlap_weight = hole, share, overlap, overlap_weight
        self.filling = MaskFill(encoder, "mean")
        self.smooth = self.residual if fill is None else fill == "surroundings"
        self.damaged_label = "surroundings" if self.smooth else "the mean"

    def start(self, samples: Samples) -> None:
        self.filling.start(samples, self.encoder)

    def mask_input(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, *shape) -> the sample with its hole filled, and the hole, bool (B, 1, ...)."""
        size, sides = x.shape[2:], self.encoder.spec.shape[1:]
        if self.hole == "shapes":
            cells = [max(2, round(CELLS * now / side)) for now, side in zip(size, sides)]
            hidden = random_shape_masks(size, cells, self.share, len(x), generator)
        else:
            hidden = block_masks(size, sides, self.share, len(x), generator, central=self.hole == "center")
        return self.fill_mask(x, hidden), hidden

    def fill_mask(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(B, *shape) and its hole -> (B, *shape) as the network sees it."""
        return smooth_fill(x, hidden) if self.smooth else self.filling(x, hidden)

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        visible, hidden = self.mask_input(x, generator)
        band = dilate_mask(hidden, self.overlap) & ~hidden
        return DamagedBatch(visible, hidden, hidden + self.overlap_weight * band)

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        return DamagedBatch(x if hidden is None else self.fill_mask(x, hidden), hidden)

    def baselines(self, notes: list[str]) -> Mapping[str, Baseline]:
        ways = {**super().baselines(notes), "the mean": self._by(self.filling)}
        ways["nearest neighbor"] = self._by(nearest_fill)
        if self.encoder.spec.is_image:
            try:
                import skimage.restoration  # noqa: F401
            except ImportError:
                notes.append("no biharmonic inpainting: it needs scikit-image (pip install 'aekit[images]')")
            else:
                ways["biharmonic"] = self._by(biharmonic_fill)
        return ways

    def _by(self, fill: Callable[[Tensor, Tensor], Tensor]) -> Baseline:
        return lambda damaged: damaged.visible if damaged.mask is None else fill(damaged.visible, damaged.mask)
