"""The autoencoder objective that all variants compose into: corrupt, encode, decode, compare, penalize."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aekit._arguments import checked_arguments
from aekit.data.samples import Samples
from aekit.encoder.backbone import DenseDecoder
from aekit.encoder.encoder import Encoder, temporary_seed
from aekit.encoder.freezing import FrozenTrunk, freeze, trained_part
from aekit.encoder.identity import check_same_encoder
from aekit.encoder.loading import load
from aekit.errors import DataError
from aekit.io.atomic import atomic_folder
from aekit.io.manifest_models import Count, Sha256, TensorsManifest
from aekit.io.manifests import TensorsFormat, explain_read_errors
from aekit.io.remote import local_path
from aekit.io.weights import load_weights, save_weights
from aekit.objectives.base import Batch, Objective, Step, Variant
from aekit.objectives.losses import LOSSES
from aekit.objectives.returned_values import check_code, check_samples, check_scalar, check_scalars

NO_DECODER = "has no decoder; an autoencoder has one, as of variants = ['plain'] (--variant plain)"


class DecoderManifest(TensorsManifest):
    """Entries of ``decoder.json``."""

    encoder: Sha256
    loss: str
    options: dict[str, Any]
    frozen: Count


FORMAT = TensorsFormat("decoder", 2, DecoderManifest, "decoder.json", "weights.safetensors", "fit the run again")


class Autoencoder(Objective):
    """Reconstruction of the clean sample from the corrupted one, plus the variants' penalties.

    Terms are summed over the entries of a sample and averaged over the batch, as in the literature's nats per sample, so
    that a penalty's weight means the same for every sample size.

    If the lowest layers of the encoder are frozen, their output takes the place of the sample: it is corrupted, encoded and
    reconstructed.

    Args:
        encoder: the encoder to train.
        decoder: (B, D) -> (B, *shape) of `trained_part`, before the output activation.
        variants: name -> variant, in the order in which they corrupt.
        loss: name of the reconstruction loss, as in `aekit.objectives.losses.LOSSES`.
        trained_part: the part of the encoder to train, from `aekit.encoder.freezing.trained_part`; None: all of it.
        options: of the loss.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: nn.Module,
        variants: Mapping[str, Variant],
        loss: str,
        trained_part: Encoder | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.variants = encoder, decoder, nn.ModuleDict(variants)
        # In a tuple, because its networks belong to the encoder.
        self._part = (trained_part or encoder,)
        self.loss_name, self.loss_options = loss, dict(options or {})
        self.likelihood = LOSSES[loss](self.trained_part.spec, **self.loss_options)
        self._named = tuple(variants.items())
        self.progress = 0.0

    @property
    def trained_part(self) -> Encoder:
        """The trained part of the encoder; its `preprocess` turns a raw sample into the target."""
        return self._part[0]

    @property
    def reconstructs_samples(self) -> bool:
        """Whether reconstructions are samples, not features of frozen layers."""
        return self.trained_part is self.encoder

    def frozen_trunk(self) -> FrozenTrunk | None:
        trunk = self.trained_part.preprocess
        return trunk if isinstance(trunk, FrozenTrunk) else None

    def compilable_networks(self) -> list[nn.Module]:
        return [self.trained_part.backbone, self.decoder]

    def randomness(self) -> list[str]:
        heads = ["the head that draws its code"] if hasattr(self.encoder.head, "draw") else []
        return heads + [f"variant {name!r}" for name, variant in self._named if not variant.deterministic]

    def start(self, samples: Samples) -> None:
        for _, variant in self._named:
            variant.start(self.trained_part, self.decoder, samples)

    def notes(self) -> list[str]:
        is_dense = any(isinstance(module, DenseDecoder) for module in self.decoder.modules())
        decoder = ["decoder: dense layers, as the backbone defines none"] if is_dense else []
        return decoder + [f"{name}: {variant.note}" for name, variant in self._named if variant.note]

    def set_progress(self, progress: float) -> None:
        self.progress = progress
        for _, variant in self._named:
            variant.progress = progress

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        encoder = self.trained_part
        clean, corrupted = self._clean_and_corrupted(batch, generator)
        features = encoder.backbone(corrupted)
        code, extras = sample_code(encoder.head, features, generator)
        check_code(encoder.head, code, encoder.dim)
        output = self.decoder(code).float()
        weights, draws = self._loss_weights(clean, corrupted), len(code) // len(clean)
        errors = self.likelihood(
            output, repeat_draws(clean, draws), None if weights is None else repeat_draws(weights, draws)
        )
        step = Step(
            clean=clean,
            corrupted=corrupted,
            features=features,
            code=code,
            output=output,
            errors=errors,
            encode=encoder.encode,
            generator=generator,
            extras=extras,
            progress=self.progress,
            activate=self.likelihood.activate,
        )
        losses = [
            check_scalar(variant, "reconstruction_loss", loss)
            for _, variant in self._named
            if (loss := variant.reconstruction_loss(step)) is not None
        ]
        terms = {"reconstruction": losses[0] if losses else errors.mean()}
        for name, variant in self._named:
            penalties = check_scalars(variant, "penalty", variant.penalty(step))
            terms |= {f"{name}/{term}": value for term, value in penalties.items()}
        total = torch.stack([term.float() for term in terms.values()]).sum()
        for name, variant in self._named:
            metrics = check_scalars(variant, "metrics", variant.metrics(step))
            terms |= {f"{name}/{metric}": value for metric, value in metrics.items()}
        return {"loss": total, **{name: term.detach() for name, term in terms.items()}}

    def _clean_and_corrupted(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return targets and encoder inputs, each (B, *shape) of `trained_part`."""
        x, target = batch.prepare(self.trained_part.preprocess)
        with torch.autocast(x.device.type, enabled=False):  # coordinates and samples need full precision
            for _, variant in self._named:
                x = check_samples(variant, "augment", variant.augment(x, generator), x)
            clean = x if target is None else target
            for _, variant in self._named:
                x = check_samples(variant, "corrupt", variant.corrupt(x, generator), x)
        return clean, x

    def visualize(self, batch: Batch, generator: torch.Generator) -> dict[str, dict[str, Tensor | list[str]]]:
        """Return rows (B, *shape): sample, encoder input, reconstruction and error; none if the targets are features."""
        if not self.reconstructs_samples:
            return {}
        clean, corrupted = self._clean_and_corrupted(batch, generator)
        restored = self.likelihood.activate(self.decoder(self.encoder.encode(corrupted)).float())
        rows: dict[str, Tensor | list[str]] = {"sample" if batch.target is None else "target": clean}
        if not torch.equal(clean, corrupted):
            rows["encoder input"] = corrupted
        return {"autoencoder": rows | {"reconstruction": restored, "error": (restored - clean).abs()}}

    def _loss_weights(self, clean: Tensor, corrupted: Tensor) -> Tensor | None:
        weights = [
            check_samples(variant, "loss_weights", w, clean)
            for _, variant in self._named
            if (w := variant.loss_weights(clean, corrupted)) is not None
        ]
        return torch.stack(weights).prod(0) if weights else None

    @torch.no_grad()
    def reconstruct(self, raw: Tensor) -> Tensor:
        """Reconstruct raw samples (B, *shape) without corruption -> float32 (B, *shape) on the preprocessed scale, or the
        features of frozen layers."""
        return self.likelihood.activate(self._output(raw))

    @torch.no_grad()
    def errors(self, raw: Tensor) -> Tensor:
        """Return reconstruction errors (B,) of raw samples (B, *shape), summed over entries, without corruption."""
        return self.likelihood(self._output(raw), self.trained_part.preprocess(raw))

    @torch.no_grad()
    def embed_with_errors(self, raw: Tensor) -> Tensor:
        """Return the embeddings of raw samples (B, *shape) and, as last column, their `errors` per entry: (B, D + 1) float32."""
        code, output = self._code_and_output(raw)
        errors = self.likelihood(output, self.trained_part.preprocess(raw)) / self.trained_part.spec.size
        return torch.cat([self.encoder.finish(code), errors[:, None]], 1)

    @torch.no_grad()
    def embed_with_reconstruction(self, raw: Tensor) -> Tensor:
        """Return the embeddings of raw samples (B, *shape), followed by the entries of what `reconstruct` returns: (B, D + E)."""
        code, output = self._code_and_output(raw)
        return torch.cat([self.encoder.finish(code), self.likelihood.activate(output).flatten(1)], 1)

    def _output(self, raw: Tensor) -> Tensor:
        return self._code_and_output(raw)[1]

    def _code_and_output(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        code = self.trained_part.encode(self.trained_part.preprocess(raw))
        return code, self.decoder(code).float()

    def after_step(self) -> None:
        for _, variant in self._named:
            variant.after_step()

    def save_decoder(self, folder: str | Path) -> None:
        """Write ``decoder.json`` and ``weights.safetensors`` to a new folder."""
        with atomic_folder(Path(folder)) as part:
            save_weights(self._decoding(), part / FORMAT.tensors)
            loss = {"loss": self.loss_name, "options": self.loss_options}
            frozen = trunk.number if (trunk := self.frozen_trunk()) else 0
            FORMAT.write(part, {"encoder": self.encoder.digest, **loss, "frozen": frozen})

    def _decoding(self) -> nn.ModuleDict:
        return nn.ModuleDict({"decoder": self.decoder, "likelihood": self.likelihood})


@checked_arguments
def load_autoencoder(
    run: str | Path, *, device: str | torch.device = "cpu", variants: Mapping[str, Variant] | None = None
) -> Autoencoder:
    """Load the encoder and decoder of a run for reconstruction, not for further training.

    If the run was trained on frozen layers, the reconstructions are their features.

    Args:
        run: folder of a run.
        device: device to load onto.
        variants: name -> new variant, for reports that show corruption; none by default.

    Raises:
        DataError: the run has no decoder.
        IdentityError: the decoder belongs to another encoder, or is damaged.

    >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp", out="digits", report=False)
    >>> autoencoder = aekit.load_autoencoder("digits")
    >>> autoencoder.encoder.digest == encoder.digest
    True
    """
    run = local_path(run)
    folder = run / "decoder"
    if not (folder / "decoder.json").is_file():
        raise DataError(f"{run}: {NO_DECODER}")
    record = FORMAT.read(folder)
    encoder = load(run, device=device)
    check_same_encoder(record["encoder"], encoder.digest, what=str(folder), maker="the encoder next to it is")
    with explain_read_errors(folder / "decoder.json"), temporary_seed(0):
        freeze(encoder, record["frozen"])
        part = trained_part(encoder)
        options = record["options"]
        for variant in (variants or {}).values():
            variant.prepare(part.preprocess)
        autoencoder = Autoencoder(encoder, part.decoder(), variants or {}, record["loss"], part, options)
    load_weights(autoencoder._decoding(), folder / FORMAT.tensors)
    return autoencoder.eval().to(device)


def sample_code(head: nn.Module, features: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute a code for training from features (B, F), by ``head.draw`` if the head has one, else by its forward."""
    draw = getattr(head, "draw", None)
    return (head(features), {}) if draw is None else draw(features, generator)


def repeat_draws(x: Tensor, draws: int) -> Tensor:
    """Repeat (B, ...) -> (draws * B, ...), one draw after the other."""
    return x if draws == 1 else x.repeat(draws, *(1 for _ in x.shape[1:]))
