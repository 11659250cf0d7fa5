"""Sparse autoencoder, L1 penalty: penalize the absolute activation of each unit."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from aekit.plugin import Field, Step, Variant


class SparseL1(Variant):
    """Add ``weight`` times the sum of the units' absolute activations, averaged over the batch.

    The gradient is as strong near zero as far from it, which drives small activations to zero. Set ``train.weight_decay``
    above 0; otherwise the code can shrink while the decoder grows.

    Olshausen and Field, Emergence of simple-cell receptive field properties by learning a sparse code for natural images,
    1996.
    """

    def __init__(
        self,
        *,
        weight: Annotated[
            float, Field(ge=0, description="penalty of an activation of 1, in the units of the reconstruction loss")
        ] = 0.1,
        units: Annotated[
            Literal["code", "features"], Field(description="units to penalize: the code, or the backbone's features")
        ] = "code",
    ) -> None:
        super().__init__()
        self.weight, self.units = weight, units

    def penalty(self, step: Step) -> dict[str, Tensor]:
        units = step.code if self.units == "code" else step.features
        return {"l1": self.weight * units.float().abs().sum(1).mean()}
