"""Greedy layer-wise training: each layer learns to reconstruct its own input while the layers below are frozen.

Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006; Bengio, Lamblin, Popovici and
Larochelle, Greedy layer-wise training of deep networks, 2007; with denoising in every layer, Vincent et al., 2010.
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
    """One layer trained as an autoencoder of its own; its input is the output of the layers below for the clean sample.

    Layers are the unfrozen stages of the backbone and, last, the head, if it has weights. The layer's decoder is its part of
    the whole decoder, so that the stack starts from what its layers learned.

    Args:
        whole: the stack, with the weights that the layers below have learned.
        number: index of the layer; 0 is the lowest unfrozen one.
        variants: variants for this layer, as in `Autoencoder`.
        loss: reconstruction loss of the first layer; higher layers reconstruct activations: sigmoid units by cross-entropy,
            others by squared error.

    Raises:
        RecipeError: a variant gives a head to a layer below the last.
    """

    def __init__(self, whole: Autoencoder, number: int, variants: Mapping[str, Variant], loss: str) -> None:
        super().__init__()
        decoder, encoder, stages = whole.decoder, whole.encoder, whole.trained_part.backbone.stages
        assert isinstance(decoder, Decoder)
        self.whole, self.number, self.variants = whole, number, nn.ModuleDict(variants)
        self.is_head = number == len(stages)
        part = EncoderPart(encoder, encoder.frozen + number, encoder.frozen + number + 1)
        head_variant = (encoder.architecture["head"] or {}).get("variant")
        for name, variant in variants.items():
            if variant.implements("head") and not (self.is_head and name == head_variant):
                raise RecipeError(
                    [
                        f"layerwise.layers: variant {name!r} gives a head; name it in objective.variants, for the last layer"
                    ]
                )
            variant.prepare(part.preprocess)
        decoder_layers: list[nn.Module] = (
            [decoder.expand]
            if self.is_head
            else [nn.Unflatten(1, part.backbone.features_shape), decoder.mirrors[number]]
        )
        options = whole.loss_options
        if number:
            activation = decoder.mirror_activation[number - 1]
            loss, options = "bce" if ends_in_sigmoid(activation) else "mse", {}
            decoder_layers += [] if loss == "bce" else [activation]
        # In a tuple, because all its networks belong to the whole.
        self._layer = (Autoencoder(part, nn.Sequential(*decoder_layers), variants, loss, options=options),)

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.whole.encoder

    @property
    def spec(self) -> SampleSpec:
        """Spec of the layer's input."""
        return self._layer[0].trained_part.spec

    def trained(self) -> Iterator[nn.Parameter]:
        layer = self._layer[0]
        parts = [layer.encoder.backbone, layer.encoder.head, layer.decoder, layer.likelihood, self.variants]
        return (p for part in parts for p in part.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> LayerwiseObjective:
        super().train(mode)
        self._layer[0].encoder.preprocess.eval()  # layers below are frozen, norms included
        return self

    def frozen_trunk(self) -> FrozenTrunk | None:
        return self._layer[0].frozen_trunk()

    def compilable_networks(self) -> list[nn.Module]:
        return self._layer[0].compilable_networks()

    def randomness(self) -> list[str]:
        return self._layer[0].randomness()

    def start(self, samples: Samples) -> None:
        self._layer[0].start(samples)

    def notes(self) -> list[str]:
        return self._layer[0].notes()

    def set_progress(self, progress: float) -> None:
        self._layer[0].set_progress(progress)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the terms of `Autoencoder.loss`, prefixed with the layer's number, from 1."""
        terms = self._layer[0].loss(batch if self.number == 0 else replace(batch, target=None), generator)
        return {name if name == "loss" else f"layer-{self.number + 1}/{name}": value for name, value in terms.items()}

    def after_step(self) -> None:
        self._layer[0].after_step()
