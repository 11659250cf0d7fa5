"""The network from a sample to features, as ordered stages, and its mirror image, the decoder."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


class Backbone(nn.Module):
    """A network from a preprocessed sample to features, as an ordered list of stages.

    Subclasses fill `stages`, set `features_dim` and `features_shape`, and define `mirror` where they can decode.

    Attributes:
        stages: applied one after the other; what layer-wise training and partial freezing count in.
        features_dim: F, width of the flattened output of the last stage.
        features_shape: shape of that output before it is flattened.
        tied: whether the decoder uses the encoder's weights, transposed.
    """

    stages: nn.ModuleList
    features_dim: int
    features_shape: tuple[int, ...]
    tied: bool = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) float -> (B, F)."""
        for stage in self.stages:
            x = stage(x)
        return x.flatten(1)

    def mirror(self, stage: int) -> nn.Module:
        """A module from the output of stage number `stage` back to its input, before any norm and activation. Raises
        NotImplementedError where the network has no mirror image."""
        raise NotImplementedError(f"{type(self).__name__} has no decoder")

    def between(self, stage: int) -> nn.Module:
        """What follows a map back to the output of stage number `stage`: a norm and an activation like the stage's own."""
        return nn.ReLU()

    def decoder(self, dim: int, widen: nn.Module | None = None) -> nn.Module:
        """(B, dim) code -> (B, *shape), on the scale of the preprocessed sample, before any output activation.

        Args:
            dim: width of the code.
            widen: (B, dim) -> (B, *features_shape), the mirror image of the encoder's head; by default a linear map.
        """
        if widen is None:
            widen = nn.Sequential(nn.Linear(dim, self.features_dim), nn.Unflatten(1, self.features_shape))
        return Decoder(self, widen)


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
        self.widen = widen
        self.mirrors = nn.ModuleList(backbone.mirror(number) for number in numbers)
        # A code that is the features themselves has been through norm and activation already.
        bare = isinstance(widen, nn.Unflatten)
        self.between = nn.ModuleList(
            nn.Identity() if bare and number == len(numbers) - 1 else backbone.between(number) for number in numbers
        )

    def forward(self, code: Tensor) -> Tensor:
        """(B, D) -> (B, *shape), before the output activation."""
        x = self.widen(code)
        for between, mirror in zip(reversed(self.between), reversed(self.mirrors)):
            x = mirror(between(x))
        return x


class Tied(nn.Module):
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
