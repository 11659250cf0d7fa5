"""One part of the sample from another: the future from the past, the past from the present, the top from the bottom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.objectives.masking import MaskFill
from aekit.objectives.restoration import Baseline, DamagedBatch, LossOption, ResidualOption, RestorationTask
from aekit.plugin import Encoder, Field, Samples

AXES = {"series": ["time"], "image": ["height", "width"], "clip": ["time", "height", "width"]}
"""Kind of sample -> its axes after that of the channels."""
SIDES = {
    "future": ("time", True),
    "past": ("time", False),
    "bottom": ("height", True),
    "top": ("height", False),
    "right": ("width", True),
    "left": ("width", False),
}
"""Side -> its axis, and whether it is the far end of that."""

_PART = Field(description="a side, or the axis of what lies between; auto: the future, or the bottom of images")
_BETWEEN = Field(min_length=2, max_length=2, description="first and last share of the axis, where part is an axis")
_GIVEN = Field(gt=0, le=1, description="share of the axis, next to the part, that is shown; by default all the rest")
_FILL = Field(description="what stands in place: the nearest step, row or column that is shown, or as for masked")


class PredictPart(RestorationTask):
    """Hides the same part of every sample, and predicts it from the rest, or from as much as is next to it.

    With ``fill = "nearest"`` and ``residual = true``, what is predicted is the change since the last step that is shown.

    LeCun, Predictive learning, 2016, who lists the parts; Srivastava, Mansimov and Salakhutdinov, Unsupervised learning of
    video representations using LSTMs, 2015, for the future of clips.

    Raises:
        ValueError: vectors, a part that the samples do not have, or that leaves nothing to see; a backbone without a decoder.
    """

    task, directed = "predict", False

    def __init__(
        self,
        encoder: Encoder,
        *,
        part: Annotated[
            Literal["auto", "future", "past", "bottom", "top", "right", "left", "time", "height", "width"], _PART
        ] = "auto",
        share: Annotated[float, Field(gt=0, lt=1, description="of the axis, that a side takes up")] = 0.25,
        between: Annotated[list[Annotated[float, Field(ge=0, le=1)]], _BETWEEN] = [0.375, 0.625],  # noqa: B006
        given: Annotated[float | None, _GIVEN] = None,
        fill: Annotated[Literal["nearest", "token", "mean", "zero"], _FILL] = "nearest",
        loss: LossOption = "mse",
        residual: ResidualOption = None,
    ) -> None:
        spec = encoder.spec
        if spec.kind not in AXES:
            raise ValueError(f"expected series (C, T), images (C, H, W) or clips (C, T, H, W), found {spec}")
        super().__init__(encoder, loss, residual)
        part = ("bottom" if spec.is_image else "future") if part == "auto" else part
        axis, self.at_end = SIDES.get(part, (part, False))
        if axis not in AXES[spec.kind]:
            raise ValueError(f"part = {part!r}: expected samples with a {axis} axis, found {spec}")
        self.axis, self.given, self.between = 2 + AXES[spec.kind].index(axis), given, between
        self.side, self.share = part if part in SIDES else None, share
        self.filling = None if fill == "nearest" else MaskFill(encoder, fill)
        asked, shown = self.part_and_visible(spec.shape[self.axis - 1])
        if not asked.any() or not shown.any():
            raise ValueError(f"between = {between}: expected it to leave a part to see and a part to predict of {spec}")

    def start(self, samples: Samples) -> None:
        if self.filling is not None:
            self.filling.start(samples, self.encoder)

    def part_and_visible(self, length: int) -> tuple[Tensor, Tensor]:
        """Which places along the axis, of that length, are asked for, and which are shown; (length,) bool each."""
        count = min(max(1, round(self.share * length)), length - 1)
        begin, end = (length - count, length) if self.at_end else (0, count)
        if self.side is None:
            begin, end = (round(share * length) for share in self.between)
        place, reach = torch.arange(length), length if self.given is None else max(1, round(self.given * length))
        asked = (place >= begin) & (place < end)
        return asked, ~asked & (place >= begin - reach) & (place < end + reach)

    def mask_input(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, *shape) -> the same with the filling in place of what is not shown, and that as bool (B, 1, ...)."""
        hidden = self._over(~self.part_and_visible(x.shape[self.axis])[1], x)
        return self.repeat_nearest(x) if self.filling is None else self.filling(x, hidden), hidden

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        asked, _ = self.part_and_visible(x.shape[self.axis])
        return DamagedBatch(self.mask_input(x, generator)[0], self._over(asked, x))

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        return self.damage(x, torch.Generator())

    def repeat_nearest(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, *shape), at each place along the axis what is at the nearest one that is shown."""
        _, shown = self.part_and_visible(x.shape[self.axis])
        place = torch.arange(len(shown))
        nearest = ((place[:, None] - place).abs() + len(shown) * ~shown).argmin(1)
        return x.index_select(self.axis, nearest.to(x.device))

    def baselines(self, notes: list[str]) -> Mapping[str, Baseline]:
        filled = {} if self.filling is None else super().baselines(notes)
        return {**filled, "repeated": lambda damaged: self.repeat_nearest(damaged.visible)}

    def _over(self, chosen: Tensor, x: Tensor) -> Tensor:
        """(length,) along the axis -> (B, 1, *size)."""
        along = chosen.view([-1 if number == self.axis else 1 for number in range(x.ndim)])
        return along.to(x.device).expand(len(x), 1, *x.shape[2:])
