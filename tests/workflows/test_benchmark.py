"""Benchmarks of several recipes over several seeds: new runs, finished runs and failures."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command, Said
from fake_distributions import hooks, install, seen

import aekit
from aekit import bench
from aekit.errors import RecipeError
from aekit.evaluation.run_results import read_results, write_results
from aekit.progress import Progress, Task
from aekit.training.phases import Interrupted
from aekit.workflows.comparing.benchmark import BenchResult
from aekit.workflows.saved_run import UnfinishedWarning

UNTRAINED = "patch-dictionary"
"""The backbone of images by default, which trained encoders are compared with."""
RECIPE = """
[data]
source = "sklearn:{data}"
[encoder]
backbone = "mlp"
dim = {dim}
[encoder.mlp]
hidden = [16]
[objective]
variants = ["{variant}"]
[train]
epochs = 1
batch_size = 128
[evaluate]
evaluators = ["knn"]
"""


def write_recipe(path: Path, data: str = "digits", dim: int = 4, variant: str = "plain") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RECIPE.format(data=data, dim=dim, variant=variant))
    return path


def subjects(run: Path) -> list[str]:
    return list(json.loads((run / "results.json").read_text())["evaluation"]["results"])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BenchResult]:
    """A folder of recipes, and its bench over two seeds; one of them names missing data."""
    folder = tmp_path_factory.mktemp("study")
    write_recipe(folder / "recipes" / "plain.toml")
    write_recipe(folder / "recipes" / "noisy.toml", variant="denoising")
    write_recipe(folder / "recipes" / "wide.toml", dim=8)
    write_recipe(folder / "recipes" / "absent.toml", data="digit")
    (folder / "recipes" / "typo.toml").write_text('[data]\nsource = "sklearn:digits"\n[train]\nepoch = 1\n')
    return folder, bench(folder / "recipes", folder / "runs", seeds=2)


def test_every_recipe_is_run_with_every_seed(study: tuple[Path, BenchResult]) -> None:
    _, result = study
    names = [f"{name}-seed-{seed}" for seed in (0, 1) for name in ("noisy", "plain", "wide")]
    assert [run.name for run in result.runs] == names
    assert result.comparison is not None
    (table,) = result.comparison.tables
    rows = {row.name: row for row in table.rows}
    assert set(rows) == {
        "denoising",
        "plain dim=4",
        "plain dim=8",
        "raw",
        "pca-4",
        "pca-8",
        "random dim=4",
        "random dim=8",
        UNTRAINED,
    }
    assert rows["denoising"].seeds == rows["raw"].seeds == [0, 1]
    seeds = [json.loads((run / "results.json").read_text())["recipe"]["train"]["seed"] for run in result.runs]
    assert seeds == [0, 0, 0, 1, 1, 1]


def test_a_bad_recipe_does_not_stop_the_others(study: tuple[Path, BenchResult]) -> None:
    folder, result = study
    assert set(result.failed) == {"typo", "absent-seed-0", "absent-seed-1"}
    assert "train.epoch: no such option" in result.failed["typo"]
    assert "no such data set; did you mean 'digits'" in result.failed["absent-seed-1"]
    assert not list((folder / "runs").glob("absent*"))


def test_equal_baselines_are_evaluated_once(study: tuple[Path, BenchResult]) -> None:
    folder, _ = study
    for seed in (0, 1):
        assert subjects(folder / "runs" / f"noisy-seed-{seed}") == ["encoder", "raw", "pca-4", "random", UNTRAINED]
        assert subjects(folder / "runs" / f"plain-seed-{seed}") == ["encoder"]
        assert subjects(folder / "runs" / f"wide-seed-{seed}") == ["encoder", "raw", "pca-8", "random", UNTRAINED]


def test_skipped_baselines_are_equal_to_evaluated_ones(study: tuple[Path, BenchResult], tmp_path: Path) -> None:
    folder, _ = study
    alone = tmp_path / "alone"
    aekit.fit(folder / "recipes" / "plain.toml", seed=1, out=alone)
    own, other = (json.loads((run / "results.json").read_text()) for run in (alone, folder / "runs" / "noisy-seed-1"))
    for subject in ("raw", "pca-4", "random"):
        assert own["evaluation"]["results"][subject] == other["evaluation"]["results"][subject], subject
    plain = json.loads((folder / "runs" / "plain-seed-1" / "results.json").read_text())
    assert own["evaluation"]["results"]["encoder"] == plain["evaluation"]["results"]["encoder"]


HEADED = (
    "from aekit.plugin import Variant\nfrom torch import nn\n\nclass Headed(Variant):\n"
    "    def head(self, features_shape, dim):\n        return nn.Sequential(nn.LazyLinear(dim), nn.Tanh())\n"
)


def test_a_variant_that_shapes_the_encoder_has_baselines_of_its_own(tmp_path: Path) -> None:
    files = {"headed_hooks.py": hooks("Entry('headed', 'headed:Headed', 'tanh at the end', 2)"), "headed.py": HEADED}
    install(tmp_path / "site", "headed", module="headed_hooks", files=files)
    with seen(tmp_path / "site"):
        from aekit.training.recipe import read_recipe
        from aekit.workflows.comparing.benchmark import _baselines_key

        names = ("plain", "denoising", "headed")
        recipes = [read_recipe(write_recipe(tmp_path / f"{name}.toml", variant=name)) for name in names]
        plain, noisy, headed = (_baselines_key(recipe, 0) for recipe in recipes)
        assert plain == noisy != headed
        assert _baselines_key(recipes[0], 1) != plain


def test_finished_runs_are_not_repeated(study: tuple[Path, BenchResult]) -> None:
    folder, before = study
    times = [(run / "encoder" / "encoder.json").stat().st_mtime_ns for run in before.runs]
    said = Said()
    after = bench(folder / "recipes", folder / "runs", seeds=2, progress=said)
    assert [(run / "encoder" / "encoder.json").stat().st_mtime_ns for run in after.runs] == times
    assert after.comparison and before.comparison and after.comparison.to_dict() == before.comparison.to_dict()
    assert f"{before.runs[0]} is already finished" in said


def test_a_recipe_with_defaults_is_not_repeated(tmp_path: Path) -> None:
    recipe = tmp_path / "open.toml"
    recipe.write_text(
        '[data]\nsource = "sklearn:digits"\n[encoder]\ndim = 4\n[train]\nepochs = 1\n[evaluate]\nevaluators = ["knn"]\n'
    )
    first, second = (bench(recipe, tmp_path / "runs", seeds=1) for _ in range(2))
    assert not first.failed and not second.failed
    recipe.write_text(recipe.read_text() + '[objective]\nvariants = ["plain"]\n')
    assert "objective.pretexts was ['simclr'], is []" in bench(recipe, tmp_path / "runs", seeds=1).failed["open-seed-0"]


def test_runs_on_files_are_not_repeated_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(30, 4)), y=np.repeat([0, 1], 15))
    recipe, said = tmp_path / "files.toml", Said()
    lines = ["[data]", f'source = "{tmp_path}/data.npz"', "[encoder]", "dim = 2", "[train]", "epochs = 1"]
    recipe.write_text("\n".join([*lines, "[evaluate]", 'evaluators = ["knn"]']))
    first = bench(recipe, tmp_path / "runs", seeds=1)
    assert not first.failed
    monkeypatch.chdir(tmp_path.parent)
    assert not bench(recipe, tmp_path / "runs", seeds=1, progress=said).failed
    assert f"{first.runs[0]} is already finished" in said
    results = read_results(first.runs[0])
    del results["evaluation"]
    write_results(first.runs[0], results)
    assert not bench(recipe, tmp_path / "runs", seeds=1).failed, "a run that was killed before its evaluation goes on"
    np.savez(tmp_path / "other.npz", x=np.zeros((30, 4)), y=np.repeat([0, 1], 15))
    recipe.write_text(recipe.read_text().replace("data.npz", "other.npz"))
    assert "data.source was 'data.npz'" in bench(recipe, tmp_path / "runs", seeds=1).failed["files-seed-0"]


def test_a_changed_recipe_does_not_count_as_finished(study: tuple[Path, BenchResult]) -> None:
    folder, _ = study
    result = bench(folder / "recipes" / "plain.toml", folder / "runs", seeds=[0], overrides={"train.lr": 0.5})
    assert not result.runs and result.comparison is None
    reason = result.failed["plain-seed-0"]
    assert "holds a run with other settings (train.lr was 0.002, is 0.5)" in reason


class Stopping(Progress):
    """Progress that presses Ctrl-C after a number of training steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        yield _Stopper(self) if title == "fit" else Task()


class _Stopper(Task):
    def __init__(self, owner: Stopping) -> None:
        self.owner = owner

    def advance(self, units: int = 1, note: str = "") -> None:
        self.owner.steps -= 1
        if not self.owner.steps:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_benchmark_resumes_to_the_same_encoders(study: tuple[Path, BenchResult], tmp_path: Path) -> None:
    folder, _ = study
    recipes = [folder / "recipes" / f"{name}.toml" for name in ("noisy", "plain")]
    with pytest.raises(Interrupted, match=r"stopped in .*plain-seed-0; run the same command again to resume"):
        bench(recipes, tmp_path / "runs", seeds=1, progress=Stopping(20))
    assert (tmp_path / "runs" / "plain-seed-0" / "checkpoint" / "state.safetensors").exists()
    said = Said()
    result = bench(recipes, tmp_path / "runs", seeds=1, progress=said)
    assert not result.failed and any(line.startswith("resuming after step ") for line in said.lines)
    for run in result.runs:
        assert aekit.load(run).digest == aekit.load(folder / "runs" / run.name).digest
    assert subjects(tmp_path / "runs" / "plain-seed-0") == ["encoder"], "as it began"


def test_a_fault_that_is_nobodys_mistake_is_recipe_files_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **options: object) -> None:
        raise ZeroDivisionError("by zero\nand so on")

    monkeypatch.setattr("aekit.workflows.comparing.benchmark.fit", broken)
    result = bench(write_recipe(tmp_path / "a.toml"), tmp_path / "runs", seeds=1)
    assert result.failed["a-seed-0"].startswith("ZeroDivisionError: by zero (test_benchmark.py:")


def test_recipes_are_recipe_files_by_their_files_or_folders(tmp_path: Path) -> None:
    from aekit.workflows.comparing.benchmark import _recipe_files

    first, second = (write_recipe(tmp_path / name / "recipe.toml") for name in ("mnist", "letters"))
    third = write_recipe(tmp_path / "letters" / "wide.toml")
    assert _recipe_files([first, tmp_path / "letters"]) == {"mnist": first, "letters": second, "wide": third}
    write_recipe(tmp_path / "other" / "mnist" / "recipe.toml")
    with pytest.raises(RecipeError, match="mnist: 2 recipes of this name"):
        _recipe_files([first, tmp_path / "other" / "mnist" / "recipe.toml"])
    (tmp_path / "none").mkdir()
    with pytest.raises(RecipeError, match="no recipes in it"):
        _recipe_files(tmp_path / "none")
    with pytest.raises(RecipeError, match="the benchmark sets it"):
        bench(first, tmp_path / "runs", overrides={"train.seed": 4})


def test_the_command(command: Command, study: tuple[Path, BenchResult]) -> None:
    folder, result = study
    outcome = command("bench", folder / "recipes", "-o", folder / "runs", "--seeds", 2, "-q")
    assert outcome.code == 2 and result.comparison is not None
    assert outcome.out.startswith(result.comparison.text(120))
    errors = outcome.err.splitlines()
    assert len(errors) == 3 and all(line.startswith("error: ") for line in errors)
    plain = folder / "recipes" / "plain.toml"
    outcome = command("bench", plain, "-o", folder / "more", "--seeds", 1, "--set", "encoder.dim=2")
    assert outcome.code == 0 and "plain-seed-0 (1 of 1)" in outcome.err
    assert "next: aekit compare" in outcome.out and aekit.load(folder / "more" / "plain-seed-0").dim == 2


def test_a_run_whose_evaluation_failed_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, runs = write_recipe(tmp_path / "plain.toml"), tmp_path / "runs"

    def fails(*given: Any, **options: Any) -> None:
        raise ZeroDivisionError("by zero")

    with monkeypatch.context() as patch:
        patch.setattr("aekit.evaluation.run.evaluate", fails)
        with pytest.warns(UnfinishedWarning, match="evaluation failed: ZeroDivisionError"):
            broken = bench(recipe, runs, seeds=1)
    assert not broken.runs and "its evaluation failed; aekit report" in broken.failed["plain-seed-0"]
    digest = aekit.load(runs / "plain-seed-0").digest
    again = bench(recipe, runs, seeds=1)
    assert not again.failed and again.runs == [runs / "plain-seed-0"] and subjects(again.runs[0])[0] == "encoder"
    assert aekit.load(again.runs[0]).digest == digest
