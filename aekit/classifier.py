"""A linear classifier on the code of an encoder: what fine-tuning leaves, and what names the classes of new samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import aekit
from aekit.artifacts import new_file, read_json, sha256_of, write_json
from aekit.data import open_data
from aekit.embeddings import _Reader
from aekit.encoder import Encoder, check_same, load
from aekit.errors import DataError, IdentityError
from aekit.progress import SILENT, Progress
from aekit.samples import Source

FORMAT = 1


@dataclass(frozen=True)
class Predictions:
    """What a classifier said of a batch of samples.

    Attributes:
        ids: of the B samples.
        labels: (B,) the likeliest class of each.
        probabilities: (B, C), rows adding up to 1, columns in the order of the classifier's `classes`.
    """

    ids: list[str]
    labels: np.ndarray
    probabilities: np.ndarray


class Classifier:
    """An encoder and a linear map from its code, before any normalization of the output, to the classes.

    Attributes:
        encoder: whose code it reads.
        linear: (B, D) -> (B, C) logits.
        classes: (C,) labels in the order of the logits, of the type they were trained with.
    """

    def __init__(self, encoder: Encoder, linear: nn.Linear, classes: np.ndarray) -> None:
        self.encoder, self.linear, self.classes = encoder, linear, classes
        # The logits are the code of an encoder with one more layer: so whatever embeds can classify, too.
        head = nn.Sequential(encoder.head, linear)
        shape = encoder.architecture | {"dim": len(classes), "normalize": False}
        self.network = Encoder(encoder.spec, encoder.preprocess, encoder.backbone, head, shape, encoder.plugins).eval()

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """(N,) labels of the samples that can be used; see `classify` for the options and what is raised."""
        return np.concatenate([batch.labels for batch in self.classify(data, **options)])

    def probabilities(self, data: Any, **options: Any) -> np.ndarray:
        """(N, C) probabilities of the classes for the samples that can be used; see `classify` for the options."""
        return np.concatenate([batch.probabilities for batch in self.classify(data, **options)])

    def classify(
        self,
        data: Any,
        *,
        split: str | None = None,
        options: dict[str, Any] | None = None,
        batch_size: int = 256,
        strict: bool = False,
        progress: Progress = SILENT,
    ) -> Iterator[Predictions]:
        """Predictions batch by batch, in bounded memory. What cannot be read is left out, and is in `Source.skipped`.

        Args:
            data: what `aekit.open_data` takes.
            split: only this split of a data set that has splits.
            options: of the source, by source name.
            batch_size: samples a forward pass.
            strict: stop at the first sample that cannot be read.
            progress: receives a bar.

        Raises:
            DataError: unreadable data, no usable sample, or data of another shape or dtype than the encoder takes.
        """
        source: Source = open_data(data, options, like=self.encoder.spec)
        wanted = source.rows_of(split)
        found = 0
        with progress.task("classify", len(wanted)) as task:
            for rows in _Reader(self.network.eval(), source, batch_size, strict).embed(wanted):
                found += len(rows.ids)
                task.advance(len(rows.ids))
                yield Predictions(list(rows.ids), *self.decide(torch.from_numpy(rows.vectors)))
        if not found:
            name, why = next(iter(source.skipped.items()))
            raise DataError(f"none of {len(wanted)} samples can be used, such as {name}: {why}")

    def decide(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(B, C) logits -> (B,) labels and (B, C) probabilities."""
        return self.classes[logits.argmax(1).cpu().numpy()], logits.double().softmax(1).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Writes ``classifier.safetensors`` and ``classifier.json``; the encoder is saved on its own."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.linear.state_dict().items()}
        path = folder / "classifier.safetensors"
        with new_file(path) as part:
            save_file(weights, part)
        described = {
            "format": FORMAT,
            "aekit": aekit.__version__,
            "digest": self.encoder.digest,
            "classes": self.classes.tolist(),
            "dtype": str(self.classes.dtype),
            "sha256": sha256_of(path),
        }
        write_json(folder / "classifier.json", described)


def load_classifier(path: str | Path, *, device: str | torch.device = "cpu") -> Classifier:
    """Loads what `aekit.finetune` left in a folder.

    Raises:
        DataError: there is no classifier at `path`.
        IdentityError: the classifier was made for another encoder than the one beside it, or is damaged.
        PluginError: a plugin that the encoder needs is missing.
    """
    folder = Path(path)
    if not (folder / "classifier.json").is_file() or not (folder / "encoder" / "encoder.json").is_file():
        if (folder / "checkpoint" / "settings.json").is_file():
            raise DataError(f"{path}: fine-tuning was interrupted; finish it with aekit finetune --resume")
        raise DataError(f"{path}: no classifier here; expected a folder that aekit finetune wrote")
    described = read_json(folder / "classifier.json")
    if described.get("format") != FORMAT:
        raise IdentityError(f"{folder}: classifier format {described.get('format')!r}, this aekit reads {FORMAT}")
    encoder = load(folder, device=device)
    check_same(described["digest"], encoder.digest, what=f"{folder}/classifier.json", maker="the encoder beside it is")
    classes = np.array(described["classes"], described["dtype"])
    linear = nn.Linear(encoder.dim, len(classes), device=device)
    weights = folder / "classifier.safetensors"
    try:
        if sha256_of(weights) != described["sha256"]:
            raise IdentityError(f"{weights}: is damaged (its sha256 differs from classifier.json)")
        linear.load_state_dict(load_file(weights), strict=True)
    except (RuntimeError, OSError, SafetensorError) as error:
        raise IdentityError(f"{weights}: does not load: {str(error).strip().splitlines()[-1].strip()}") from error
    return Classifier(encoder, linear, classes)
