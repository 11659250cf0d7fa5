"""The one autoencoder objective that all variants compose into: corrupt, encode, decode, compare, penalise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from aekit.artifacts import new_folder, read_json, write_json
from aekit.encoder import Encoder, check_same, load, seeded
from aekit.errors import DataError
from aekit.objective import Batch, Objective, Step, Variant
from aekit.reconstruction import LOSSES
from aekit.samples import Samples
from aekit.weights import load_weights, save_weights


class Autoencoder(Objective):
    """Reconstruction of the clean sample from what the variants let the encoder see, plus the variants' penalties.

    Terms are summed over the entries of a sample and averaged over the batch, as in the literature's nats per sample, so
    that a penalty's weight means the same for every sample size.

    Args:
        encoder: to train.
        decoder: (B, D) -> (B, *shape), before the output activation.
        variants: name -> variant, in the order in which they corrupt.
        loss: name of the reconstruction loss, as in `aekit.reconstruction.LOSSES`.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module, variants: Mapping[str, Variant], loss: str) -> None:
        super().__init__()
        self.encoder, self.decoder, self.variants = encoder, decoder, nn.ModuleDict(variants)
        self.likelihood, self.loss_name = LOSSES[loss](encoder.spec), loss
        self._named = tuple(variants.items())
        self.progress = 0.0

    def randomness(self) -> list[str]:
        heads = ["the head that draws its code"] if hasattr(self.encoder.head, "draw") else []
        return heads + [f"variant {name!r}" for name, variant in self._named if not variant.deterministic]

    def start(self, samples: Samples) -> None:
        for _, variant in self._named:
            variant.start(self.encoder, self.decoder, samples)

    def notes(self) -> list[str]:
        return [f"{name}: {variant.note}" for name, variant in self._named if variant.note]

    def at(self, progress: float) -> None:
        self.progress = progress
        for _, variant in self._named:
            variant.progress = progress

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        encoder = self.encoder
        corrupted = encoder.preprocess(batch.raw)
        for _, variant in self._named:
            corrupted = variant.present(corrupted, generator)
        clean = corrupted if batch.target is None else encoder.preprocess(batch.target)
        for _, variant in self._named:
            corrupted = variant.corrupt(corrupted, generator)
        features = encoder.backbone(corrupted)
        code, extras = draw(encoder.head, features, generator)
        output = self.decoder(code).float()
        weights, draws = self._emphasis(clean, corrupted), len(code) // len(clean)
        errors = self.likelihood(output, repeated(clean, draws), None if weights is None else repeated(weights, draws))
        step = Step(
            clean=clean,
            corrupted=corrupted,
            features=features,
            code=code,
            reconstruction=self.likelihood.activate(output),
            errors=errors,
            encode=encoder.encode,
            generator=generator,
            extras=extras,
            progress=self.progress,
        )
        bounds = [b for _, variant in self._named if (b := variant.bound(step)) is not None]
        terms = {"reconstruction": bounds[0] if bounds else errors.mean()}
        for name, variant in self._named:
            terms |= {f"{name}/{term}": value for term, value in variant.penalty(step).items()}
        total = torch.stack([term.float() for term in terms.values()]).sum()
        return {"loss": total, **{name: term.detach() for name, term in terms.items()}}

    def _emphasis(self, clean: Tensor, corrupted: Tensor) -> Tensor | None:
        given = [w for _, variant in self._named if (w := variant.emphasis(clean, corrupted)) is not None]
        return torch.stack(given).prod(0) if given else None

    @torch.no_grad()
    def reconstruct(self, raw: Tensor) -> Tensor:
        """(B, *shape) raw -> (B, *shape) float32 on the preprocessed scale, without corruption."""
        return self.likelihood.activate(self._output(raw))

    @torch.no_grad()
    def errors(self, raw: Tensor) -> Tensor:
        """(B, *shape) raw -> (B,) errors of the reconstruction, summed over entries, without corruption."""
        return self.likelihood(self._output(raw), self.encoder.preprocess(raw))

    def _output(self, raw: Tensor) -> Tensor:
        return self.decoder(self.encoder.encode(self.encoder.preprocess(raw))).float()

    def after_step(self) -> None:
        for _, variant in self._named:
            variant.after_step()

    def save_decoder(self, folder: str | Path) -> None:
        """Writes ``decoder.json`` and ``weights.safetensors`` into a new folder."""
        with new_folder(Path(folder)) as part:
            save_weights(self._decoding(), part / "weights.safetensors")
            write_json(part / "decoder.json", {"format": 1, "encoder": self.encoder.digest, "loss": self.loss_name})

    def _decoding(self) -> nn.ModuleDict:
        return nn.ModuleDict({"decoder": self.decoder, "likelihood": self.likelihood})


def load_autoencoder(run: str | Path) -> Autoencoder:
    """The encoder and decoder of a run, without its variants: to reconstruct, not to train on.

    Raises:
        DataError: the run has no decoder.
        IdentityError: the decoder belongs to another encoder, or is damaged.
    """
    folder = Path(run) / "decoder"
    if not (folder / "decoder.json").is_file():
        raise DataError(f"{run}: has no decoder; only runs with an autoencoder objective have one")
    described = read_json(folder / "decoder.json")
    encoder = load(run)
    check_same(described["encoder"], encoder.digest, what=str(folder), maker="the encoder beside it is")
    with seeded(0):
        autoencoder = Autoencoder(encoder, encoder.decoder(), {}, described["loss"])
    load_weights(autoencoder._decoding(), folder / "weights.safetensors")
    return autoencoder.eval()


def draw(head: nn.Module, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """A code for training from (B, F) features: ``head.draw`` where the head has one, else its forward."""
    own = getattr(head, "draw", None)
    return (head(features), {}) if own is None else own(features, generator)


def repeated(x: Tensor, draws: int) -> Tensor:
    """(B, ...) -> (draws * B, ...), one draw after the other."""
    return x if draws == 1 else x.repeat(draws, *(1 for _ in x.shape[1:]))
