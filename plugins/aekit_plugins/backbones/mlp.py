"""Fully connected layers over the flattened sample: for vectors and tables, and for anything small."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from aekit.plugin import Backbone, Field, SampleSpec, TiedLayer

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "none": nn.Identity}


class MLP(Backbone):
    """Flatten, then ``hidden`` layers, each a linear map and an activation. No hidden layer gives a linear encoder."""

    def __init__(
        self,
        spec: SampleSpec,
        *,
        hidden: Annotated[
            list[Annotated[int, Field(ge=1)]] | None,
            Field(description="widths of the hidden layers; by default two that shrink towards the code"),
        ] = None,
        activation: Annotated[
            Literal["relu", "gelu", "sigmoid", "tanh", "none"], Field(description="after each hidden layer")
        ] = "relu",
        tied: Annotated[bool, Field(description="the decoder uses the encoder's weights, transposed")] = False,
    ) -> None:
        super().__init__()
        # Between the sample and a usual code, but never so wide that small data is drowned in weights.
        widths = [min(1024, max(64, spec.size)), min(256, max(32, spec.size // 2))] if hidden is None else list(hidden)
        self.spec, self.activation, self.tied = spec, ACTIVATIONS[activation], tied
        self.widths = [spec.size, *widths]
        self.stages = nn.ModuleList()
        for number, (inside, outside) in enumerate(zip(self.widths, self.widths[1:])):
            first = [nn.Flatten()] if number == 0 else []
            self.stages.append(nn.Sequential(*first, nn.Linear(inside, outside), self.activation()))
        self.features_dim = self.widths[-1]
        self.features_shape = (self.features_dim,) if widths else spec.shape

    def mirror(self, stage: int) -> nn.Module:
        linear: nn.Module = nn.Linear(self.widths[stage + 1], self.widths[stage])
        if self.tied:
            own = next(layer for layer in self.stages[stage].modules() if isinstance(layer, nn.Linear))
            linear = TiedLayer(own, self.widths[stage])
        return nn.Sequential(linear, nn.Unflatten(1, self.spec.shape)) if stage == 0 else linear

    def mirror_activation(self, stage: int) -> nn.Module:
        return self.activation()
