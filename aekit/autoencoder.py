"""The one autoencoder objective that all variants compose into: corrupt, encode, decode, compare, penalise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.artifacts import new_folder, read_json, write_json
from aekit.encoder import Encoder, check_same, load, seeded
from aekit.errors import DataError
from aekit.objective import Batch, Objective, Step, Variant

Loss = Literal["bce", "mse"]


class Autoencoder(Objective):
    """Reconstruction of the clean sample from what the variants let the encoder see, plus the variants' penalties.

    Terms are summed over the entries of a sample and averaged over the batch, as in the literature's nats per sample, so
    that a penalty's weight means the same for every sample size.

    Args:
        encoder: to train.
        decoder: (B, D) -> (B, *shape), before the output activation.
        variants: name -> variant, in the order in which they corrupt.
        loss: ``bce``: sigmoid output and binary cross-entropy, for data in [0, 1]; ``mse``: linear output and squared
            error.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module, variants: Mapping[str, Variant], loss: Loss) -> None:
        super().__init__()
        self.encoder, self.decoder, self.variants = encoder, decoder, nn.ModuleDict(variants)
        self.loss_kind = loss
        self._named = tuple(variants.items())

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        clean = self.encoder.preprocess(batch.raw)
        corrupted = clean
        for _, variant in self._named:
            corrupted = variant.corrupt(corrupted, generator)
        features = self.encoder.backbone(corrupted)
        code, extras = draw(self.encoder.head, features, generator)
        output = self.decoder(code).float()
        terms = {"reconstruction": reconstruction_loss(output, clean, self.loss_kind)}
        step = Step(clean, corrupted, features, code, self.activate(output), self.encoder.encode, generator, extras)
        for name, variant in self._named:
            terms |= {f"{name}/{term}": value for term, value in variant.penalty(step).items()}
        total = torch.stack([term.float() for term in terms.values()]).sum()
        return {"loss": total, **{name: term.detach() for name, term in terms.items()}}

    def activate(self, output: Tensor) -> Tensor:
        """The decoder's output on the scale of the preprocessed sample."""
        return torch.sigmoid(output) if self.loss_kind == "bce" else output

    @torch.no_grad()
    def reconstruct(self, raw: Tensor) -> Tensor:
        """(B, *shape) raw -> (B, *shape) float32 on the preprocessed scale, without corruption."""
        return self.activate(self.decoder(self.encoder.encode(self.encoder.preprocess(raw))).float())

    def after_step(self) -> None:
        for _, variant in self._named:
            variant.after_step()

    def save_decoder(self, folder: str | Path) -> None:
        """Writes ``decoder.json`` and ``weights.safetensors`` into a new folder."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.decoder.state_dict().items()}
        with new_folder(Path(folder)) as part:
            save_file(weights, part / "weights.safetensors")
            write_json(part / "decoder.json", {"format": 1, "encoder": self.encoder.digest, "loss": self.loss_kind})


def load_autoencoder(run: str | Path) -> Autoencoder:
    """The encoder and decoder of a run, without its variants: to reconstruct, not to train on.

    Raises:
        DataError: the run has no decoder.
        IdentityError: the decoder belongs to another encoder.
    """
    folder = Path(run) / "decoder"
    if not (folder / "decoder.json").is_file():
        raise DataError(f"{run}: has no decoder; only runs with an autoencoder objective have one")
    described = read_json(folder / "decoder.json")
    encoder = load(run)
    check_same(described["encoder"], encoder.digest, what=str(folder), maker="the encoder beside it is")
    with seeded(0):
        decoder = encoder.backbone.decoder(encoder.dim)
    decoder.load_state_dict(load_file(folder / "weights.safetensors"), strict=True)
    return Autoencoder(encoder, decoder, {}, described["loss"]).eval()


def draw(head: nn.Module, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """A code for training from (B, F) features: ``head.draw`` where the head has one, else its forward."""
    own = getattr(head, "draw", None)
    return (head(features), {}) if own is None else own(features, generator)


def reconstruction_loss(output: Tensor, clean: Tensor, kind: Loss) -> Tensor:
    """Of (B, *shape) outputs before their activation: summed over entries, averaged over the batch."""
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(output, clean, reduction="sum") / len(clean)
    return F.mse_loss(output, clean, reduction="sum") / len(clean)
