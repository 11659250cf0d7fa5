"""Classify new samples with a fine-tuned encoder and its linear classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, StringConstraints
from torch import Tensor, nn

from aekit._arguments import checked_arguments
from aekit.data.opening import open_data
from aekit.data.source import Source
from aekit.encoder.embedding import BatchEmbedder, embed_with
from aekit.encoder.encoder import Encoder, temporary_seed
from aekit.encoder.engines.choice import EngineName, choose_engine
from aekit.encoder.identity import check_same_encoder
from aekit.encoder.input_range import warn_of_other_scale
from aekit.encoder.loading import load
from aekit.errors import DataError, IdentityError
from aekit.evaluation.results import Metric
from aekit.evaluation.run_results import MetricRecord
from aekit.io.atomic import atomic_file
from aekit.io.manifest_models import Manifest, Sha256, TensorsManifest
from aekit.io.manifests import TensorsFormat, explain_read_errors
from aekit.io.remote import local_path
from aekit.io.summaries import html_summary
from aekit.io.text_table import format_columns
from aekit.io.weights import load_weights, save_weights
from aekit.progress_display import ProgressOption, open_progress
from aekit.version import __version__
from aekit.workflows.finetuning._inputs import FinetuneSettings

TITLES = {"finetuned": "fine-tuned", "random": "random weights", "frozen": "frozen + logistic regression"}


class ClassifierManifest(TensorsManifest):
    """Entries of ``classifier.json``."""

    digest: Sha256
    classes: Annotated[list[bool | int | float | str], Field(min_length=2)]
    dtype: Annotated[str, StringConstraints(pattern=r"^(bool|u?int(8|16|32|64)|float(16|32|64)|<U[1-9][0-9]{0,4})$")]


FORMAT = TensorsFormat(
    "classifier", 2, ClassifierManifest, "classifier.json", "classifier.safetensors", "fine-tune again"
)


class FinetuneResults(Manifest):
    """Entries of ``results.json`` of fine-tuning."""

    digest: Sha256
    accuracy: Annotated[dict[str, MetricRecord], Field(min_length=1)]
    gains: dict[str, MetricRecord]
    chosen: dict[str, dict[str, Any]]
    counts: dict[str, int]
    split: str
    notes: list[str]
    resumed_as: FinetuneSettings


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for a batch of samples.

    Attributes:
        ids: ids of the B samples.
        labels: (B,) the most probable class of each.
        probabilities: (B, C), rows sum to 1, columns in the order of the classifier's `classes`.
    """

    ids: list[str]
    labels: np.ndarray
    probabilities: np.ndarray


class Classifier:
    """An encoder and a linear layer from its code, before any normalization of the output, to the classes.

    Attributes:
        encoder: the encoder.
        linear: (B, D) -> (B, C) logits.
        classes: (C,) labels in the order of the logits, of the type of the training labels.
    """

    def __init__(self, encoder: Encoder, linear: nn.Linear, classes: np.ndarray) -> None:
        self.encoder, self.linear, self.classes = encoder, linear, classes
        # The logits are the code of an encoder with one more layer, so embedding them is classifying.
        head = nn.Sequential(encoder.head, linear)
        shape = encoder.architecture | {"dim": len(classes), "normalize": False}
        self.network = Encoder(encoder.spec, encoder.preprocess, encoder.backbone, head, shape, encoder.plugins).eval()

    def __repr__(self) -> str:
        return f"<Classifier of {len(self.classes)} classes on encoder {self.encoder.digest[:12]}>"

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """Predict the (N,) labels of the readable samples; see `classify` for options and errors."""
        return np.concatenate([batch.labels for batch in self.classify(data, **options)])

    def probabilities(self, data: Any, **options: Any) -> np.ndarray:
        """Predict the (N, C) class probabilities of the readable samples; see `classify` for options and errors."""
        return np.concatenate([batch.probabilities for batch in self.classify(data, **options)])

    def classify(
        self,
        data: Any,
        *,
        split: str | None = None,
        options: dict[str, Any] | None = None,
        batch_size: int | None = None,
        strict: bool = False,
        engine: EngineName = "single",
        workers: int | None = None,
        address: str | None = None,
        progress: ProgressOption = None,
    ) -> Iterator[Predictions]:
        """Yield predictions batch by batch, in bounded memory. Unreadable samples are skipped and listed in `Source.skipped`.

        Args:
            data: data as `aekit.open_data` takes it.
            split: use only this split of the data.
            options: options of the source, by source name.
            batch_size: samples per forward pass; by default as many as suit memory and caches.
            strict: stop at the first sample that cannot be read.
            engine, workers, address: what computes the codes, as in `aekit.embed`; the predictions are those of one process.
            progress: shows a bar, as in `aekit.fit`.

        Raises:
            DataError: the data is unreadable, or has another shape or dtype than the encoder takes.
            RecipeError: there is no such engine, or it does not take these options.
        """
        progress, chosen = open_progress(progress), choose_engine(engine, workers, address)
        source: Source = open_data(data, options, like=self.encoder.spec)
        if chosen is not None:
            chosen.check(source)
        positions = source.rows_of(split)
        warn_of_other_scale(self.encoder, source, positions)
        # Workers load an encoder, which has no classes: the logits of its codes are computed here.
        network = self.network if chosen is None else self._coder()
        count = 0
        with TemporaryDirectory() as place, progress.task("classify", len(positions)) as task:
            embedder = BatchEmbedder(network.eval(), source, batch_size=batch_size, strict=strict)
            with closing(embed_with(chosen, embedder, positions, Path(place, "encoder"))) as batches:
                for rows in batches:
                    count += len(rows.ids)
                    task.advance(len(rows.ids))
                    values = torch.from_numpy(rows.vectors)
                    logits = values if chosen is None else self._logits(values)
                    yield Predictions(list(rows.ids), *self.predict_logits(logits))
        source.warn_of_skipped()
        if not count:
            name, reason = next(iter(source.skipped.items()))
            raise DataError(f"none of {len(positions)} samples can be read, e.g. {name}: {reason}")

    def _coder(self) -> Encoder:
        """Return the encoder without the normalization of its output."""
        encoder = self.encoder
        shape = encoder.architecture | {"normalize": False}
        return Encoder(encoder.spec, encoder.preprocess, encoder.backbone, encoder.head, shape, encoder.plugins)

    @torch.inference_mode()
    def _logits(self, codes: Tensor) -> Tensor:
        """Return the (B, C) logits of (B, D) codes."""
        return self.linear(codes.to(self.linear.weight.device)).cpu()

    def predict_logits(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Convert (B, C) logits to (B,) labels and (B, C) probabilities."""
        return self.classes[logits.argmax(1).cpu().numpy()], logits.double().softmax(1).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write ``classifier.safetensors`` and ``classifier.json``; the encoder is saved separately."""
        with atomic_file(folder / FORMAT.tensors) as part:
            save_weights(self.linear, part)
        description = {
            "aekit": __version__,
            "digest": self.encoder.digest,
            "classes": self.classes.tolist(),
            "dtype": str(self.classes.dtype),
        }
        FORMAT.write(folder, description)


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """A fine-tuned encoder with its classifier, and its accuracy on the test samples.

    Attributes:
        classifier: predicts the classes of new samples; `classifier.encoder` is the fine-tuned encoder.
        accuracy: test accuracy with its 95% interval of ``finetuned``, ``random`` (the same network from random weights) and
            ``frozen`` (logistic regression on the frozen encoder).
        gains: ``random`` and ``frozen`` -> difference of the fine-tuned accuracy, paired by sample.
        results: everything, as in ``results.json``.
    """

    classifier: Classifier
    accuracy: Mapping[str, Metric]
    gains: Mapping[str, Metric]
    results: dict[str, Any]

    @classmethod
    def from_results(cls, classifier: Classifier, results: dict[str, Any]) -> FinetuneResult:
        """Build the result from the contents of ``results.json``."""
        accuracy, gains = ({n: Metric(**m) for n, m in results[part].items()} for part in ("accuracy", "gains"))
        return cls(classifier, accuracy, gains, results)

    @property
    def encoder(self) -> Encoder:
        return self.classifier.encoder

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """Predict the (N,) labels of the readable samples, as `Classifier.predict`."""
        return self.classifier.predict(data, **options)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return self.results

    def __repr__(self) -> str:
        return f"<FinetuneResult: test accuracy {self.accuracy['finetuned']}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        rows = [{"": TITLES[name], "test accuracy": str(metric)} for name, metric in self.accuracy.items()]
        return html_summary("Fine-tuning", self.text().splitlines()[len(rows) + 2 :], rows)

    def text(self) -> str:
        """Return the accuracies, their differences and the selected epochs, for a terminal."""
        lines = [format_columns([{"": TITLES[name], "test accuracy": str(m)} for name, m in self.accuracy.items()]), ""]
        counts, chosen = self.results["counts"], self.results["chosen"]
        for name, gain in self.gains.items():
            low, high = gain.low or 0.0, gain.high or 0.0
            outcome = "better" if low > 0 else "worse" if high < 0 else "not significantly different"
            lines.append(f"fine-tuned vs. {TITLES[name]}: {gain.value:+.3f} [{low:+.3f}, {high:+.3f}], {outcome}")
        parts = f"{counts['train']:,} training, {counts['validation']:,} validation, {counts['test']:,} test"
        lines += [f"labels: {parts}", f"split: {self.results['split']}"]
        lines += [f"chosen: {_choice_text('fine-tuned', chosen['finetuned'], counts['validation'])}"]
        if "random" in chosen:
            lines += [f"random weights: {_choice_text('', chosen['random'], counts['validation'])}"]
        return "\n".join(lines + self.results["notes"])


def _choice_text(trained: str, choice: Mapping[str, Any], count: int) -> str:
    """Describe the selected epoch; epoch 0 is the start of the training."""
    if choice["epoch"] == 0:
        return f"the frozen encoder with logistic regression, which was better on {count} validation samples"
    return f"{trained} epoch {choice['epoch']} of {choice['run']}, {choice['selected_on']}".strip()


@checked_arguments
def load_classifier(path: str | Path, *, device: str | torch.device = "cpu") -> Classifier:
    """Load the classifier that `aekit.finetune` wrote.

    Args:
        path: the folder.
        device: device to load it onto.

    Raises:
        DataError: there is no classifier at `path`.
        IdentityError: the classifier is damaged, or belongs to another encoder than the one in the folder.
        PluginError: a plugin that the encoder needs is missing.

    Examples:
        >>> encoder = aekit.fit("sklearn:iris", dim=2, epochs=1)
        >>> result = aekit.finetune(encoder, "sklearn:iris", epochs=1, baselines=False, out="tuned")
        >>> aekit.load_classifier("tuned").predict("sklearn:iris").shape
        (150,)
    """
    folder = local_path(path)
    if not (folder / "classifier.json").is_file() or not (folder / "encoder" / "encoder.json").is_file():
        if (folder / "checkpoint" / "settings.json").is_file():
            raise DataError(f"{path}: fine-tuning was interrupted; finish it with aekit finetune --resume")
        raise DataError(f"{path}: no classifier here; expected a folder written by aekit finetune")
    path = folder / "classifier.json"
    description = FORMAT.read(folder)
    encoder = load(folder, device=device)
    check_same_encoder(
        description["digest"], encoder.digest, what=f"{folder}/classifier.json", maker="the encoder in the folder is"
    )
    with explain_read_errors(path), temporary_seed(0):
        classes = np.array(description["classes"], description["dtype"])
        if classes.tolist() != description["classes"] or len(set(description["classes"])) < len(classes):
            raise IdentityError(f"{path}: is damaged: classes: not {len(classes)} different values of {classes.dtype}")
        linear = nn.Linear(encoder.dim, len(classes)).to(device)
    load_weights(linear, folder / FORMAT.tensors)
    return Classifier(encoder, linear, classes)
