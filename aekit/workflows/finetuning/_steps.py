"""Fine-tune an encoder step by step: train, compare with the baselines, save."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Collection
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit.data.locations import same_place
from aekit.data.samples import Samples
from aekit.data.shared_samples import load_shared_samples
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.freezing import freeze
from aekit.errors import DataError
from aekit.evaluation.metrics.intervals import bootstrap, bootstrap_difference
from aekit.evaluation.results import Split
from aekit.io.atomic import write_text
from aekit.io.device import choose_device
from aekit.io.manifests import read_manifest, write_manifest
from aekit.io.processes import Ranks, agreeing, check_alike, decide
from aekit.progress import Progress
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.defaults import TARGET_STEPS
from aekit.training.distributed import check_same_state, check_shares
from aekit.training.frozen_features import frozen_features
from aekit.training.low_rank_updates import refuse_low_rank_updates
from aekit.training.phases import Phase, run_phase, stoppable
from aekit.training.settings import Settings, uses_bf16
from aekit.training.sharding import refuse_sharding
from aekit.workflows.finetuning._classification import (
    BestEpoch,
    ClassificationObjective,
    FrozenRegression,
    accuracy_and_loss,
    class_indices,
)
from aekit.workflows.finetuning._inputs import FinetuneSettings, check_same_settings
from aekit.workflows.finetuning.classifier import TITLES, Classifier, FinetuneResult

SHARED_FROM = 32
"""Samples for each of several processes, from which on they share those that they do not train on."""


class Finetuning:
    """Fine-tuning, its baselines and their evaluation, step by step."""

    def __init__(
        self,
        encoder: Encoder,
        source: Source,
        labels: np.ndarray,
        split: Split,
        choices: dict[str, Any],
        settings: dict[str, Any],
        folder: Path | None,
        progress: Progress,
        ranks: Ranks | None = None,
    ) -> None:
        self.encoder, self.source, self.labels, self.split = encoder, source, labels, split
        self.choices, self.folder, self.progress, self.ranks = choices, folder, progress, ranks
        self.writes = folder is not None and (ranks is None or ranks.is_first)
        train = Settings(**{"lr": 1e-3, **settings})
        refuse_sharding(train)
        refuse_low_rank_updates(train)
        device = choose_device(train.device, "train.device")
        self.device = ranks.device(device) if ranks else device
        train_on, self.train_labels = self._read(split.train, trains=True)
        self.choose_on, self.choose_labels = self._read(split.validation)
        self.source.warn_of_skipped()
        self.classes, codes = np.unique(self.train_labels, return_inverse=True)
        if len(self.classes) < 2:
            raise DataError(f"the training labels are all {self.classes.tolist()}: expected at least two classes")
        assert train_on is not None
        count = len(codes)
        self.codes = torch.from_numpy(codes)
        size = settings.get("batch_size", min(128, max(16, count // 10)))
        epochs = settings.get("epochs", min(100, max(5, TARGET_STEPS // max(1, count // size))))
        precision = "bf16" if uses_bf16(train, encoder.spec, self.device) else "fp32"
        self.settings = train.model_copy(update={"batch_size": size, "epochs": epochs, "precision": precision})
        self.batches = Batches(train_on, size, self.settings.seed, self.codes)
        check_shares(self.batches, self.settings)
        self.logged: dict[str, list[dict[str, Any]]] = {}
        self.seconds: dict[str, float] = {}

    def go(self, resume: bool) -> FinetuneResult:
        check_alike(self.ranks, self._identity())
        if self.folder:
            path = self.folder / "checkpoint" / "settings.json"
            decide(self.ranks, lambda: self._write_settings(path, resume))
        layers = self.choices["layers"]
        part = "the whole network" if layers is None else f"the classifier and the top {layers} layers"
        self.progress.say(
            f"training {part} on {len(self.codes)} labels of {len(self.classes)} classes, "
            f"on {self.device.type} in {self.settings.precision}"
        )
        trained = {"finetuned": self._fit("finetuned", self.encoder, resume)}
        frozen = None
        if self.choices["baselines"]:
            trained["random"] = self._fit("random", self.encoder.with_random_weights(self.settings.seed), resume)
            started = time.perf_counter()
            frozen = self._regression(self.encoder)
            self.seconds["frozen"] = time.perf_counter() - started
        correct = self._test(trained, frozen)
        objective = trained["finetuned"].objective.requires_grad_(True)
        freeze(objective.encoder, 0)
        encoder = self._with_record(objective.encoder)
        chosen = {name: self._choice(best) for name, best in trained.items()}
        if frozen:
            chosen["frozen"] = {"C": frozen.strength, "selected_on": self._selected_on()}
        results = self._results(encoder, chosen, correct)
        result = FinetuneResult.from_results(Classifier(encoder, objective.classifier, self.classes), results)
        if self.folder and self.writes:
            with stoppable():  # a stop here would leave the checkpoint beside what is finished
                result.classifier.save(self.folder)
                write_manifest(self.folder / "results.json", results)
                encoder.save(self.folder / "encoder")
                shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
        return result

    def _test(self, trained: dict[str, BestEpoch], frozen: FrozenRegression | None) -> dict[str, np.ndarray]:
        """Return for each classifier whether it classifies each test sample correctly, as (N,) 0 or 1."""
        test_on, y_true = self._read(self.split.test)
        assert test_on is not None
        predictions = {name: best.objective.logits_of(test_on).argmax(1) for name, best in trained.items()}
        if frozen:
            predictions["frozen"] = frozen.predict(test_on)
        return {name: (self.classes[codes.numpy()] == y_true).astype(float) for name, codes in predictions.items()}

    def _results(
        self, encoder: Encoder, chosen: dict[str, dict[str, Any]], correct: dict[str, np.ndarray]
    ) -> dict[str, Any]:
        """Return the entries of ``results.json``: the accuracies by `_test`, and the gains over the baselines."""
        seed, finetuned = self.settings.seed, correct["finetuned"]
        baselines = {name: scores for name, scores in correct.items() if name != "finetuned"}
        return {
            "digest": encoder.digest,
            "base_encoder": self.encoder.digest,
            "accuracy": {name: asdict(bootstrap(scores, seed=seed)) for name, scores in correct.items()},
            "gains": {
                name: asdict(bootstrap_difference(finetuned, scores, seed=seed)) for name, scores in baselines.items()
            },
            "chosen": chosen,
            "counts": {
                "classes": len(self.classes),
                "train": len(self.codes),
                "validation": len(self.choose_labels),
                "test": len(finetuned),
                "skipped": len(self.source.skipped),
            },
            "split": self.split.origin,
            "notes": self._notes(),
            "settings": {**self.choices, "train": self.settings.model_dump()},
            "resumed_as": self._identity(),
            "seconds": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
        }

    def _read(self, rows: np.ndarray, *, trains: bool = False) -> tuple[Samples | None, np.ndarray]:
        """Read the samples at (N,) rows; return those that are readable, and their labels.

        Several processes share the training samples, and others where each would get many.
        """
        if not len(rows):
            return None, self.labels[rows]
        shares = self.ranks if self.ranks and (trains or len(rows) >= SHARED_FROM * self.ranks.size) else None
        samples = load_shared_samples(self.source, rows, self.device, shares, streaming=False, progress=self.progress)
        return samples, self.labels[samples.rows]

    def _write_settings(self, path: Path, resume: bool) -> None:
        """Write the settings; on resuming, check that they are unchanged."""
        if resume and path.exists():
            self.check_unchanged(path, read_manifest(path, FinetuneSettings))
            return
        path.parent.mkdir(exist_ok=True)
        write_manifest(path, self._identity())

    def check_unchanged(self, path: Path, before: dict[str, Any], free: Collection[str] | None = None) -> None:
        """Check that the settings, the encoder and the labels are those of earlier fine-tuning, as `check_same_settings`."""
        check_same_settings(path, before, self._identity(), free)

    def _identity(self) -> dict[str, Any]:
        """Return the settings that a resumed call must share with the first."""
        digest = hashlib.blake2b(self.codes.numpy().tobytes() + repr(self.choose_labels.tolist()).encode()).hexdigest()
        return {
            **self.choices,
            "encoder": self.encoder.digest,
            "labels": f"{len(self.codes)} and {len(self.choose_labels)} of hash {digest[:12]}",
            "train": self.settings.model_dump(),
        }

    def _fit(self, name: str, encoder: Encoder, resume: bool) -> BestEpoch:
        """Train a copy of an encoder until the epochs or the patience run out, from logistic regression unless it is random."""
        settings, patience = self.settings, self.choices["patience"]
        objective = ClassificationObjective(
            deepcopy(encoder), len(self.classes), layers=self.choices["layers"], seed=settings.seed
        )
        objective.to(self.device)
        checkpoint = self.folder / "checkpoint" / name if self.folder else None
        resumes = bool(checkpoint) and decide(
            self.ranks, lambda: bool(resume and checkpoint and (checkpoint / "state.safetensors").exists())
        )
        began, choose_on = time.monotonic(), self.choose_on
        from_regression = name == "finetuned" and not resumes
        if from_regression:
            objective.start_from(self._regression(encoder, normalized=False), self.ranks)
        best = BestEpoch(objective, settings.epochs)
        objective.add_module("best", best)
        phase = Phase(TITLES[name], objective, self.batches, settings)
        state = State.start(objective, settings)
        if resumes and checkpoint:
            with agreeing(self.ranks):
                state.restore(checkpoint)
            self.progress.say(f"{phase.title}: resuming after step {state.step}")
        if choose_on is not None:
            choose_on = frozen_features(objective, choose_on, self.progress) or choose_on
        if from_regression:
            on_training = self._measure(objective, self.batches.samples, self.codes)
            best.add_start(on_training, self._score(objective, choose_on))
            objective.shorten_classifier()
        state.seconds += time.monotonic() - began
        per_epoch = phase.steps // settings.epochs
        kept = checkpoint if self.writes else None
        for record in run_phase(phase, state, kept, self.progress, enough=lambda: best.should_stop(patience)):
            best.sums += best.sums.new_tensor([record["loss"], record["accuracy"]])
            if record["step"] % per_epoch == 0:
                best.add(objective, per_epoch, self._score(objective, choose_on))
                self._log(name, best)
        check_same_state(objective, self.ranks)
        self._log(name, best)
        self.seconds[name] = state.seconds
        return best

    def _score(self, objective: ClassificationObjective, choose_on: Samples | None) -> tuple[float, float]:
        """Compute accuracy and cross-entropy on the validation samples, or on their features; NaN without samples."""
        if choose_on is None:
            return math.nan, math.nan
        return self._measure(objective, choose_on, class_indices(self.classes, self.choose_labels))

    def _measure(self, objective: ClassificationObjective, samples: Samples, codes: Tensor) -> tuple[float, float]:
        """Compute `accuracy_and_loss` on samples of classes (N,); several processes get the numbers of the first."""
        logits = objective.logits_of(samples)
        accuracy, loss = decide(self.ranks, lambda: accuracy_and_loss(logits, codes))
        return accuracy, loss

    def _regression(self, encoder: Encoder, *, normalized: bool = True) -> FrozenRegression:
        """Fit logistic regression on a copy of an encoder."""
        labeled = (self.batches.samples, self.train_labels, self.choose_on, self.choose_labels)
        return FrozenRegression(deepcopy(encoder).to(self.device), *labeled, normalized=normalized)

    def _choice(self, best: BestEpoch) -> dict[str, Any]:
        """Return the selected epoch, counted from 1, with its metrics; epoch 0 is logistic regression on the frozen encoder."""
        chosen = {"epoch": best.best + 1, "run": best.epochs, "selected_on": self._selected_on()}
        return chosen | best.metrics(best.best)

    def _selected_on(self) -> str:
        if not len(self.choose_labels):
            return "the last, as there are too few labels for validation"
        return f"selected on {len(self.choose_labels)} validation samples"

    def _log(self, name: str, best: BestEpoch) -> None:
        """Write ``log.jsonl``, a line for each epoch of each training. It is rewritten, so that resuming repeats no line."""
        self.logged[name] = [{"training": name, "epoch": n + 1, **best.metrics(n)} for n in best.logged]
        if self.folder and self.writes:
            lines = [json.dumps(line) for lines in self.logged.values() for line in lines]
            write_text(self.folder / "log.jsonl", "".join(f"{line}\n" for line in lines))

    def _notes(self) -> list[str]:
        """Return notes on earlier training of the encoder on the test samples."""
        before, notes = self.encoder.record, []
        data = (self.source.origin or {}).get("data")
        pretrained_on = before.get("data", {}).get("data")
        if self.source.splits is None and same_place(data, pretrained_on, None, self.encoder.folder):
            notes.append("the encoder was pretrained on the test samples too, without labels")
        if tuned := before.get("finetuned"):
            notes.append(f"the encoder was fine-tuned with labels of {tuned['data']} before")
        return notes

    def _with_record(self, encoder: Encoder) -> Encoder:
        """Fill the record of the fine-tuned encoder with its origin; an unchanged encoder keeps its record."""
        if encoder.digest == self.encoder.digest:
            encoder.record = self.encoder.record
            return encoder.to(self.encoder.device).eval()
        names = ("weights", "data", "trained", "objective")
        inherited = {key: value for key, value in self.encoder.record.items() if key in names}
        origin = (self.source.origin or {"data": "<data in memory>"})["data"]
        labels = len(self.codes) + len(self.choose_labels)
        tuned = {"base_encoder": self.encoder.digest, "data": origin, "labels": labels, "split": self.split.origin}
        encoder.record = inherited | {"finetuned": tuned}
        return encoder.to(self.encoder.device).eval()
