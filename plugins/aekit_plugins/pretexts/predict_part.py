"""Predict one part of the sample from another: the future from the past, the bottom from the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.objectives.masking import MaskFill
from aekit.objectives.restoration import Baseline, DamagedBatch, LossOption, RestorationTask
from aekit.plugin import Encoder, Field, Samples

AXES = {"series": ["time"], "image": ["height", "width"], "clip": ["time", "height", "width"]}
"""Kind of sample -> its axes after the channel axis."""
SIDES = {
    "future": ("time", True),
    "past": ("time", False),
    "bottom": ("height", True),
    "top": ("height", False),
    "right": ("width", True),
    "left": ("width", False),
}
"""Side -> its axis, and whether it is the far end of the axis."""

_PART = Field(
    description="part to predict: a side, or an axis with `between`; auto: the future, or the bottom of images"
)
_BETWEEN = Field(
    min_length=2, max_length=2, description="start and end of the part as fractions of the axis, if part is an axis"
)
_CONTEXT = Field(
    gt=0, le=1, description="fraction of the axis, next to the part, that is visible; by default all the rest"
)
_FILL = Field(description="fill value: the nearest visible step, row or column, or as for `masked`")
_RESIDUAL = Field(
    description="predict the difference to the filled input, such as the change since the last visible frame; by default on "
    "if the part of a clip lies in time and fill is nearest, or if the code is the backbone's features (encoder.dim = 0)"
)


class PredictPart(RestorationTask):
    """Hide the same part of every sample and predict it from the rest, or from a context next to it.

    With ``fill = "nearest"`` and ``residual = true``, the network predicts the change since the last visible step, at first none.
    Without it, a network that sees few clips loses to repeating the last frame.

    LeCun, Predictive learning, 2016, who lists the parts; Srivastava, Mansimov and Salakhutdinov, Unsupervised learning of
    video representations using LSTMs, 2015, for the future of clips.

    Raises:
        ValueError: vectors, a part that the samples do not have or that leaves nothing visible, or a backbone without a decoder.
    """

    task, directed = "predict", False

    def __init__(
        self,
        encoder: Encoder,
        *,
        part: Annotated[
            Literal["auto", "future", "past", "bottom", "top", "right", "left", "time", "height", "width"], _PART
        ] = "auto",
        part_size: Annotated[float, Field(gt=0, lt=1, description="size of a side, as a fraction of the axis")] = 0.25,
        between: Annotated[list[Annotated[float, Field(ge=0, le=1)]], _BETWEEN] = [0.375, 0.625],  # noqa: B006
        context_size: Annotated[float | None, _CONTEXT] = None,
        fill: Annotated[Literal["nearest", "token", "mean", "zero"], _FILL] = "nearest",
        loss: LossOption = "mse",
        residual: Annotated[bool | None, _RESIDUAL] = None,
    ) -> None:
        spec = encoder.spec
        spec.require("series", "image", "clip")
        part = ("bottom" if spec.is_image else "future") if part == "auto" else part
        axis, self.at_end = SIDES.get(part, (part, False))
        if residual is None and spec.is_clip and axis == "time" and fill == "nearest":
            residual = True
        super().__init__(encoder, loss, residual)
        if axis not in AXES[spec.kind]:
            raise ValueError(f"part = {part!r}: expected samples with a {axis} axis, found {spec}")
        self.axis, self.context_size, self.between = 2 + AXES[spec.kind].index(axis), context_size, between
        self.side, self.part_size = part if part in SIDES else None, part_size
        self.filling = None if fill == "nearest" else MaskFill(encoder, fill)
        part_mask, visible = self.part_and_visible(spec.shape[self.axis - 1])
        if not part_mask.any() or not visible.any():
            raise ValueError(
                f"between = {between}: expected it to leave a visible part and a part to predict of {spec}"
            )

    def start(self, samples: Samples) -> None:
        if self.filling is not None:
            self.filling.start(samples, self.encoder)

    def part_and_visible(self, length: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Return masks, (length,) bool each, of the positions along the axis to predict and of the visible ones."""
        count = min(max(1, round(self.part_size * length)), length - 1)
        begin, end = (length - count, length) if self.at_end else (0, count)
        if self.side is None:
            begin, end = (round(fraction * length) for fraction in self.between)
        position = torch.arange(length, device=device)
        reach = length if self.context_size is None else max(1, round(self.context_size * length))
        part_mask = (position >= begin) & (position < end)
        return part_mask, ~part_mask & (position >= begin - reach) & (position < end + reach)

    def mask_input(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return (B, *shape) with everything but the visible part filled, and the mask, bool (B, 1, ...)."""
        hidden = self._over(~self.part_and_visible(x.shape[self.axis], x.device)[1], x)
        return self.repeat_nearest(x) if self.filling is None else self.filling(x, hidden), hidden

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        part_mask, _ = self.part_and_visible(x.shape[self.axis], x.device)
        return DamagedBatch(self.mask_input(x, generator)[0], self._over(part_mask, x))

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        return self.damage(x, torch.Generator())

    def repeat_nearest(self, x: Tensor) -> Tensor:
        """Fill each position along the axis of (B, *shape) with the values at the nearest visible position."""
        _, visible = self.part_and_visible(x.shape[self.axis], x.device)
        position = torch.arange(len(visible), device=x.device)
        nearest = ((position[:, None] - position).abs() + len(visible) * ~visible).argmin(1)
        return x.index_select(self.axis, nearest)

    def baselines(self, notes: list[str]) -> Mapping[str, Baseline]:
        filled = {} if self.filling is None else super().baselines(notes)
        return {**filled, "nearest": lambda damaged: self.repeat_nearest(damaged.visible)}

    def _over(self, chosen: Tensor, x: Tensor) -> Tensor:
        """Broadcast (length,) along the axis to (B, 1, *size)."""
        along = chosen.view([-1 if number == self.axis else 1 for number in range(x.ndim)])
        return along.expand(len(x), 1, *x.shape[2:])
