"""Multilayer perceptron: fully connected layers over the flattened sample."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from torch import nn

from aekit.plugin import Backbone, Field, SampleSpec, TiedLayer

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "none": nn.Identity}

SIGMOID_GAIN = 4.0
"""The slope of the sigmoid at 0 is a quarter."""
WIDE = 4
"""Units of the layer that denoises vectors, for each of their entries."""
MIN_UNITS, MAX_UNITS = 64, 256


class MLP(Backbone):
    """Flatten the sample and apply hidden layers, each a linear map and an activation.

    For vectors, tables and anything small. Without hidden layers the encoder is linear. Scaled initial weights suit the
    activation: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010; for
    rectifiers He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015.
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
        initial_weights: Annotated[
            Literal["scaled", "small"],
            Field(description="scaled: keep the variance of signals; small: those of PyTorch, which shrink them"),
        ] = "scaled",
    ) -> None:
        super().__init__()
        # Between the sizes of the sample and of a typical code, but with few enough weights for small data.
        widths = [min(1024, max(64, spec.size)), min(256, max(32, spec.size // 2))] if hidden is None else list(hidden)
        self.spec, self.activation, self.tied = spec, ACTIVATIONS[activation], tied
        self.dense = _scaled_layer if initial_weights == "scaled" else _small_layer
        self.widths = [spec.size, *widths]
        self.stages = nn.ModuleList()
        for number, (in_features, out_features) in enumerate(zip(self.widths, self.widths[1:])):
            flatten = [nn.Flatten()] if number == 0 else []
            self.stages.append(
                nn.Sequential(*flatten, self.dense(in_features, out_features, self.activation), self.activation())
            )
        self.features_dim = self.widths[-1]
        self.features_shape = (self.features_dim,) if widths else spec.shape

    @classmethod
    def wide_options(cls, spec: SampleSpec) -> dict[str, Any]:
        # Chosen on labeled tables, on which tanh finds neighbors better than ReLU (recipes/tables).
        return {"hidden": [min(MAX_UNITS, max(MIN_UNITS, WIDE * spec.size))], "activation": "tanh"}

    def mirror(self, stage: int) -> nn.Module:
        # Nothing follows the last layer of the decoder.
        activation = self.activation if stage else nn.Identity
        linear: nn.Module = self.dense(self.widths[stage + 1], self.widths[stage], activation)
        if self.tied:
            layer = next(layer for layer in self.stages[stage].modules() if isinstance(layer, nn.Linear))
            linear = TiedLayer(layer, self.widths[stage])
        return nn.Sequential(linear, nn.Unflatten(1, self.spec.shape)) if stage == 0 else linear

    def mirror_activation(self, stage: int) -> nn.Module:
        return self.activation()


def _small_layer(in_features: int, out_features: int, activation: type[nn.Module]) -> nn.Linear:
    """Build a linear map with PyTorch's initial weights, whatever the activation."""
    return nn.Linear(in_features, out_features)


def _scaled_layer(in_features: int, out_features: int, activation: type[nn.Module]) -> nn.Linear:
    """Build a linear map whose initial weights keep the variance of signals through it and the activation that follows.

    PyTorch's own weights shrink signals with each layer, so that deep autoencoders begin nearly constant and learn slowly.
    """
    layer = nn.Linear(in_features, out_features)
    if activation in (nn.ReLU, nn.GELU):
        nn.init.kaiming_normal_(layer.weight)
    else:
        nn.init.xavier_uniform_(layer.weight, gain=SIGMOID_GAIN if activation is nn.Sigmoid else 1.0)
    nn.init.zeros_(layer.bias)
    return layer
