"""Test that a run saves its encoder before the evaluation and the report, and that these can be repeated."""

from __future__ import annotations

import errno
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command, Said

import aekit
from aekit.errors import DataError, OutputError

SETTINGS: dict[str, Any] = {
    "train.precision": "fp32",
    "train.batch_size": 32,
    "encoder.conv.channels": [4, 8],
    "evaluate.evaluators": ["probe", "knn"],
}


def images(folder: Path) -> Path:
    """Write digits with labels and splits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    parts = {"train": slice(0, 150), "test": slice(150, 220)}
    arrays = {f"X_{name}": (digits.images[part] * 15).astype(np.uint8) for name, part in parts.items()}
    arrays |= {f"y_{name}": digits.target[part] for name, part in parts.items()}
    np.savez(folder / "digits.npz", **arrays)
    return folder / "digits.npz"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("data"))


def fit(data: Any, out: Path | None, said: Said | None = None, **options: Any) -> aekit.Encoder:
    settings = {"variants": ["denoising"], "dim": 4, "epochs": 2, "overrides": SETTINGS, "out": out}
    return aekit.fit(data, **(settings | ({"progress": said} if said else {}) | options))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(data, folder)
    return folder


def page_of(run: Path) -> str:
    """Return the page without the training time."""
    text = (run / "report.html").read_text("utf-8")
    text = re.sub(r"\b\d+\.\d s\b", "T s", text)
    return re.sub(r"[\d,]+ samples/s", "N samples/s", text)


def card_of(run: Path) -> str:
    return (run / "encoder" / "README.md").read_text("utf-8")


def evaluation_of(run: Path) -> Any:
    return json.loads((run / "results.json").read_text("utf-8")).get("evaluation")


def raising(error: BaseException) -> Any:
    def fails(*given: Any, **options: Any) -> Any:
        raise error

    return fails


def full_disk(patch: pytest.MonkeyPatch, name: str) -> None:
    """Make writing files whose names start with `name` fail."""
    write = Path.write_text

    def limited(path: Path, *given: Any, **options: Any) -> int:
        if path.name.startswith(name):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, *given, **options)

    patch.setattr(Path, "write_text", limited)


def break_report(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("aekit.workflows.saved_run.run_page", raising(ValueError("no such <tab>")))


def break_evaluation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("aekit.evaluation.run.evaluate", raising(ZeroDivisionError("by zero")))


FAULTS = {
    "report": (break_report, "report failed: ValueError: no such <tab>"),
    "evaluation": (break_evaluation, "evaluation failed: ZeroDivisionError: by zero"),
    "disk": (lambda patch: full_disk(patch, "report.html"), "report failed: .*report.html: cannot be written: the disk is full"),
    "results": (lambda patch: patch.setattr(
        "aekit.workflows.saved_run.write_json", raising(OSError(errno.ENOSPC, "No space left on device"))
    ), "evaluation failed: OSError: .*No space left on device"),
}  # fmt: skip


@pytest.mark.parametrize("again", ["resume", "report"])
@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_failure_after_training_keeps_the_encoder(
    fault: str, again: str, data: Path, whole: Path, tmp_path: Path
) -> None:
    run, (break_it, message) = tmp_path / "run", FAULTS[fault]
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning) as warned:
        break_it(patch)
        encoder = fit(data, run)
    line = str(warned[0].message)
    assert re.search(message, line) and f"aekit report {run}" in line and "\n" not in line
    before = (run / "encoder" / "encoder.json").read_bytes()
    assert aekit.load(run).digest == encoder.digest == aekit.load(whole).digest
    assert not (run / "checkpoint").exists()
    with pytest.raises(OutputError, match="--resume"):
        fit(data, run)

    if again == "resume":
        assert fit(data, run, resume=True).digest == encoder.digest
    else:
        assert aekit.make_report(run) == run / "report.html"
    assert evaluation_of(run) == evaluation_of(whole)
    assert page_of(run) == page_of(whole)
    assert (run / "encoder" / "encoder.json").read_bytes() == before
    if fault != "results":
        assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}
    said = Said()
    fit(data, run, said, resume=True)
    assert "already finished" in said


def test_a_run_that_is_killed_before_its_page_still_gets_its_card(data: Path, whole: Path, tmp_path: Path) -> None:
    """The page, whose presence means that nothing is missing, is written after everything else."""
    shutil.copytree(whole, run := tmp_path / "run")
    card = run / "encoder" / "README.md"
    card.with_name("README.md.7.part").touch()
    for path in (card, run / "report.html"):
        path.unlink()
    write = Path.write_text

    def killed_at_the_page(path: Path, *given: Any, **options: Any) -> int:
        if path.name.startswith("report.html"):
            raise KeyboardInterrupt
        return write(path, *given, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "write_text", killed_at_the_page)
        fit(data, run, resume=True)
    assert card_of(run) == card_of(whole) and not list(run.rglob("*.part"))


def test_a_rebuilt_page_is_identical(data: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, run := tmp_path / "run")
    (run / "report.html").unlink()
    said = Said()
    aekit.make_report(run, progress=said)
    assert (run / "report.html").read_bytes() == (whole / "report.html").read_bytes()
    assert card_of(run) == card_of(whole)
    assert "probe" not in " ".join(said.lines), "the evaluation was there"
    (run / "predictions.npz").unlink()
    aekit.make_report(run)
    text = (run / "report.html").read_text("utf-8")
    assert "Compared with baselines" in text and "Most confident mistakes" not in text
    (run / "predictions.npz").write_bytes(b"damaged")
    with pytest.raises(aekit.AekitError, match=r"predictions\.npz: is damaged"):
        aekit.make_report(run)


@pytest.mark.parametrize(
    "objective",
    [
        {"variants": None, "pretexts": ["rotation"]},
        {"variants": ["denoising"], "pretexts": ["masked", "rotation"]},
        {"variants": None, "pretexts": ["inpainting"]},
        {"variants": ["vae"], "overrides": SETTINGS | {"train.epochs": 1, "evaluate.evaluators": []}},
    ],
    ids=["rotation", "sum", "inpainting", "vae"],
)
def test_a_rebuilt_page_is_identical_for_any_objective(objective: Any, data: Path, tmp_path: Path) -> None:
    fit(data, run := tmp_path / "run", **objective)
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    aekit.make_report(run)
    assert (run / "report.html").read_bytes() == before
    assert b"This could not be shown" not in before


def test_the_record_of_the_encoder_describes_its_training(whole: Path) -> None:
    record = json.loads((whole / "encoder" / "encoder.json").read_text("utf-8"))
    assert record.keys() >= {"data", "trained", "objective", "metrics"} and "explained" in record["metrics"]
    assert not record.keys() & {"findings", "evaluation"}
    assert "## Evaluation" in card_of(whole) and "## Findings" in card_of(whole)


def test_ctrl_c_in_an_evaluation_keeps_the_trained_run(data: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("aekit.evaluation.run.evaluate", raising(KeyboardInterrupt()))
        fit(data, tmp_path / "run")
    assert aekit.load(tmp_path / "run").digest == aekit.load(whole).digest
    said = Said()
    fit(data, tmp_path / "run", said, resume=True)
    assert "creating its evaluation and report" in said and page_of(tmp_path / "run") == page_of(whole)


def test_a_failure_of_the_model_card_is_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="model card failed: .* disk is full"):
        patch.setattr("aekit.workflows.saved_run.model_card", raising(OutputError("the disk is full")))
        fit(data, tmp_path / "run")
    assert "## Evaluation" not in card_of(tmp_path / "run")
    aekit.make_report(tmp_path / "run")
    assert "## Evaluation" in card_of(tmp_path / "run")


def test_a_full_disk_while_the_encoder_is_saved(data: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OutputError, match="the disk is full"):
        full_disk(patch, "encoder.json")
        fit(data, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()
    assert fit(data, tmp_path / "run", resume=True).digest == aekit.load(whole).digest
    assert evaluation_of(tmp_path / "run") == evaluation_of(whole)


def test_a_failure_of_the_training_metrics_keeps_the_encoder(data: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="training samples failed: ValueError"):
        patch.setattr("aekit.workflows.saved_run.training_metrics", raising(ValueError("no")))
        fit(data, tmp_path / "run")
    assert list(aekit.load(tmp_path / "run").record["metrics"]) == ["loss"]


def test_a_failure_of_the_evaluation_keeps_an_encoder_in_memory(data: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="evaluation failed"):
        break_evaluation(patch)
        assert fit(data, None).dim == 4


def test_missing_data_is_one_line(data: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    options = {"variants": None, "overrides": {"train.precision": "fp32"}}
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.warns(UserWarning, match="retry with fit with resume=True"),
    ):
        break_report(patch)
        fit(array, run := tmp_path / "memory", **options)
    with pytest.raises(DataError, match=r"memory: its training data is not available: .*resume=True"):
        aekit.make_report(run)
    fit(array, run, resume=True, **options)
    assert (run / "report.html").is_file()

    (tmp_path / "here").mkdir()
    shutil.copy(data, copied := tmp_path / "here" / "digits.npz")
    fit(copied, run := tmp_path / "moved")
    copied.unlink()
    with pytest.raises(DataError, match=r"moved: its training data is not available: .*digits\.npz"):
        aekit.make_report(run)
    with pytest.raises(DataError, match="no encoder here"):
        aekit.make_report(tmp_path)
    assert not (tmp_path / ".lock").exists()


def test_the_commands(command: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    sets = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    given = ["fit", data, "-o", run, "--variant", "denoising", "--dim", 4, "--epochs", 1, *sets]
    with monkeypatch.context() as patch:
        break_evaluation(patch)
        outcome = command(*given, "--no-report")
    assert outcome.code == 0 and "next: aekit embed" in outcome.out and "Traceback" not in outcome.err
    assert f"warning: {run} has no evaluation; create with: aekit report {run}" in outcome.err
    assert not (run / "report.html").exists()
    assert "holds a trained run without its evaluation" in command(*given, "--no-report").error

    assert command.ok(*given, "--no-report", "--resume", "-q") and evaluation_of(run)
    assert not (run / "report.html").exists()
    assert "already finished" in command(*given, "--no-report", "--resume").err
    assert "holds a finished run" in command(*given, "--no-report").error

    assert command.ok("report", run, "-q").strip() == str(run / "report.html")
    assert "Compared with baselines" in (run / "report.html").read_text("utf-8")
    assert "report" not in tomllib.loads((run / "recipe.toml").read_text("utf-8"))
    assert "no encoder here" in command("report", tmp_path).error
    assert "expected auto, cpu" in command("report", run, "--device", "abacus").error
