"""Linear backbone: no layers, so that encoder and decoder are one linear map each."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from aekit.plugin import Backbone, Field, SampleSpec


class Linear(Backbone):
    """Flatten the sample.

    With the default head this is the linear autoencoder, whose optimal code spans the subspace of the principal components;
    with a nonlinear head it is a network with one hidden layer.

    Baldi and Hornik, Neural networks and principal component analysis: learning from examples without local minima, 1989.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        tied: Annotated[bool, Field(description="use the encoder's weights, transposed, in the decoder")] = False,
    ) -> None:
        super().__init__()
        self.stages, self.tied = nn.ModuleList(), tied
        self.features_dim, self.features_shape = spec.size, spec.shape
