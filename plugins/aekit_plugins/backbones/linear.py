"""No layers at all: the features are the sample's own entries, so that encoder and decoder are one linear map each."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from aekit.plugin import Backbone, Field, SampleSpec


class Linear(Backbone):
    """Flattens the sample. With the usual head that makes the linear autoencoder, whose best code spans the subspace of the
    principal components; with a head that is not linear, a network of one hidden layer.

    Baldi and Hornik, Neural networks and principal component analysis: learning from examples without local minima, 1989.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        tied: Annotated[bool, Field(description="the decoder uses the encoder's weights, transposed")] = False,
    ) -> None:
        super().__init__()
        self.stages, self.tied = nn.ModuleList(), tied
        self.features_dim, self.features_shape = spec.size, spec.shape
