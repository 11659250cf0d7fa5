"""Fine-tuning in several processes is that of a single one; threads stand for most of them here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchrun import TORCHRUN, Gate, finished, rank, started

import aekit
from aekit.data.shared_samples import SharedSamples
from aekit.data.source import ArraySource
from aekit.errors import RecipeError
from aekit.evaluation.splits import make_split
from aekit.io.processes import Ranks
from aekit.progress import SILENT
from aekit.testing.ranks import run_ranks
from aekit.workflows.finetuning import _steps
from aekit.workflows.finetuning._steps import Finetuning
from aekit.workflows.finetuning.classifier import Classifier, FinetuneResult

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "lr": 0.01,
    "batch_size": 15,  # an odd number, so that the shares differ in size
    "precision": "fp32",
    "optimizer": "sgd",
    "checkpoint_seconds": 0.0,
}
COUNT = 210


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Create noisy images with a bright left, right or upper half; not all can be classified."""
    generator, labels = np.random.default_rng(0), np.arange(COUNT) % 3
    array = generator.integers(0, 150, (COUNT, 1, 8, 8))
    array[labels == 0, :, :, :4] += 30
    array[labels == 1, :, :, 4:] += 30
    array[labels == 2, :, :4, :] += 30
    return array.astype(np.uint8), np.array(["left", "right", "up"])[labels]


@pytest.fixture(scope="module")
def data(images: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images in a file, with their labels."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=images[0], y=images[1])
    return path


@pytest.fixture(scope="module")
def encoder(images: tuple[np.ndarray, np.ndarray]) -> aekit.Encoder:
    settings = {"train.precision": "fp32", "encoder.conv.channels": [4, 8], "encoder.conv.norm": "batch"}
    return aekit.fit(images[0], dim=6, epochs=2, overrides=settings)


def assert_same_weights(shared: Classifier, alone: Classifier) -> None:
    for module, expected in ((shared.encoder, alone.encoder), (shared.linear, alone.linear)):
        for name, tensor in expected.state_dict().items():
            assert torch.allclose(module.state_dict()[name], tensor, rtol=1e-5, atol=1e-5), name


@pytest.mark.parametrize("layers", [None, 1, 0])
def test_two_processes_fine_tune_as_one_does(
    images: tuple[np.ndarray, np.ndarray],
    encoder: aekit.Encoder,
    layers: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array, labels = images
    choices = {"layers": layers, "per_class": None, "patience": 0, "baselines": False}
    read: list[set[int]] = [set(), set(), set()]

    def tune(place: int, ranks: Ranks | None) -> FinetuneResult:
        class Counting(ArraySource):
            def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                read[place] |= set(indices.tolist())
                return super().read(indices)

        folder = tmp_path / ("alone" if ranks is None else "shared")
        folder.mkdir(exist_ok=True)
        work = Finetuning(
            encoder, Counting(array), labels, make_split(labels), choices, SETTINGS, folder, SILENT, ranks
        )
        assert isinstance(work.batches.samples, SharedSamples) == (ranks is not None)
        assert isinstance(work.choose_on, SharedSamples) == (ranks is not None and _steps.SHARED_FROM == 1)
        return work.go(resume=False)

    alone = tune(2, None)
    for shared_from in (1, 1000):
        monkeypatch.setattr(_steps, "SHARED_FROM", shared_from)
        shutil.rmtree(tmp_path / "shared", ignore_errors=True)
        read[:2] = set(), set()
        for result in run_ranks(lambda ranks: tune(ranks.rank, ranks)):
            assert_same_weights(result.classifier, alone.classifier)
            assert result.accuracy == alone.accuracy
            chosen, expected = (dict(one.results["chosen"]["finetuned"]) for one in (result, alone))
            assert chosen.pop("selected_on") == expected.pop("selected_on")
            assert chosen == pytest.approx(expected, rel=1e-5)
        assert len(read[0] & read[1] & set(make_split(labels).train.tolist())) == 0
        assert (read[0] | read[1]) == read[2] and (not read[0] & read[1]) == (shared_from == 1)
        logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("alone", "shared")]
        for one, other in zip(*(map(json.loads, log) for log in logs), strict=True):
            assert one.pop("training") == other.pop("training")
            assert one == pytest.approx(other, rel=1e-5)
    saved = aekit.load_classifier(tmp_path / "shared")
    assert (saved.predict(array) == alone.classifier.predict(array)).all()


def test_a_process_whose_whole_share_is_unreadable_fine_tunes_with_the_others(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path
) -> None:
    array, labels = images
    split = make_split(labels)
    choices = {"layers": 1, "per_class": None, "patience": 0, "baselines": False}

    class Damaged(ArraySource):
        def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            samples, readable = super().read(indices)
            return samples, readable & ~np.isin(indices, damaged)

    def tune(ranks: Ranks | None) -> FinetuneResult:
        folder = tmp_path / ("alone" if ranks is None else "shared")
        folder.mkdir(exist_ok=True)
        settings = SETTINGS | {"epochs": 1}
        return Finetuning(encoder, Damaged(array), labels, split, choices, settings, folder, SILENT, ranks).go(
            resume=False
        )

    damaged = Finetuning(
        encoder, ArraySource(array), labels, split, choices, SETTINGS, tmp_path, SILENT, None
    ).batches.samples.rows[1::2]
    alone = tune(None)
    for shared in run_ranks(tune):
        assert_same_weights(shared.classifier, alone.classifier)
        assert shared.accuracy == alone.accuracy


@pytest.fixture(scope="module")
def together(encoder: aekit.Encoder, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuning in two processes that nothing has disturbed, into ``out``, of an encoder in ``encoder``."""
    folder = tmp_path_factory.mktemp("together")
    encoder.save(folder / "encoder")
    aekit.finetune(folder / "encoder", data, out=folder / "out", processes=2, **SETTINGS)
    return folder


def test_processes_of_this_machine_fine_tune_as_one_does(encoder: aekit.Encoder, data: Path, together: Path) -> None:
    alone = aekit.finetune(encoder, data, **SETTINGS)
    shared = aekit.load_classifier(together / "out")
    assert_same_weights(shared, alone.classifier)
    results = json.loads((together / "out" / "results.json").read_text())
    for name in ("accuracy", "gains", "counts", "split", "notes", "base_encoder"):
        assert results[name] == alone.results[name], name
    assert sorted(path.name for path in (together / "out").iterdir()) == [
        "classifier.json",
        "classifier.safetensors",
        "encoder",
        "log.jsonl",
        "results.json",
    ]


def test_what_other_processes_cannot_open_is_refused(
    encoder: aekit.Encoder, images: tuple[np.ndarray, np.ndarray], data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    refusals = {
        "needs a run folder": lambda: aekit.finetune(encoder, data, processes=2),
        "needs data that every process can open": lambda: aekit.finetune(encoder, images[0], out=out, processes=2),
        "needs labels of the data": lambda: aekit.finetune(encoder, data, labels=images[1], out=out, processes=2),
        "expected 1 or more": lambda: aekit.finetune(encoder, data, out=out, processes=0),
    }
    for problem, call in refusals.items():
        with pytest.raises(RecipeError, match=problem):
            call()
    assert not out.exists()


def command(data: Path, together: Path, run: Path) -> list[object]:
    words = [word for name, value in SETTINGS.items() for word in ("--set", f"train.{name}={value}")]
    return ["-m", "aekit", "finetune", together / "encoder", data, "-o", run, *words]


def test_a_killed_process_comes_back(data: Path, together: Path, tmp_path: Path) -> None:
    run, gate = tmp_path / "run", Gate(tmp_path / "gate", "random")
    process = started(*TORCHRUN, "--max-restarts", 1, *command(data, together, run), **gate.variables)
    with gate.closed(process):
        os.kill(rank(1, run), signal.SIGKILL)
    code, said = finished(process)
    assert code == 0, said
    assert said.count("resuming after step") == 2, said  # fine-tuned, which had ended, and from random weights
    assert aekit.load(run).digest == aekit.load(together / "out").digest
    assert (run / "log.jsonl").read_text() == (together / "out" / "log.jsonl").read_text()
    assert not (run / "checkpoint").exists()


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_only_the_first_process_speaks(data: Path, together: Path, tmp_path: Path) -> None:
    run, gate = tmp_path / "run", Gate(tmp_path / "gate", "finetuned")
    tune = [sys.executable, *command(data, together, run), "--processes", 2]
    process = started(*tune, **gate.variables)
    with gate.closed(process):
        os.kill(rank(1, run), signal.SIGINT)
    code, said = finished(process)
    assert code == 130 and "Traceback" not in said and said.count("stopped at step") == 1, said
    code, said = finished(started(*tune, "--resume"))
    assert code == 0 and said.count("resuming after step") == 1, said
    assert aekit.load(run).digest == aekit.load(together / "out").digest
    code, said = finished(started(*tune, "--resume"))
    assert code == 0 and said.count("is already finished") == 1, said
