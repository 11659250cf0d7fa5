"""Sparse by a price on size: every unit costs the absolute value of its activation."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from aekit.objectives.base import Step, Variant
from aekit.plugin import Field


class SparseL1(Variant):
    """Adds the sum of the units' absolute activations, averaged over the batch, times `weight`.

    Its gradient is as strong near zero as far away, which drives small activations to zero. As a code can be made small and
    the decoder large, ``train.weight_decay`` should not be 0.

    Olshausen and Field, Emergence of simple-cell receptive field properties by learning a sparse code for natural images,
    1996.
    """

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0, description="nats, or squares, that an activation of 1 costs")] = 0.1,
        what: Annotated[
            Literal["code", "features"], Field(description="the units: the code, or the backbone's features")
        ] = "code",
    ) -> None:
        super().__init__()
        self.weight, self.what = weight, what

    def penalty(self, step: Step) -> dict[str, Tensor]:
        units = step.code if self.what == "code" else step.features
        return {"l1": self.weight * units.float().abs().sum(1).mean()}
