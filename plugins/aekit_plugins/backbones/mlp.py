"""Multilayer perceptron: fully connected layers over the flattened sample."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from torch import nn

from aekit.plugin import Backbone, Field, SampleSpec, TiedLayer

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "none": nn.Identity}

WIDE = 4
"""Units of the layer that denoises vectors, for each of their entries."""
MIN_UNITS, MAX_UNITS = 64, 256


class MLP(Backbone):
    """Flatten the sample and apply hidden layers, each a linear map and an activation.

    For vectors, tables and anything small. Without hidden layers the encoder is linear.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        hidden: Annotated[
            list[Annotated[int, Field(ge=1)]] | None,
            Field(
                description="widths of the hidden layers; by default two, the second one narrower",
                json_schema_extra={"search": [None, [64], [256], [128, 128], [512, 256]]},
            ),
        ] = None,
        activation: Annotated[
            Literal["relu", "gelu", "sigmoid", "tanh", "none"],
            Field(
                description="activation after each hidden layer", json_schema_extra={"search": ["relu", "gelu", "tanh"]}
            ),
        ] = "relu",
        tied: Annotated[bool, Field(description="use the encoder's weights, transposed, in the decoder")] = False,
    ) -> None:
        super().__init__()
        # Between the sizes of the sample and of a typical code, but with few enough weights for small data.
        widths = [min(1024, max(64, spec.size)), min(256, max(32, spec.size // 2))] if hidden is None else list(hidden)
        self.spec, self.activation, self.tied = spec, ACTIVATIONS[activation], tied
        self.widths = [spec.size, *widths]
        self.stages = nn.ModuleList()
        for number, (in_features, out_features) in enumerate(zip(self.widths, self.widths[1:])):
            flatten = [nn.Flatten()] if number == 0 else []
            self.stages.append(nn.Sequential(*flatten, _linear(in_features, out_features), self.activation()))
        self.features_dim = self.widths[-1]
        self.features_shape = (self.features_dim,) if widths else spec.shape

    @classmethod
    def wide_options(cls, spec: SampleSpec) -> dict[str, Any]:
        # Chosen on labeled tables, on which tanh finds neighbors better than ReLU (recipes/tables).
        return {"hidden": [min(MAX_UNITS, max(MIN_UNITS, WIDE * spec.size))], "activation": "tanh"}

    def mirror(self, stage: int) -> nn.Module:
        linear: nn.Module = _linear(self.widths[stage + 1], self.widths[stage])
        if self.tied:
            layer = next(layer for layer in self.stages[stage].modules() if isinstance(layer, nn.Linear))
            linear = TiedLayer(layer, self.widths[stage])
        return nn.Sequential(linear, nn.Unflatten(1, self.spec.shape)) if stage == 0 else linear

    def mirror_activation(self, stage: int) -> nn.Module:
        return self.activation()


def _linear(a, b):
    import os
    kind = os.environ.get("AEKIT_INIT", "torch")
    layer = nn.Linear(a, b)
    if kind == "glorot":
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    elif kind == "glorot-bias":
        nn.init.xavier_uniform_(layer.weight)
    elif kind == "he":
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    elif kind == "orthogonal":
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer
