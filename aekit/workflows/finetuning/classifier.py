"""A linear classifier on the code of an encoder: what fine-tuning leaves, and what names the classes of new samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aekit.data.opening import open_data
from aekit.data.source import Source
from aekit.encoder.embedding import BatchEmbedder
from aekit.encoder.encoder import Encoder, temporary_seed
from aekit.encoder.identity import check_same_encoder
from aekit.encoder.loading import load
from aekit.errors import DataError, IdentityError
from aekit.evaluation.results import Metric
from aekit.io.atomic import atomic_file, file_sha256, read_json, write_json
from aekit.io.text_table import format_columns
from aekit.io.weights import load_weights, save_weights
from aekit.progress import SILENT, Progress
from aekit.version import __version__

FORMAT = 1
TITLES = {"finetuned": "fine-tuned", "random": "random weights", "frozen": "frozen + logistic regression"}


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
            for rows in BatchEmbedder(self.network.eval(), source, batch_size, strict).embed(wanted):
                found += len(rows.ids)
                task.advance(len(rows.ids))
                yield Predictions(list(rows.ids), *self.predict_logits(torch.from_numpy(rows.vectors)))
        if not found:
            name, why = next(iter(source.skipped.items()))
            raise DataError(f"none of {len(wanted)} samples can be used, such as {name}: {why}")

    def predict_logits(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(B, C) logits -> (B,) labels and (B, C) probabilities."""
        return self.classes[logits.argmax(1).cpu().numpy()], logits.double().softmax(1).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Writes ``classifier.safetensors`` and ``classifier.json``; the encoder is saved on its own."""
        path = folder / "classifier.safetensors"
        with atomic_file(path) as part:
            save_weights(self.linear, part)
        described = {
            "format": FORMAT,
            "aekit": __version__,
            "digest": self.encoder.digest,
            "classes": self.classes.tolist(),
            "dtype": str(self.classes.dtype),
            "sha256": file_sha256(path),
        }
        write_json(folder / "classifier.json", described)


@dataclass(frozen=True)
class FinetuneResult:
    """A fine-tuned encoder with its classifier, and what came of it on test samples that were read once.

    Attributes:
        classifier: names the classes of new samples; `classifier.encoder` is the fine-tuned encoder.
        accuracy: ``finetuned`` and, beside it, ``random`` (the same network from random weights) and ``frozen`` (the
            encoder as it was, with logistic regression), each with its 95 % interval.
        gains: ``random`` and ``frozen`` -> how much higher the fine-tuned accuracy is, in pairs of the same samples.
        results: everything, as ``results.json`` holds it.
    """

    classifier: Classifier
    accuracy: Mapping[str, Metric]
    gains: Mapping[str, Metric]
    results: dict[str, Any]

    @classmethod
    def from_results(cls, classifier: Classifier, results: dict[str, Any]) -> FinetuneResult:
        """From what ``results.json`` holds."""
        accuracy, gains = ({n: Metric(**m) for n, m in results[part].items()} for part in ("accuracy", "gains"))
        return cls(classifier, accuracy, gains, results)

    @property
    def encoder(self) -> Encoder:
        return self.classifier.encoder

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return self.results

    def text(self) -> str:
        """Accuracies, what the differences say, and what was chosen on which labels, for a terminal."""
        lines = [format_columns([{"": TITLES[name], "test accuracy": str(m)} for name, m in self.accuracy.items()]), ""]
        counts, chosen = self.results["counts"], self.results["chosen"]
        for name, gain in self.gains.items():
            low, high = gain.low or 0.0, gain.high or 0.0
            words = (
                "better" if low > 0 else "worse" if high < 0 else f"{counts['test']:,} test samples tell no difference"
            )
            lines.append(f"fine-tuned against {TITLES[name]}: {gain.value:+.3f} [{low:+.3f}, {high:+.3f}], {words}")
        parts = f"{counts['train']:,} to train on, {counts['validation']:,} to choose with, {counts['test']:,} to test"
        epochs = [f"{TITLES[name]} {own['epoch']} of {own['run']}" for name, own in chosen.items() if "epoch" in own]
        lines += [f"labels: {parts}", f"split: {self.results['split']}"]
        lines += [f"epochs: {', '.join(epochs)}; {chosen['finetuned']['by']}", *self.results["notes"]]
        return "\n".join(lines)


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
    check_same_encoder(
        described["digest"], encoder.digest, what=f"{folder}/classifier.json", maker="the encoder beside it is"
    )
    classes = np.array(described["classes"], described["dtype"])
    with temporary_seed(0):
        linear = nn.Linear(encoder.dim, len(classes)).to(device)
    weights = folder / "classifier.safetensors"
    if weights.exists() and file_sha256(weights) != described["sha256"]:
        raise IdentityError(f"{weights}: is damaged (its sha256 differs from classifier.json)")
    load_weights(linear, weights)
    return Classifier(encoder, linear, classes)
