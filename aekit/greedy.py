"""Greedy layer-wise training of a stack: each layer learns to restore its own input while those below it stand still.

Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006; Bengio, Lamblin, Popovici and
Larochelle, Greedy layer-wise training of deep networks, 2007; with denoising at every layer, Vincent et al., 2010.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aekit.autoencoder import Autoencoder
from aekit.backbone import Backbone, Decoder
from aekit.encoder import Encoder
from aekit.errors import RecipeError
from aekit.modes import looking_at
from aekit.objective import Batch, Objective, Variant
from aekit.preprocess import Preprocess
from aekit.samples import Kind, Samples, SampleSpec

_KINDS: dict[int, Kind] = {1: "vector", 2: "series", 3: "image", 4: "clip"}


class Layer(Objective):
    """One layer of an autoencoder as an autoencoder of its own: its input is the code of the clean sample so far.

    Layers are the stages of the backbone and, last, the head, if it has weights. The layer's decoder is its part of the
    whole decoder, so that the unrolled stack starts from what its layers learned.

    Args:
        whole: the stack; its state holds what the layers below have learned.
        number: of the layer, from 0.
        variants: of this layer, as in `Autoencoder`.
        loss: of the first layer's reconstruction; a layer above restores codes: sigmoid units by cross-entropy, others by
            squared error.

    Raises:
        RecipeError: a variant that would give a head to a layer below the last.
    """

    def __init__(self, whole: Autoencoder, number: int, variants: Mapping[str, Variant], loss: str) -> None:
        super().__init__()
        decoder, stages = whole.decoder, whole.encoder.backbone.stages
        assert isinstance(decoder, Decoder)
        self.whole, self.number, self.variants = whole, number, nn.ModuleDict(variants)
        self.is_head = number == len(stages)
        view = _View(whole.encoder, number)
        own_head = (whole.encoder.architecture["head"] or {}).get("variant")
        for name, variant in variants.items():
            if variant.overrides("head") and not (self.is_head and name == own_head):
                raise RecipeError(
                    [f"greedy.layers: variant {name!r} gives a head; name it in objective.variants, for the last layer"]
                )
            variant.prepare(view.preprocess.scaling)
        back: list[nn.Module] = (
            [decoder.widen] if self.is_head else [nn.Unflatten(1, view.out), decoder.mirrors[number]]
        )
        if number:
            between = decoder.between[number - 1]
            loss = "bce" if _is_sigmoid(between) else "mse"
            back += [] if loss == "bce" else [between]
        # In a tuple, as all its networks are parts of the whole.
        self._own = (Autoencoder(view, nn.Sequential(*back), variants, loss),)  # type: ignore[arg-type]

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.whole.encoder

    def trained(self) -> Iterator[nn.Parameter]:
        own = self._own[0]
        parts = [own.encoder.backbone, own.encoder.head, own.decoder, own.likelihood, self.variants]
        return (p for part in parts for p in part.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> Layer:
        super().train(mode)
        self._own[0].encoder.preprocess.eval()  # layers below stand still, their norms included
        return self

    def randomness(self) -> list[str]:
        return self._own[0].randomness()

    def start(self, samples: Samples) -> None:
        self._own[0].start(samples)

    def notes(self) -> list[str]:
        return self._own[0].notes()

    def at(self, progress: float) -> None:
        self._own[0].at(progress)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """As `Autoencoder.loss`; the terms bear the layer's number, from 1."""
        terms = self._own[0].loss(batch if self.number == 0 else Batch(batch.raw), generator)
        return {name if name == "loss" else f"layer-{self.number + 1}/{name}": value for name, value in terms.items()}

    def after_step(self) -> None:
        self._own[0].after_step()


class _View(nn.Module):
    """One layer of an encoder, with an encoder's face: `preprocess` is all that lies below it.

    Attributes:
        spec: of what the layer takes in.
        out: shape of what it gives.
    """

    def __init__(self, encoder: Encoder, number: int) -> None:
        super().__init__()
        stages = encoder.backbone.stages
        below = _Below(encoder, number)
        is_head = number == len(stages)
        backbone = Backbone()
        backbone.stages = nn.ModuleList([] if is_head else [stages[number]])
        x = torch.zeros(2, *encoder.spec.shape, device=encoder.device)
        shapes = [tuple(x.shape[1:])]
        with looking_at(stages):
            for stage in stages:
                x = stage(x)
                shapes.append(tuple(x.shape[1:]))
        shape = shapes[number]
        self.out = backbone.features_shape = shape if is_head else shapes[number + 1]
        backbone.features_dim = int(torch.Size(self.out).numel())
        self.spec = encoder.spec if number == 0 else SampleSpec(_KINDS[len(shape)], shape, "float32")
        self.preprocess, self.backbone = below, backbone
        self.head = encoder.head if is_head else nn.Identity()

    @property
    def device(self) -> torch.device:
        return self.preprocess.scaling.scale.device

    def encode(self, x: Tensor) -> Tensor:
        """(B, *shape) of the layer's input -> (B, D) of its output."""
        return self.head(self.backbone(x))


class _Below(nn.Module):
    """(B, *shape) raw -> the code that the layers below `number` make of it.

    Attributes:
        scaling: of that code, for levels of noise: what the data's is for the first layer; for others, codes lie between 0
            and 1, or about there.
    """

    def __init__(self, encoder: Encoder, number: int) -> None:
        super().__init__()
        self.first, self.stages = encoder.preprocess, encoder.backbone.stages[:number]
        self.scaling: Any = encoder.preprocess
        if number:
            one = torch.ones(1, device=encoder.device)
            self.scaling = Preprocess("none", _is_sigmoid(self.stages[-1]), one, 0 * one, 0 * one, one)

    @torch.no_grad()
    def forward(self, raw: Tensor) -> Tensor:
        x = self.first(raw)
        for stage in self.stages:
            x = stage(x)
        return x


def _is_sigmoid(module: nn.Module) -> bool:
    """Whether the last thing that a module does is the logistic function."""
    return isinstance(list(module.modules())[-1], nn.Sigmoid)
