"""Backbones, networks from samples to features as ordered stages, and decoders, their mirror images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from aekit.data.samples import Samples
from aekit.data.spec import SampleSpec
from aekit.encoder._backbone_check import features_shape, through_stages
from aekit.encoder.preprocessing import Preprocess


class Backbone(nn.Module):
    """A network from a preprocessed sample to features, as an ordered list of stages.

    Subclasses fill `stages`, set `features_dim` and `features_shape`, and define `mirror` if they can decode.

    Attributes:
        stages: applied in order; the units of layer-wise training and partial freezing.
        features_dim: F, width of the flattened output of the last stage.
        features_shape: shape of that output before flattening.
        tied: whether the decoder uses the encoder's weights, transposed.
        note: one line about a choice made while building it, or "".
        patch: size of the patches that become tokens, such as (16, 16); None if it has none, or no `encode_visible`.
        tokens_dim: W, width of the tokens.
        trains: whether training changes it; if not, its features are the embedding by default, and `aekit.tune` tries them as
            they are.
        initial: what its weights are before any training, in words.
        reach: distance in pixels beyond which nothing changes an entry of the decoded features; 0: unknown.
    """

    plugin_kind: ClassVar[str] = "backbone"
    stages: nn.ModuleList
    features_dim: int
    features_shape: tuple[int, ...]
    trains: ClassVar[bool] = True
    initial: ClassVar[str] = "random weights"
    tied: bool = False
    note: str = ""
    patch: tuple[int, ...] | None = None
    tokens_dim: int = 0
    reach: int = 0

    def prepare(self, preprocess: Preprocess) -> None:
        """Receive the scaling of its input, once it is built.

        Raises:
            ValueError: it does not take samples of this scale.
        """

    def start(self, samples: Samples, preprocess: Preprocess) -> None:
        """Receive the training samples once before the first step, such as to standardize features by them.

        Args:
            samples: training samples.
            preprocess: scales them.
        """

    def forward(self, x: Tensor) -> Tensor:
        """Map preprocessed samples (B, *shape) to features (B, F)."""
        for stage in self.stages:
            x = stage(x)
        return x.flatten(1)

    def encode_visible(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Encode some patches of each sample without the others, if the backbone has patches.

        Args:
            x: (B, *shape); values of other patches are ignored.
            places: (B, V) numbers of the patches, counted row by row.

        Returns:
            the tokens (B, V, W) of the patches, and features (B, F) computed from them alone.
        """
        raise NotImplementedError(f"{type(self).__name__} does not encode patches")

    def load_pretrained(self, where: str, preprocess: Preprocess) -> dict[str, Any]:
        """Load pretrained weights, all of them or none.

        Args:
            where: a file, or a name that the backbone knows.
            preprocess: scaling of its input.

        Returns:
            information on the weights, as plain values, for the encoder's record.

        Raises:
            NotImplementedError: it does not load pretrained weights.
            RecipeError, DataError: the weights do not fit, or are not available.
        """
        raise NotImplementedError(f"{type(self).__name__} does not load pretrained weights")

    @classmethod
    def pretrained_at_hand(cls, spec: SampleSpec) -> list[dict[str, Any]]:
        """Return options of the backbone for which `load_pretrained` loads ``"pretrained"`` weights without a download.

        `aekit.tune` tries each without training it. A backbone that defines this competes with pretrained weights alone.

        Args:
            spec: spec of the samples.
        """
        return []

    @classmethod
    def wide_options(cls, spec: SampleSpec) -> dict[str, Any]:
        """Return options of the backbone that are good for denoising vectors; {}: none are known.

        Vectors are then trained with a denoising autoencoder by default, on a network with these options; with other backbones,
        with a plain one.

        Args:
            spec: spec of the vectors.
        """
        return {}

    def mirror(self, stage: int) -> nn.Module:
        """Return a module from the output of stage number `stage` back to its input, before any norm and activation.

        Raises:
            NotImplementedError: the backbone has no decoder.
        """
        raise NotImplementedError(f"{type(self).__name__} has no decoder")

    def mirror_activation(self, stage: int) -> nn.Module:
        """Return what follows a map back to the output of stage number `stage`: a norm and an activation like the stage's."""
        return nn.ReLU()

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        """Build a decoder from codes (B, dim) to preprocessed samples (B, *shape), without output activation.

        Args:
            dim: width of the code.
            expand: mirror image of the encoder's head, (B, dim) -> (B, *features_shape); default: a linear map.
        """
        if expand is None:
            expand = nn.Sequential(nn.Linear(dim, self.features_dim), nn.Unflatten(1, self.features_shape))
        return Decoder(self, expand)


DECODER_WIDTH = 512
"""Width of the hidden layer of the generic decoder."""


class ModuleBackbone(Backbone):
    """Any network from preprocessed samples (B, *shape) to features (B, ...), with a generic decoder of dense layers.

    Args:
        network: an ``nn.Sequential``, whose layers with weights begin the stages, or another module, which is one stage.
        spec: spec of the samples.

    Raises:
        ValueError: the network does not map a batch of samples to a batch of features.
    """

    def __init__(self, network: nn.Module, spec: SampleSpec) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_stages(network))
        self.features_shape = features_shape(self, spec, through_stages)
        self.features_dim, self.sample_shape = math.prod(self.features_shape), spec.shape
        count = len(self.stages)
        self.note = f"{type(network).__name__}, of {count} stage{'s' if count > 1 else ''}"

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        size = math.prod(self.sample_shape)
        hidden = min(DECODER_WIDTH, max(dim, size))
        layers = [nn.Flatten(), nn.Linear(self.features_dim if expand else dim, hidden), nn.ReLU()]
        return DenseDecoder(
            *([expand] if expand else []), *layers, nn.Linear(hidden, size), nn.Unflatten(1, self.sample_shape)
        )


class DenseDecoder(nn.Sequential):
    """The generic decoder, of dense layers, for backbones that define no mirrors of their stages."""


def _stages(network: nn.Module) -> list[nn.Module]:
    """Split a sequence so that each stage begins with a layer that has weights."""
    if type(network) is not nn.Sequential:
        return [network]
    groups: list[list[nn.Module]] = [[]]
    for layer in network:
        if groups[-1] and _has_weights(layer) and any(map(_has_weights, groups[-1])):
            groups.append([])
        groups[-1].append(layer)
    return [nn.Sequential(*group) for group in groups]


def _has_weights(layer: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in layer.parameters())


class BackboneWithDense(Backbone):
    """A backbone with dense layers on top, which are further stages: a nonlinear head on frozen features.

    Args:
        trunk: the backbone below; its stages come first and keep their names.
        hidden: widths of the dense layers, each a linear map, a layer norm and a GELU.
    """

    def __init__(self, trunk: Backbone, hidden: Sequence[int]) -> None:
        super().__init__()
        # In a tuple, because its stages are registered here already.
        self._trunk, self.tied, self.note = (trunk,), trunk.tied, trunk.note
        self.widths = [trunk.features_dim, *hidden]
        self.stages = nn.ModuleList(trunk.stages)
        for number, width in enumerate(hidden):
            linear = nn.Linear(self.widths[number], width)
            self.stages.append(nn.Sequential(*([] if number else [nn.Flatten()]), linear, *_dense(width)))
        self.features_dim, self.features_shape = self.widths[-1], (self.widths[-1],)

    @property
    def trunk(self) -> Backbone:
        """The backbone below."""
        return self._trunk[0]

    def mirror(self, stage: int) -> nn.Module:
        number = stage - len(self.trunk.stages)
        if number < 0:
            return self.trunk.mirror(stage)
        linear: nn.Module = nn.Linear(self.widths[number + 1], self.widths[number])
        if self.tied:
            layer = next(layer for layer in self.stages[stage].modules() if isinstance(layer, nn.Linear))
            linear = TiedLayer(layer, self.widths[number])
        return linear if number else nn.Sequential(linear, nn.Unflatten(1, self.trunk.features_shape))

    def mirror_activation(self, stage: int) -> nn.Module:
        number = stage - len(self.trunk.stages)
        return self.trunk.mirror_activation(stage) if number < 0 else nn.Sequential(*_dense(self.widths[number + 1]))

    def prepare(self, preprocess: Preprocess) -> None:
        self.trunk.prepare(preprocess)

    def load_pretrained(self, where: str, preprocess: Preprocess) -> dict[str, Any]:
        return self.trunk.load_pretrained(where, preprocess)

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        if type(self.trunk).decoder is Backbone.decoder:
            return super().decoder(dim, expand)
        # The decoder of the trunk takes the features of the trunk.
        dense = [] if isinstance(expand, nn.Unflatten) else [expand or nn.Linear(dim, self.features_dim)]
        for stage in reversed(range(len(self.trunk.stages), len(self.stages))):
            dense += [self.mirror_activation(stage)] if dense else []
            dense += [self.mirror(stage)]
        back = self.trunk.decoder(self.trunk.features_dim, nn.Unflatten(1, self.trunk.features_shape))
        return nn.Sequential(*dense, nn.Flatten(), back)


def _dense(width: int) -> tuple[nn.Module, nn.Module]:
    """Return what follows the linear map of a dense layer; layer norm, because few labels make small batches."""
    return nn.LayerNorm(width), nn.GELU()


class Decoder(nn.Module):
    """The mirror image of an encoder, in parts that layer-wise training can train one by one.

    Attributes:
        expand: (B, D) -> (B, *features_shape).
        mirrors: mirrors of the stages, in the order of the stages.
        mirror_activation: norm and activation before each mirror, as `Backbone.mirror_activation`.
    """

    def __init__(self, backbone: Backbone, expand: nn.Module) -> None:
        super().__init__()
        numbers = range(len(backbone.stages))
        self.expand = expand
        self.mirrors = nn.ModuleList(backbone.mirror(number) for number in numbers)
        # A code that is the features has passed norm and activation already.
        is_features = isinstance(expand, nn.Unflatten)
        self.mirror_activation = nn.ModuleList(
            nn.Identity() if is_features and number == len(numbers) - 1 else backbone.mirror_activation(number)
            for number in numbers
        )

    def forward(self, code: Tensor) -> Tensor:
        """Decode codes (B, D) to (B, *shape), before the output activation."""
        x = self.expand(code)
        for activation, mirror in zip(reversed(self.mirror_activation), reversed(self.mirrors)):
            x = mirror(activation(x))
        return x


def apply_any_size(backbone: Backbone, decoder: nn.Module, x: Tensor) -> Tensor:
    """Reconstruct images (B, C, H, W) of any size by a convolutional network whose code is its features, before the output
    activation."""
    for stage in backbone.stages:
        x = stage(x)
    for activation, mirror in zip(reversed(decoder.mirror_activation), reversed(decoder.mirrors)):  # type: ignore[arg-type]
        x = mirror(activation(x))
    return x


class TiedLayer(nn.Module):
    """A linear map or convolution with the transposed weights of another one, and its own bias.

    The weights belong to the other layer: they are neither saved nor counted here.

    Args:
        layer: ``nn.Linear`` or a convolution.
        width: input width of that layer, which is the width of the bias.
        output_padding: output padding of the transposed convolution, for sizes that the stride does not divide.
    """

    def __init__(self, layer: nn.Module, width: int, output_padding: tuple[int, ...] = ()) -> None:
        super().__init__()
        # In a tuple, so that the layer does not become a submodule.
        self._layer, self.output_padding = (layer,), output_padding
        self.bias = nn.Parameter(nn.init.zeros_(next(layer.parameters()).new_empty(width)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, out, ...) to (B, in, ...)."""
        (layer,) = self._layer
        if isinstance(layer, nn.Linear):
            return F.linear(x, layer.weight.t(), self.bias)
        back = _BACK[type(layer)]
        return back(x, layer.weight, self.bias, layer.stride, layer.padding, self.output_padding)


_BACK: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv_transpose1d,
    nn.Conv2d: F.conv_transpose2d,
    nn.Conv3d: F.conv_transpose3d,
}
