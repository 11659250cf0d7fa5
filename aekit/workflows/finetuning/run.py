"""Supervised fine-tuning: a trained encoder, few labels, and the answer whether its training without labels was of use.

The same network from random weights is trained in the same way, and the frozen encoder gets a logistic regression; all three
see the same labels, choose on the same validation samples, and are judged on the same test samples.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aekit.data.opening import open_data
from aekit.data.samples import Samples, load_samples
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.freezing import freeze
from aekit.encoder.loading import load
from aekit.errors import DataError, OutputError, RecipeError, TrainingError
from aekit.evaluation.metrics.intervals import bootstrap, bootstrap_difference
from aekit.evaluation.results import Split
from aekit.evaluation.splits import few_label_split, make_split, to_class_labels
from aekit.io.atomic import explain_write_errors, folder_lock, read_json, write_json, write_text
from aekit.io.device import choose_device
from aekit.progress import SILENT, Progress
from aekit.registry.options import validation_errors
from aekit.registry.overrides import describe_changes
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.defaults import TARGET_STEPS
from aekit.training.frozen_features import frozen_features
from aekit.training.phases import Phase, run_phase
from aekit.training.settings import Settings, uses_bf16
from aekit.workflows.finetuning.classification import (
    BestEpoch,
    ClassificationObjective,
    FrozenBaseline,
    accuracy_and_loss,
    class_indices,
)
from aekit.workflows.finetuning.classifier import TITLES, Classifier, FinetuneResult, load_classifier


def finetune(
    encoder: Encoder | str | Path,
    data: Any,
    *,
    labels: Any = None,
    layers: int | None = None,
    per_class: int | None = None,
    patience: int = 20,
    baseline: bool = True,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
    **settings: Any,
) -> FinetuneResult:
    """Trains a linear classifier on the code of an encoder, and the encoder or its top layers with it.

    The epoch is chosen by the accuracy on the validation samples, and of equals by their cross-entropy. The test samples
    are read once, at the end.

    Args:
        encoder: an encoder, or the folder of one or of a run; it is copied, not changed.
        data: what `aekit.open_data` takes. Its own splits are used where it has them; what is missing is drawn.
        labels: (N,) classes of the samples; default: the data's own. None, NaN and "" stand for no label.
        layers: how many are trained, counted from the top, of the backbone's stages and the head; 0: the classifier alone;
            None: the whole network.
        per_class: labels of each class to make do with, those for validation included; None: all of the training part.
        patience: epochs without a better one after which training stops; 0: never.
        control: whether to train the same network from random weights, and judge the frozen encoder.
        options: of the source, by source name.
        out: folder to write, which makes it resumable; without it nothing is written.
        resume: go on with what was interrupted in `out`.
        progress: receives what was chosen and why, and bars.
        settings: of the training, as in a recipe's ``[train]``: ``epochs``, ``lr``, ``layer_decay``, ``batch_size``,
            ``weight_decay``, ``seed`` ... Unless given, lr is 1e-3, batches are of a tenth of the samples within 16 to 128, and
            epochs as many as make about 3000 steps, at most 100.

    Raises:
        DataError: no labels, a single class, fewer labels than asked for, or data that the encoder does not take.
        RecipeError: settings that there are not, or more layers than there are.
        OutputError: `out` holds something.
        TrainingError: the loss stopped being finite, or `out` holds the checkpoint of other settings.
        Interrupted: Ctrl-C; the state is saved if there is a folder.
    """
    folder = None if out is None else Path(out)
    if folder and _is_finished(folder, resume):
        progress.say(f"{folder} is finished already; nothing to resume")
        return FinetuneResult.from_results(load_classifier(folder), read_json(folder / "results.json"))
    encoder = encoder if isinstance(encoder, Encoder) else load(encoder)
    there = len(encoder.layers)
    expected = {
        f"layers = {layers}: expected 0 to {there}, as the network has {there} layers": 0 <= (layers or 0) <= there,
        f"per_class = {per_class}: expected 1 or more": per_class is None or per_class >= 1,
        f"patience = {patience}: expected 0 or more": patience >= 0,
        "train.epochs = 0: expected 1 or more": settings.get("epochs") != 0,
    }
    problems = [problem for problem, holds in expected.items() if not holds]
    if problems := problems + validation_errors(Settings, settings, "train"):
        raise RecipeError(problems)
    source = open_data(data, dict(options or {}), like=encoder.spec)
    seed = settings.get("seed", 0)
    y_true, split = _labels_and_split(source, labels, per_class, seed)
    given = {"layers": layers, "per_class": per_class, "patience": patience}
    work = _Work(encoder, source, y_true, split, given, settings, folder, progress)
    with folder_lock(folder) if folder else nullcontext(), explain_write_errors(folder) if folder else nullcontext():
        return work.go(baseline, resume)


def _is_finished(folder: Path, resume: bool) -> bool:
    """Whether there is nothing left to do.

    Raises:
        OutputError: the folder holds something else than what can be gone on with.
    """
    unfinished = (folder / "checkpoint" / "settings.json").is_file()
    finished = (folder / "encoder" / "encoder.json").is_file() and (folder / "classifier.json").is_file()
    if resume and not (finished or unfinished):
        raise OutputError(f"{folder}: nothing to resume there")
    if not resume and folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= {".lock"}):
        what = "interrupted fine-tuning; go on with --resume, or" if unfinished else "something already;"
        raise OutputError(f"{folder}: holds {what} choose another folder with -o")
    return resume and finished


def _labels_and_split(source: Source, labels: Any, per_class: int | None, seed: int) -> tuple[np.ndarray, Split]:
    """(N,) classes and which of the samples are for what."""
    given = source.labels if labels is None else labels
    y_true, why_not = to_class_labels(given, len(source), what="samples")
    if y_true is None:
        raise DataError(f"no labels to fine-tune with: {why_not or 'the data has none'}; expected classes")
    split = make_split(y_true, source.splits, seed=seed)
    if per_class is not None:
        split = few_label_split(split, y_true, per_class, seed=seed)
    return y_true, split


class _Work:
    """Fine-tuning, its controls and their judgment, step by step."""

    def __init__(
        self,
        encoder: Encoder,
        source: Source,
        labels: np.ndarray,
        split: Split,
        given: dict[str, Any],
        settings: dict[str, Any],
        folder: Path | None,
        progress: Progress,
    ) -> None:
        self.encoder, self.source, self.labels, self.split = encoder, source, labels, split
        self.given, self.folder, self.progress = given, folder, progress
        asked = Settings(**{"lr": 1e-3, **settings})
        self.device = choose_device(asked.device, "train.device")
        self.train_on, self.train_labels = self._read(split.train)
        self.choose_on, self.choose_labels = self._read(split.validation)
        self.classes, codes = np.unique(self.train_labels, return_inverse=True)
        if len(self.classes) < 2:
            raise DataError(f"the training labels are all {self.classes.tolist()}: expected two classes or more")
        count = len(codes)
        self.codes = torch.from_numpy(codes)
        size = settings.get("batch_size", min(128, max(16, count // 10)))
        epochs = settings.get("epochs", min(100, max(5, TARGET_STEPS // max(1, count // size))))
        precision = "bf16" if uses_bf16(asked, encoder.spec, self.device) else "fp32"
        self.settings = asked.model_copy(update={"batch_size": size, "epochs": epochs, "precision": precision})
        self.logged: dict[str, list[dict[str, Any]]] = {}
        self.seconds: dict[str, float] = {}

    def go(self, baseline: bool, resume: bool) -> FinetuneResult:
        if self.folder:
            self._take_up(self.folder / "checkpoint" / "settings.json", resume)
        what = {None: "the whole network", 0: "the classifier alone"}.get(
            self.given["layers"], f"the classifier and {self.given['layers']} layers below it"
        )
        self.progress.say(
            f"training {what} on {len(self.codes)} labels of {len(self.classes)} classes, "
            f"on {self.device.type} in {self.settings.precision}"
        )
        trained = {"finetuned": self._fit("finetuned", deepcopy(self.encoder), resume)}
        if baseline:
            trained["random"] = self._fit(
                "random", deepcopy(self.encoder.with_random_weights(self.settings.seed)), resume
            )
        chosen = {name: self._choice(best) for name, best in trained.items()}
        frozen = self._fit_frozen() if baseline else None

        test_on, y_true = self._read(self.split.test)
        assert test_on is not None
        answers = {name: best.objective.logits_of(test_on).argmax(1) for name, best in trained.items()}
        if frozen:
            chosen["frozen"] = {"C": frozen.strength, "by": self._by()}
            answers["frozen"] = frozen.predict(test_on)
        right = {name: (self.classes[answer.numpy()] == y_true).astype(float) for name, answer in answers.items()}
        objective = trained["finetuned"].objective.requires_grad_(True)
        freeze(objective.encoder, 0)
        encoder = self._described(objective.encoder)
        seed = self.settings.seed
        results = {
            "digest": encoder.digest,
            "from": self.encoder.digest,
            "accuracy": {name: asdict(bootstrap(scores, seed=seed)) for name, scores in right.items()},
            "gains": {
                n: asdict(bootstrap_difference(right["finetuned"], right[n], seed=seed)) for n in list(right)[1:]
            },
            "chosen": chosen,
            "counts": {
                "classes": len(self.classes),
                "train": len(self.codes),
                "validation": len(self.choose_labels),
                "test": len(y_true),
                "skipped": len(self.source.skipped),
            },
            "split": self.split.origin,
            "notes": self._notes(),
            "settings": {**self.given, "train": self.settings.model_dump()},
            "seconds": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
        }
        found = FinetuneResult.from_results(Classifier(encoder, objective.classifier, self.classes), results)
        if self.folder:
            found.classifier.save(self.folder)
            write_json(self.folder / "results.json", results)
            encoder.save(self.folder / "encoder")
            shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
        return found

    def _read(self, rows: np.ndarray) -> tuple[Samples | None, np.ndarray]:
        """The usable samples of (N,) rows and their labels."""
        samples = load_samples(self.source, rows, self.device, progress=self.progress) if len(rows) else None
        return samples, self.labels[rows if samples is None else samples.rows]

    def _take_up(self, path: Path, resume: bool) -> None:
        """Writes what is being done; on resuming, checks that it is the same."""
        seen = hashlib.blake2b(self.codes.numpy().tobytes() + repr(self.choose_labels.tolist()).encode()).hexdigest()
        record = {
            **self.given,
            "encoder": self.encoder.digest,
            "labels": f"{len(self.codes)} and {len(self.choose_labels)} of hash {seen[:12]}",
            "train": self.settings.model_dump(),
        }
        if resume:
            if changed := describe_changes(read_json(path), record):
                raise TrainingError(f"{path}: cannot resume with other settings: {'; '.join(changed)}")
            return
        path.parent.mkdir()
        write_json(path, record)

    def _fit(self, name: str, encoder: Encoder, resume: bool) -> BestEpoch:
        """Trains until the epochs or the patience run out."""
        settings, patience = self.settings, self.given["patience"]
        encoder = encoder.to(self.device)
        objective = ClassificationObjective(encoder, len(self.classes), layers=self.given["layers"], seed=settings.seed)
        objective.to(self.device)
        best = BestEpoch(objective, settings.epochs)
        objective.add_module("best", best)
        assert self.train_on is not None
        batches = Batches(self.train_on, settings.batch_size, settings.seed, self.codes)
        phase = Phase(TITLES[name], objective, batches, settings)
        state = State.start(objective, settings)
        checkpoint = self.folder / "checkpoint" / name if self.folder else None
        if resume and checkpoint and (checkpoint / "state.safetensors").exists():
            state.restore(checkpoint)
            self.progress.say(f"{phase.title}: resuming after step {state.step}")
        began, choose_on = time.monotonic(), self.choose_on
        if choose_on is not None:
            choose_on = frozen_features(objective, choose_on, self.progress) or choose_on
        state.seconds += time.monotonic() - began
        per_epoch = phase.steps // settings.epochs
        for record in run_phase(phase, state, checkpoint, self.progress, enough=lambda: best.should_stop(patience)):
            best.sums += best.sums.new_tensor([record["loss"], record["accuracy"]])
            if record["step"] % per_epoch == 0:
                best.add(objective, per_epoch, self._score(objective, choose_on))
                self._log(name, best)
        self._log(name, best)
        self.seconds[name] = state.seconds
        return best

    def _score(self, objective: ClassificationObjective, choose_on: Samples | None) -> tuple[float, float]:
        """Accuracy and cross-entropy on the validation samples, or on their features; NaN where there are none."""
        if choose_on is None:
            return math.nan, math.nan
        return accuracy_and_loss(objective.logits_of(choose_on), class_indices(self.classes, self.choose_labels))

    def _fit_frozen(self) -> FrozenBaseline:
        started = time.perf_counter()
        assert self.train_on is not None
        encoder = deepcopy(self.encoder).to(self.device)
        frozen = FrozenBaseline(encoder, self.train_on, self.train_labels, self.choose_on, self.choose_labels)
        self.seconds["frozen"] = time.perf_counter() - started
        return frozen

    def _choice(self, best: BestEpoch) -> dict[str, Any]:
        """Which epoch was chosen, from 1, and what was seen of it."""
        return {"epoch": best.best + 1, "run": best.epochs, "by": self._by(), **best.metrics(best.best)}

    def _by(self) -> str:
        count = len(self.choose_labels)
        return f"chosen by the {count} validation samples" if count else "not chosen, as there are too few labels"

    def _log(self, name: str, best: BestEpoch) -> None:
        """``log.jsonl``: a line for each epoch of each training. Written anew, so that a kill leaves no line twice."""
        self.logged[name] = [{"training": name, "epoch": n + 1, **best.metrics(n)} for n in range(best.epochs)]
        if self.folder:
            lines = [json.dumps(line) for lines in self.logged.values() for line in lines]
            write_text(self.folder / "log.jsonl", "".join(f"{line}\n" for line in lines))

    def _notes(self) -> list[str]:
        """What the encoder had seen before of the samples that it is judged on."""
        before, notes = self.encoder.record, []
        data = (self.source.origin or {}).get("data")
        if data and self.source.splits is None and data == before.get("data", {}).get("data"):
            notes.append("the encoder had been trained, without their labels, on the test samples too")
        if tuned := before.get("finetuned"):
            notes.append(f"the encoder had been fine-tuned with labels of {tuned['data']} before")
        return notes

    def _described(self, encoder: Encoder) -> Encoder:
        """The fine-tuned encoder, with what is known of where it came from."""
        kept = {
            name: self.encoder.record[name]
            for name in ("weights", "data", "trained", "objective")
            if name in self.encoder.record
        }
        origin = (self.source.origin or {"data": "<data in memory>"})["data"]
        labels = len(self.codes) + len(self.choose_labels)
        tuned = {"from": self.encoder.digest, "data": origin, "labels": labels, "split": self.split.origin}
        encoder.record = kept | {"finetuned": tuned}
        return encoder.to(self.encoder.device).eval()
