"""The network from a sample to features, as ordered stages, and its mirror image, the decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from aekit.encoder.preprocessing import Preprocess


class Backbone(nn.Module):
    """A network from a preprocessed sample to features, as an ordered list of stages.

    Subclasses fill `stages`, set `features_dim` and `features_shape`, and define `mirror` where they can decode.

    Attributes:
        stages: applied one after the other; what layer-wise training and partial freezing count in.
        features_dim: F, width of the flattened output of the last stage.
        features_shape: shape of that output before it is flattened.
        tied: whether the decoder uses the encoder's weights, transposed.
        note: one line about a choice that building it made, or "".
        patch: size of the patches that it makes tokens of, such as (16, 16); None where it does not, or cannot `encode_visible`.
        tokens_dim: W, width of those tokens.
    """

    stages: nn.ModuleList
    features_dim: int
    features_shape: tuple[int, ...]
    tied: bool = False
    note: str = ""
    patch: tuple[int, ...] | None = None
    tokens_dim: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) float -> (B, F)."""
        for stage in self.stages:
            x = stage(x)
        return x.flatten(1)

    def encode_visible(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes some patches of each sample and leaves the others out, where `patch` says that it can.

        Args:
            x: (B, *shape); what it holds in the other patches does not matter.
            places: (B, V) numbers of the patches, counted row by row.

        Returns:
            their tokens (B, V, W), and the features (B, F) of these patches alone.
        """
        raise NotImplementedError(f"{type(self).__name__} is not made of patches")

    def load_pretrained(self, where: str, preprocess: Preprocess) -> dict[str, Any]:
        """Takes up weights that somebody else trained, all of them or none.

        Args:
            where: a file, or a word that the backbone knows.
            preprocess: scaling of what it will be given.

        Returns:
            what is known of them, as plain values, for the encoder's record.

        Raises:
            NotImplementedError: it knows of no other weights.
            RecipeError, DataError: these do not fit it, or cannot be had; says why.
        """
        raise NotImplementedError(f"{type(self).__name__} takes up no weights of others")

    def mirror(self, stage: int) -> nn.Module:
        """A module from the output of stage number `stage` back to its input, before any norm and activation. Raises
        NotImplementedError where the network has no mirror image."""
        raise NotImplementedError(f"{type(self).__name__} has no decoder")

    def mirror_activation(self, stage: int) -> nn.Module:
        """What follows a map back to the output of stage number `stage`: a norm and an activation like the stage's own."""
        return nn.ReLU()

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        """(B, dim) code -> (B, *shape), on the scale of the preprocessed sample, before any output activation.

        Args:
            dim: width of the code.
            expand: (B, dim) -> (B, *features_shape), the mirror image of the encoder's head; by default a linear map.
        """
        if expand is None:
            expand = nn.Sequential(nn.Linear(dim, self.features_dim), nn.Unflatten(1, self.features_shape))
        return Decoder(self, expand)


class BackboneWithDense(Backbone):
    """A backbone with dense layers on top, which are stages like its own: what makes a head on frozen features more than a
    linear map.

    Args:
        own: the backbone below; its stages come first, under the names that they have.
        hidden: widths of the dense layers, each a linear map, a layer norm and a GELU.
    """

    def __init__(self, own: Backbone, hidden: Sequence[int]) -> None:
        super().__init__()
        # In a tuple, as its stages are this one's.
        self._own, self.tied, self.note = (own,), own.tied, own.note
        self.widths = [own.features_dim, *hidden]
        self.stages = nn.ModuleList(own.stages)
        for number, width in enumerate(hidden):
            linear = nn.Linear(self.widths[number], width)
            self.stages.append(nn.Sequential(*([] if number else [nn.Flatten()]), linear, *_dense(width)))
        self.features_dim, self.features_shape = self.widths[-1], (self.widths[-1],)

    @property
    def trunk(self) -> Backbone:
        """The backbone below."""
        return self._own[0]

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

    def load_pretrained(self, where: str, preprocess: Preprocess) -> dict[str, Any]:
        return self.trunk.load_pretrained(where, preprocess)

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        if type(self.trunk).decoder is Backbone.decoder:
            return super().decoder(dim, expand)
        # A decoder of the own stages that is no mirror image takes their features.
        dense = [] if isinstance(expand, nn.Unflatten) else [expand or nn.Linear(dim, self.features_dim)]
        for stage in reversed(range(len(self.trunk.stages), len(self.stages))):
            dense += [self.mirror_activation(stage)] if dense else []
            dense += [self.mirror(stage)]
        back = self.trunk.decoder(self.trunk.features_dim, nn.Unflatten(1, self.trunk.features_shape))
        return nn.Sequential(*dense, nn.Flatten(), back)


def _dense(width: int) -> tuple[nn.Module, nn.Module]:
    """What follows the linear map of a dense layer; the norm knows no batch, as few labels make small ones."""
    return nn.LayerNorm(width), nn.GELU()


class Decoder(nn.Module):
    """The mirror image of an encoder, in parts that layer-wise training can take up one by one.

    Attributes:
        widen: (B, D) -> (B, *features_shape).
        mirrors: of the stages, in the order of the stages.
        between: of the stages, as `Backbone.between`.
    """

    def __init__(self, backbone: Backbone, widen: nn.Module) -> None:
        super().__init__()
        numbers = range(len(backbone.stages))
        self.expand = widen
        self.mirrors = nn.ModuleList(backbone.mirror(number) for number in numbers)
        # A code that is the features themselves has been through norm and activation already.
        bare = isinstance(widen, nn.Unflatten)
        self.mirror_activation = nn.ModuleList(
            nn.Identity() if bare and number == len(numbers) - 1 else backbone.mirror_activation(number)
            for number in numbers
        )

    def forward(self, code: Tensor) -> Tensor:
        """(B, D) -> (B, *shape), before the output activation."""
        x = self.expand(code)
        for between, mirror in zip(reversed(self.mirror_activation), reversed(self.mirrors)):
            x = mirror(between(x))
        return x


def apply_any_size(backbone: Backbone, decoder: nn.Module, x: Tensor) -> Tensor:
    """(B, C, H, W) of any size -> the same, before the output activation: by the stages and their mirrors alone, for networks
    of convolutions whose code is the features themselves."""
    for stage in backbone.stages:
        x = stage(x)
    for between, mirror in zip(reversed(decoder.mirror_activation), reversed(decoder.mirrors)):  # type: ignore[arg-type]
        x = mirror(between(x))
    return x


class TiedLayer(nn.Module):
    """The way back through a linear map or a convolution by its own weights, transposed, and a bias of its own.

    The weights stay the encoder's: they are neither saved nor counted here.

    Args:
        layer: ``nn.Linear`` or a convolution.
        width: of the bias: what the layer takes in.
        output_padding: of the transposed convolution, which makes up for sizes that the stride does not divide.
    """

    def __init__(self, layer: nn.Module, width: int, output_padding: tuple[int, ...] = ()) -> None:
        super().__init__()
        # In a tuple, so that the layer does not become a part of this module.
        self._layer, self.output_padding = (layer,), output_padding
        self.bias = nn.Parameter(nn.init.zeros_(next(layer.parameters()).new_empty(width)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, out, ...) -> (B, in, ...)."""
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
