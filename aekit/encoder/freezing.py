"""Parts of an encoder: its lowest layers frozen, and those above them as an encoder whose samples are what the frozen ones give.

Layer-wise training and training on frozen layers are both the training of such a part.
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
    """Keeps the lowest `count` of `Encoder.layers` as they are while the rest is trained; 0 lets all be trained again.

    What is frozen has no gradient and stays in eval mode, so that norms keep their statistics and dropout is off.
    """
    for parameter in encoder.frozen_params:
        parameter.requires_grad_(True)
    above = {id(p) for layer in encoder.layers[count:] for p in layer.parameters()}
    # Only those that were free: what a plugin holds fixed itself is not to be let loose afterwards.
    encoder.frozen_params = [p for p in encoder.parameters() if p.requires_grad and id(p) not in above] if count else []
    for parameter in encoder.frozen_params:
        parameter.requires_grad_(False)
    encoder.frozen = count
    encoder.train(encoder.training)


def trained_part(encoder: Encoder) -> Encoder:
    """What of an encoder is trained: the layers above those that are frozen, or all of it."""
    return EncoderPart(encoder, encoder.frozen) if encoder.frozen else encoder


class EncoderPart(Encoder):
    """Layers `first` to `last` of an encoder, with an encoder's face: its `preprocess` is all that lies below.

    Nothing is copied: its networks are the whole encoder's.

    Args:
        whole: the encoder.
        first: number of the lowest layer of the part, from 0, as in `Encoder.layers`.
        last: number of the one after its last; None: all that follow, and the head whether or not it has weights.
    """

    def __init__(self, encoder: Encoder, first: int, last: int | None = None) -> None:
        stages = len(encoder.backbone.stages)
        has_head = first <= stages and (last is None or last > stages)
        shapes = _shapes(encoder)
        kind = _KINDS.get(len(shapes[first]))
        if kind is None:
            raise NotImplementedError(
                f"layer {first} gives {len(shapes[first])} dimensions a sample, which no sample has"
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
    """(B, *shape) raw -> (B, *shape) float32, what the lowest `number` layers of an encoder make of it; they stand still.

    Its scaling leaves that as it is: codes of sigmoid units lie between 0 and 1, others about there.

    Attributes:
        out: of what they make of it.
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
    """What layers that stand still make of samples, computed once: `Below` is behind them already."""


def ends_in_sigmoid(module: nn.Module) -> bool:
    """Whether the last thing that a module does is the logistic function."""
    return isinstance(list(module.modules())[-1], nn.Sigmoid)


class _Stages(Backbone):
    """Stages `first` to `last` of a backbone, whose shapes in between are known."""

    def __init__(self, encoder: Backbone, first: int, last: int, shapes: list[tuple[int, ...]]) -> None:
        super().__init__()
        # In a tuple, so that the other stages are no part of this one.
        self._whole, self._first = (encoder,), first
        self.stages, self.tied = nn.ModuleList(encoder.stages[first:last]), encoder.tied
        self.features_shape = shapes[max(first, last)]
        self.features_dim = int(torch.Size(self.features_shape).numel())

    def mirror(self, stage: int) -> nn.Module:
        return self._whole[0].mirror(self._first + stage)

    def mirror_activation(self, stage: int) -> nn.Module:
        return self._whole[0].mirror_activation(self._first + stage)


def _shapes(encoder: Encoder) -> list[tuple[int, ...]]:
    """Of what each stage takes in, of what the last one gives, and of the code."""
    stages, device = encoder.backbone.stages, next(encoder.backbone.parameters(), encoder.preprocess.scale).device
    x = torch.zeros(2, *encoder.spec.shape, device=device)
    shapes = [tuple(x.shape[1:])]
    with eval_mode(stages):
        for stage in stages:
            x = stage(x)
            shapes.append(tuple(x.shape[1:]))
    return [*shapes, (encoder.dim,)]
