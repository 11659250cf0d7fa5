"""Freeze the lowest layers of an encoder, and train the layers above as an encoder of the frozen layers' output.

Layer-wise training and training on frozen layers both train such a part.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.data.spec import Kind, SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.preprocessing import Preprocess

_KINDS: dict[int, Kind] = {1: "vector", 2: "series", 3: "image", 4: "clip"}


def freeze(encoder: Encoder, count: int) -> None:
    """Freeze the lowest `count` of `Encoder.layers`; 0 makes all trainable again.

    Frozen layers have no gradient and stay in eval mode, so that norms keep their statistics and dropout is off.
    """
    for parameter in encoder.frozen_params:
        parameter.requires_grad_(True)
    above = {id(p) for layer in encoder.layers[count:] for p in layer.parameters()}
    # Parameters that a plugin itself keeps fixed must not become trainable afterwards.
    encoder.frozen_params = [p for p in encoder.parameters() if p.requires_grad and id(p) not in above] if count else []
    for parameter in encoder.frozen_params:
        parameter.requires_grad_(False)
    encoder.frozen = count
    encoder.train(encoder.training)


def trained_part(encoder: Encoder) -> Encoder:
    """Return the part of an encoder that is trained: the layers above the frozen ones, or the whole encoder."""
    return EncoderPart(encoder, encoder.frozen) if encoder.frozen else encoder


class EncoderPart(Encoder):
    """Layers `first` to `last` of an encoder, as an encoder whose `preprocess` is everything below them.

    It shares the modules of the whole encoder.

    Args:
        encoder: the whole encoder.
        first: number of its lowest layer, from 0, as in `Encoder.layers`.
        last: number of the layer after its last one; None: all that follow, and the head even without weights.
    """

    def __init__(self, encoder: Encoder, first: int, last: int | None = None) -> None:
        stages = len(encoder.backbone.stages)
        has_head = first <= stages and (last is None or last > stages)
        shapes = _shapes(encoder)
        kind = _KINDS.get(len(shapes[first]))
        if kind is None:
            raise NotImplementedError(
                f"layer {first} outputs {len(shapes[first])} dimensions per sample; expected 1 to 4"
            )
        spec = encoder.spec if first == 0 else SampleSpec(kind, shapes[first], "float32")
        super().__init__(
            spec,
            encoder.preprocess if first == 0 else FrozenTrunk(encoder, first, spec),
            _Stages(encoder.backbone, first, stages if last is None else min(last, stages), shapes),
            encoder.head if has_head else nn.Identity(),
            encoder.architecture if has_head else {"head": None, "dim": 0, "normalize": False},
            encoder.plugins,
        )


class FrozenTrunk(Preprocess):
    """The lowest `number` layers of an encoder, frozen: raw samples (B, *shape) -> their output (B, *shape) float32.

    The output is not scaled: codes of sigmoid units lie in [0, 1], others near it.

    Attributes:
        out: spec of the output.
    """

    def __init__(self, encoder: Encoder, number: int, out: SampleSpec) -> None:
        stages = encoder.backbone.stages
        last = encoder.head if number > len(stages) else stages[number - 1]
        one = torch.ones(1, device=encoder.device)
        super().__init__("none", ends_in_sigmoid(last), one, 0 * one, 0 * one, one)
        self.number, self.out, self.first, self.layers = number, out, encoder.preprocess, stages[:number]
        self.head = nn.Sequential(nn.Flatten(), encoder.head) if number > len(stages) else nn.Identity()

    @torch.no_grad()
    def forward(self, raw: Tensor) -> Tensor:
        x = self.first(raw)
        for layer in self.layers:
            x = layer(x)
        return self.head(x).float()


class PrecomputedFeatures(Samples):
    """Output of a `FrozenTrunk` for samples, computed once."""


def ends_in_sigmoid(module: nn.Module) -> bool:
    """Return whether the last operation of a module is the logistic function."""
    return isinstance(list(module.modules())[-1], nn.Sigmoid)


class _Stages(Backbone):
    """Stages `first` to `last` of a backbone with known shapes between stages."""

    def __init__(self, encoder: Backbone, first: int, last: int, shapes: list[tuple[int, ...]]) -> None:
        super().__init__()
        # In a tuple, so that the other stages are not submodules of this one.
        self._whole, self._first = (encoder,), first
        self.stages, self.tied = nn.ModuleList(encoder.stages[first:last]), encoder.tied
        self.features_shape = shapes[max(first, last)]
        self.features_dim = int(torch.Size(self.features_shape).numel())

    def mirror(self, stage: int) -> nn.Module:
        return self._whole[0].mirror(self._first + stage)

    def mirror_activation(self, stage: int) -> nn.Module:
        return self._whole[0].mirror_activation(self._first + stage)


def _shapes(encoder: Encoder) -> list[tuple[int, ...]]:
    """Return the input shape of each stage, the output shape of the last one, and the shape of the code."""
    stages, device = encoder.backbone.stages, next(encoder.backbone.parameters(), encoder.preprocess.scale).device
    x = torch.zeros(2, *encoder.spec.shape, device=device)
    shapes = [tuple(x.shape[1:])]
    with eval_mode(stages):
        for stage in stages:
            x = stage(x)
            shapes.append(tuple(x.shape[1:]))
    return [*shapes, (encoder.dim,)]
