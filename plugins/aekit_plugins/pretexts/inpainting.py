"""Inpainting: mask a region of each sample and restore it from the code of its surroundings."""

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
"""Cells per side of the coarse noise that random shapes are thresholded from."""


class Inpainting(RestorationTask):
    """The context encoder. Masks cover all channels. Masked entries are filled with the mean of the training samples, as in the
    paper, or, for residual networks, with a blend of their surroundings.

    Errors count inside the mask and, with a higher weight, in a visible band around it, so that the result fits seamlessly.
    The paper's adversarial loss is omitted. Masks of series lie along time; masks of clips extend over time and space.

    Pathak, Krähenbühl, Donahue, Darrell and Efros, Context encoders: feature learning by inpainting, 2016.

    Raises:
        ValueError: vectors, whose entries have no neighbors.
    """

    task = "inpaint"

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask: Annotated[
            Literal["center", "block", "shapes"],
            Field(
                description="center: a block in the center; block: a block anywhere, of random proportions; shapes: random shapes"
            ),
        ] = "shapes",
        mask_ratio: Annotated[float, Field(gt=0, lt=1, description="fraction of the sample that is masked")] = 0.25,
        fill: Annotated[
            Literal["mean", "surroundings"] | None,
            Field(description="fill value inside the mask; by default surroundings if residual, else mean"),
        ] = None,
        overlap: Annotated[int, Field(ge=0, description="width of the visible band around the mask, in entries")] = 2,
        overlap_weight: Annotated[float, Field(ge=0, description="weight of the errors in that band")] = 10.0,
        loss: LossOption = "mse",
        residual: ResidualOption = None,
    ) -> None:
        encoder.spec.require("series", "image", "clip")  # whose entries have neighbors
        super().__init__(encoder, loss, residual)
        self.mask, self.mask_ratio, self.overlap, self.overlap_weight = mask, mask_ratio, overlap, overlap_weight
        self.filling = MaskFill(encoder, "mean")
        self.smooth = self.residual if fill is None else fill == "surroundings"
        self.damaged_label = "surroundings" if self.smooth else "mean"

    def start(self, samples: Samples) -> None:
        self.filling.start(samples, self.encoder)

    def mask_input(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return samples (B, *shape) with the masked region filled, and the mask, bool (B, 1, ...)."""
        size, sides = x.shape[2:], self.encoder.spec.shape[1:]
        if self.mask == "shapes":
            cells = [max(2, round(CELLS * length / side)) for length, side in zip(size, sides)]
            hidden = random_shape_masks(size, cells, self.mask_ratio, len(x), generator)
        else:
            hidden = block_masks(size, sides, self.mask_ratio, len(x), generator, central=self.mask == "center")
        return self.fill_mask(x, hidden), hidden

    def fill_mask(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Fill the masked region of (B, *shape) for the network."""
        return smooth_fill(x, hidden) if self.smooth else self.filling(x, hidden)

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        visible, hidden = self.mask_input(x, generator)
        band = dilate_mask(hidden, self.overlap) & ~hidden
        return DamagedBatch(visible, hidden, hidden + self.overlap_weight * band)

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        return DamagedBatch(x if hidden is None else self.fill_mask(x, hidden), hidden)

    def baselines(self, notes: list[str]) -> Mapping[str, Baseline]:
        methods = {**super().baselines(notes), "mean": self._by(self.filling)}
        methods["nearest neighbor"] = self._by(nearest_fill)
        if self.encoder.spec.is_image:
            try:
                import skimage.restoration  # noqa: F401
            except ImportError:
                notes.append("biharmonic inpainting skipped: it needs scikit-image (pip install 'aekit[images]')")
            else:
                methods["biharmonic"] = self._by(biharmonic_fill)
        return methods

    def _by(self, fill: Callable[[Tensor, Tensor], Tensor]) -> Baseline:
        return lambda damaged: damaged.visible if damaged.mask is None else fill(damaged.visible, damaged.mask)
