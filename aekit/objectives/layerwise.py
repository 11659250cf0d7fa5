"""Greedy layer-wise training of a stack: each layer learns to restore its own input while those below it stand still.

Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006; Bengio, Lamblin, Popovici and
Larochelle, Greedy layer-wise training of deep networks, 2007; with denoising at every layer, Vincent et al., 2010.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Decoder
from aekit.encoder.encoder import Encoder
from aekit.encoder.freezing import EncoderPart, FrozenTrunk, ends_in_sigmoid
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch, Objective, Variant


class LayerwiseObjective(Objective):
    """One layer of an autoencoder as an autoencoder of its own: its input is the code of the clean sample so far.

    Layers are the stages of the backbone that are not frozen and, last, the head, if it has weights. The layer's decoder is
    its part of the whole decoder, so that the unrolled stack starts from what its layers learned.

    Args:
        whole: the stack; its state holds what the layers below have learned.
        number: of the layer, from 0, the lowest that is not frozen.
        variants: of this layer, as in `Autoencoder`.
        loss: of the first layer's reconstruction; a layer above restores codes: sigmoid units by cross-entropy, others by
            squared error.

    Raises:
        RecipeError: a variant that would give a head to a layer below the last.
    """

    def __init__(self, whole: Autoencoder, number: int, variants: Mapping[str, Variant], loss: str) -> None:
        super().__init__()
        decoder, encoder, stages = whole.decoder, whole.encoder, whole.trained_part.backbone.stages
        assert isinstance(decoder, Decoder)
        self.whole, self.number, self.variants = whole, number, nn.ModuleDict(variants)
        self.is_head = number == len(stages)
        part = EncoderPart(encoder, encoder.frozen + number, encoder.frozen + number + 1)
        own_head = (encoder.architecture["head"] or {}).get("variant")
        for name, variant in variants.items():
            if variant.implements("head") and not (self.is_head and name == own_head):
                raise RecipeError(
                    [f"layerwise.layers: variant {name!r} gives a head; name it in objective.variants, for the last layer"]
                )
            variant.prepare(part.preprocess)
        back: list[nn.Module] = (
            [decoder.expand]
            if self.is_head
            else [nn.Unflatten(1, part.backbone.features_shape), decoder.mirrors[number]]
        )
        options = whole.loss_options
        if number:
            between = decoder.mirror_activation[number - 1]
            loss, options = "bce" if ends_in_sigmoid(between) else "mse", {}
            back += [] if loss == "bce" else [between]
        # In a tuple, as all its networks are parts of the whole.
        self._own = (Autoencoder(part, nn.Sequential(*back), variants, loss, options=options),)

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.whole.encoder

    @property
    def spec(self) -> SampleSpec:
        """Of what the layer takes in."""
        return self._own[0].trained_part.spec

    def trained(self) -> Iterator[nn.Parameter]:
        own = self._own[0]
        parts = [own.encoder.backbone, own.encoder.head, own.decoder, own.likelihood, self.variants]
        return (p for part in parts for p in part.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> LayerwiseObjective:
        super().train(mode)
        self._own[0].encoder.preprocess.eval()  # layers below stand still, their norms included
        return self

    def frozen_trunk(self) -> FrozenTrunk | None:
        return self._own[0].frozen_trunk()

    def compilable_networks(self) -> list[nn.Module]:
        return self._own[0].compilable_networks()

    def randomness(self) -> list[str]:
        return self._own[0].randomness()

    def start(self, samples: Samples) -> None:
        self._own[0].start(samples)

    def notes(self) -> list[str]:
        return self._own[0].notes()

    def set_progress(self, progress: float) -> None:
        self._own[0].set_progress(progress)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """As `Autoencoder.loss`; the terms bear the layer's number, from 1."""
        terms = self._own[0].loss(batch if self.number == 0 else replace(batch, target=None), generator)
        return {name if name == "loss" else f"layer-{self.number + 1}/{name}": value for name, value in terms.items()}

    def after_step(self) -> None:
        self._own[0].after_step()
