"""Test the search within a time budget: its space, its candidates, its honesty, and that it goes on where it was killed.

The clock is a counter, so that the tests do not depend on the load of the machine: a look at it takes `TICK` seconds.
"""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from commands import Command, Said
from resealing import reseal

import aekit
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.errors import AekitError, DataError, OutputError, RecipeError, TrainingError
from aekit.plugin import Backbone, Field, Pretext, Variant
from aekit.progress import SILENT
from aekit.registry.search_space import Choices, Range, search_space
from aekit.workflows.tuning import _budget, _scoring, run
from aekit.workflows.tuning._budget import Budget
from aekit.workflows.tuning._candidate import Candidate
from aekit.workflows.tuning._outlook import LearningCurve, gain_of_more_candidates, selection_optimism
from aekit.workflows.tuning._problem import make_problem
from aekit.workflows.tuning._search import choose_winner, measure_default
from aekit.workflows.tuning._space import Space
from aekit.workflows.tuning._state import SearchState
from aekit.workflows.tuning._study import STEPS, Study, best_trial

pytest.importorskip("optuna")

TICK = 0.25  # exact, so that no comparison depends on rounding
SETTINGS = {"train.epochs": 2, "train.batch_size": 16}


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(_budget, "now", lambda: TICK * next(ticks))


@pytest.fixture(scope="module")
def pets() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.repeat(["cat", "dog", "eel"], 50)
    x = generator.normal(size=(150, 8)) + 2 * (labels == "dog")[:, None] + np.eye(8)[0] * 3 * (labels == "eel")[:, None]
    return x.astype(np.float32), labels


def tuned(pets: tuple[np.ndarray, np.ndarray], out: Path, **options: Any) -> Any:
    x, labels = pets
    options = {"minutes": 0.3, "labels": labels, "overrides": SETTINGS, "progress": False} | options
    return aekit.tune(x, out, **options)


@pytest.fixture(scope="module")
def search(pets: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, aekit.Tuning]:
    """A file of data, and the folder and the result of a search on it."""
    folder = tmp_path_factory.mktemp("tuned")
    x, labels = pets
    np.savez(folder / "pets.npz", x=x, y=labels)
    ticks = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_budget, "now", lambda: TICK * next(ticks))
        result = again(folder / "pets.npz", folder / "runs")
    return folder / "pets.npz", folder / "runs", result


def again(data: Path, runs: Path, **options: Any) -> aekit.Tuning:
    return aekit.tune(data, runs, **{"minutes": 0.5, "overrides": SETTINGS, "progress": False} | options)


def test_the_winner_is_trained_evaluated_and_told(search: Any) -> None:
    data, runs, result = search
    assert sum(result.counts.values()) >= 3
    assert result.seconds <= 60 * result.minutes * 1.1
    scores = [row["score"] for row in result.candidates if row["score"] is not None]
    assert result.validation == max(scores) or (result.winner == "default" and result.validation == scores[0])
    assert result.test.low <= result.test.value <= result.test.high
    assert result.encoder.embed(data).vectors.shape[0] == 150
    won, by_how_much, more = result.sentences()
    assert "won among" in won and "which no candidate saw" in by_how_much and more.endswith(".")
    table = result.comparison.tables[0]
    assert {"raw", "random"} <= {row.name.split()[0] for row in table.rows if row.is_baseline}
    assert again(data, runs).to_dict() == json.loads(json.dumps(result.to_dict()))


def test_the_recipe_of_the_winner_is_a_recipe(search: Any, tmp_path: Path) -> None:
    _, runs, result = search
    encoder = aekit.fit(str(runs / "best.toml"), out=tmp_path / "again", report=False)
    before, now = (json.loads((run / "results.json").read_text())["recipe"] for run in (result.run, tmp_path / "again"))
    for section in ("encoder", "objective"):
        assert now[section] == before[section]
    assert now["train"]["epochs"] == before["train"]["epochs"]
    assert encoder.dim == result.encoder.dim


def test_no_candidate_sees_the_test_part_nor_the_validation_part(pets: Any) -> None:
    source, targets = _opened(pets)
    problem = make_problem("pets", source, targets, _cpu(), 0, SILENT)
    trained = set(problem.samples.rows.tolist())
    assert not trained & {*problem.split.test.tolist(), *problem.split.validation.tolist()}
    samples, split = problem.scored
    assert set(samples.rows[split.test].tolist()) <= set(problem.split.validation.tolist())
    assert not set(samples.rows.tolist()) & set(problem.split.test.tolist())
    refitted = problem.refitted_source
    assert set(refitted.rows_of("test").tolist()) == set(problem.split.test.tolist())
    assert source.splits is None  # the user's own source is as it was


def test_the_own_split_of_a_data_set_is_kept(pets: Any) -> None:
    source, targets = _opened(pets)
    source.splits = np.array(["train"] * 100 + ["test"] * 50)[np.random.default_rng(1).permutation(150)]
    problem = make_problem("pets", source, targets, _cpu(), 0, SILENT)
    assert problem.refitted_source is source
    assert set(problem.split.test.tolist()) == set(np.flatnonzero(source.splits == "test").tolist())
    assert not set(problem.training_rows.tolist()) & set(problem.split.test.tolist())


def test_a_killed_search_goes_on_and_repeats_nothing(
    pets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    score = _scoring.Criterion.score

    def interrupted(self: Any, objective: Any, problem: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:  # two to measure, three of the default recipe, one of the next candidate
            raise KeyboardInterrupt
        return score(self, objective, problem)

    monkeypatch.setattr(_scoring.Criterion, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tuned(pets, tmp_path / "runs", minutes=1)
    spent = json.loads((tmp_path / "runs" / "tune.json").read_text())["spent"]
    assert spent > 0
    with (tmp_path / "runs" / "journal.log").open("a") as file:
        file.write('{"op_code": 4, "torn')  # a process killed while it wrote
    trained: list[tuple[str, int]] = []
    train_to = Candidate.train_to
    monkeypatch.setattr(_scoring.Criterion, "score", score)
    monkeypatch.setattr(
        Candidate,
        "train_to",
        lambda self, step, folder: (trained.append((folder.name, step)), train_to(self, step, folder))[1],
    )
    result = tuned(pets, tmp_path / "runs", minutes=1)
    assert "000" not in {name for name, _ in trained}
    assert trained[0][0] == "001" and len(set(trained)) == len(trained)
    assert result.seconds > spent
    assert [row["number"] for row in result.candidates] == list(range(len(result.candidates)))
    assert result.candidates[0]["candidate"] == "default" and result.candidates[0]["outcome"] == "complete"


def test_another_search_is_refused(search: Any, tmp_path: Path) -> None:
    data, runs, _ = search
    with pytest.raises(OutputError, match="seed was 0, is 1"):
        again(data, runs, seed=1)
    with pytest.raises(OutputError, match=r"minutes was 0\.5, is 0\.6"):
        again(data, runs, minutes=0.6)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(OutputError, match="is not empty"):
        again(data, tmp_path / "other")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "tune.json").write_text("{")
    with pytest.raises(OutputError, match="is damaged"):
        again(data, damaged)


def test_a_changed_search_is_refused(search: Any, tmp_path: Path) -> None:
    data, runs, _ = search
    folder = tmp_path / "runs"
    shutil.copytree(runs, folder)
    entries = json.loads((folder / "tune.json").read_text())
    (folder / "tune.json").write_text(json.dumps(entries | {"spent": 0.0}))
    with pytest.raises(OutputError, match=r"tune\.json: is damaged: its entries differ from its seal"):
        again(data, folder)
    for name, value in (("test", {"value": "x"}), ("counts", -1), ("candidates", [[]]), ("more_training", 0)):
        reseal(folder / "tune.json", result=entries["result"] | {name: value})
        with pytest.raises(OutputError, match=rf"tune\.json: is damaged: {name}.*choose another folder as out"):
            again(data, folder)


@pytest.mark.parametrize(
    "change", [{"settings": 3}, {"seconds_per_step": "x"}, {"dim": 1.5}, "intermediate", "operation"]
)
def test_a_changed_journal_is_refused(search: Any, tmp_path: Path, change: Any) -> None:
    _, runs, _ = search
    lines = [json.loads(line) for line in (runs / "journal.log").read_text().splitlines()]
    for line in lines:
        if change == "operation":
            line["op_code"] = "x"
        elif change == "intermediate" and "intermediate_value" in line:
            line["intermediate_value"] = {}
        elif isinstance(change, dict) and change.keys() & line.get("user_attr", {}).keys():
            line["user_attr"] = change
    space = Space(SampleSpec("vector", (8,), "float32"), {}, {}, reconstructs=False, seed=0)
    shutil.copy(runs / "journal.log", tmp_path)
    assert Study(tmp_path, space, 0).trials()
    (tmp_path / "journal.log").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(OutputError, match=r"journal\.log: is damaged.*choose another folder as out"):
        Study(tmp_path, space, 0)


def test_too_few_minutes_are_refused_with_the_number_needed(pets: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"minutes = 0.001: too few .* which take about \d") as refusal:
        tuned(pets, tmp_path / "runs", minutes=0.001)
    assert len(refusal.value.problems) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"purpose": "sorting"}, RecipeError, "purpose = 'sorting': expected retrieval"),
        ({"minutes": -1}, RecipeError, "expected a positive number"),
        ({"minutes": 50_000}, RecipeError, r"at most 43,200 \(30 days\)"),
        ({"recipes": ["a/wide.toml", "b/wide.toml"]}, RecipeError, "wide.toml: another recipe is named 'wide' too"),
        ({"overrides": {"layerwise.epochs": 2}}, RecipeError, "not supported by aekit tune"),
        ({"labels": np.arange(3)}, DataError, "for 150 samples"),
    ],
)
def test_refusals_are_one_line(
    pets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, error: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in map(Path, options.get("recipes", ())):
        path.parent.mkdir()
        path.write_text("[encoder]\ndim = 128\n")
    with pytest.raises(error, match=words):
        tuned(pets, tmp_path / "runs", **options)


def test_few_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"too few|empty"):
        aekit.tune(np.zeros((10, 3), np.float32), tmp_path / "runs", minutes=1, progress=False)


@pytest.mark.parametrize("purpose", ["retrieval", "clustering", "reconstruction"])
def test_every_purpose(pets: Any, tmp_path: Path, purpose: str) -> None:
    result = tuned(pets, tmp_path / "runs", purpose=purpose, minutes=0.15)
    assert np.isfinite(result.validation) and np.isfinite(result.test.value)
    assert purpose != "reconstruction" or all("pretext" not in row["candidate"] for row in result.candidates)


def test_without_labels_a_label_free_score_decides(pets: Any, tmp_path: Path) -> None:
    said = Said()
    result = tuned(pets, tmp_path / "runs", labels=None, progress=said, minutes=0.15)
    assert "label-free score" in result.criterion
    assert any("there are no labels" in line for line in said.lines)
    assert result.optimism is None and result.difference is None


class Marked(Variant):
    """Train as a plain autoencoder; a variant of a third party."""

    def __init__(self, *, amount: Annotated[float, Field(gt=0)] = 1.0) -> None:
        super().__init__()


class Ready(Backbone):
    """A backbone with weights at hand."""

    def __init__(self, spec: SampleSpec, *, size: int = 3) -> None:
        super().__init__()

    @classmethod
    def pretrained_at_hand(cls, spec: SampleSpec) -> list[dict[str, Any]]:
        return [{"size": 3}]


def test_plugins_of_others_and_pretrained_networks_compete() -> None:
    aekit.register(Marked, name="marked")
    aekit.register(Ready, name="ready", tags=["vector"])
    space = Space(SampleSpec("vector", (8,), "float32"), {}, {"mine": {"train.lr": 0.1}})
    assert {"variant marked", "recipe mine", "pretrained ready 3"} <= set(space.objectives)
    assert "ready" not in space.backbones  # it competes with its weights alone
    settings = space.as_they_are["pretrained ready 3"]
    assert settings["train.epochs"] == 0 and settings["encoder.weights"] == "pretrained"
    assert not any("image" in name or "rotation" in name for name in space.objectives)
    fixed = Space(SampleSpec("vector", (8,), "float32"), {"objective.variants": ["plain"], "train.lr": 0.1}, {})
    assert fixed.objectives == ["default"] and "train.lr" not in fixed.defaults("default")


class Slow(Pretext):
    """A task that prepares each sample for a second before the first step."""

    def start(self, samples: Any) -> None:
        with self.display.task("each sample", len(samples)) as task:
            for _ in range(len(samples)):
                PREPARED.append(1)
                task.advance()

    def loss(self, x: Any, generator: Any) -> Any:
        return {"loss": self.encoder.encode(x).square().mean()}


PREPARED: list[int] = []


def test_a_long_preparation_is_stopped_and_the_candidate_left_out(pets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aekit.register(Slow, name="slow")
    problem = make_problem("pets", *_opened(pets), _cpu(), 0, SILENT)
    monkeypatch.setattr(_budget, "now", lambda: float(len(PREPARED)))
    candidate = Candidate(problem, {"objective.pretexts": ["slow"]})
    PREPARED.clear()
    with pytest.raises(TrainingError, match=r"its preparation \(each sample\) takes longer than 20 s"):
        candidate.measure(20)
    assert len(PREPARED) == 21
    PREPARED.clear()
    candidate.measure()
    assert len(PREPARED) == 2 * len(problem.samples)


def test_the_default_that_a_search_times_is_trained_where_fit_trains_nothing() -> None:
    source = ArraySource(np.random.default_rng(0).random((40, 1, 16), dtype=np.float32), kind="series")
    problem = make_problem("series", source, None, _cpu(), 0, SILENT)
    assert not Candidate(problem, {}).trains
    criterion: Any = SimpleNamespace(score=lambda objective, problem: None)
    default, _ = measure_default(problem, criterion, {})
    assert default.trains and default.recipe.encoder.backbone == "conv" and default.seconds_per_step > 0
    chosen, _ = measure_default(problem, criterion, {"train.lr": 0.01})
    assert chosen.recipe.train.lr == 0.01


@pytest.mark.parametrize(("fixed", "epochs"), [({}, 6), ({"train.epochs": 400}, 400)])
def test_only_epochs_that_were_not_named_are_cut_to_the_time(
    pets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed: dict[str, Any], epochs: int
) -> None:
    problem = make_problem("pets", *_opened(pets), _cpu(), 0, SILENT)
    default = Candidate(problem, fixed)
    default.seconds_per_step = 0.25 / default.steps_per_epoch
    monkeypatch.setattr(run, "measure_default", lambda *_: (default, 0.1))
    monkeypatch.setattr(_budget, "now", lambda: 0.0)
    state = SearchState(tmp_path, {})
    run._Tuner(tmp_path, problem, None, fixed, {}, Budget(18), state, SILENT)._measure()
    assert state.measured["epochs"] == epochs  # of the default run, and of best.toml if it wins


def test_a_study_suggests_the_same_after_a_restart(tmp_path: Path) -> None:
    def suggested(folder: Path, stop: int, count: int) -> list[dict[str, Any]]:
        space = Space(SampleSpec("image", (1, 8, 8), "uint8"), {}, {})
        folder.mkdir(exist_ok=True)
        study, made = Study(folder, space, 0), []
        for number in range(count):
            if number == stop:
                study = Study(folder, space, 0)
            trial = study.next()
            made.append(space.suggest(trial))
            trial.report(number / 10, step=9)
            study.finish(trial, "complete", number / 10)
        assert best_trial(study.trials()).number == count - 1
        return made

    assert suggested(tmp_path / "a", 99, 12) == suggested(tmp_path / "b", 9, 12)


@pytest.mark.parametrize(
    ("wrong", "winner"),
    [
        ([5], 0),  # one sample more is right: the default stays
        ([5, 6], 1),
        ([], 0),
    ],
)
def test_the_default_wins_unless_it_is_beaten_by_a_standard_error(
    wrong: list[int], winner: int, tmp_path: Path
) -> None:
    right = np.ones(200)
    of_default = right.copy()
    of_default[wrong] = 0
    trials = []
    for number, scores in enumerate((of_default, right)):
        folder = tmp_path / "trials" / f"{number:03d}"
        folder.mkdir(parents=True)
        np.save(folder / "scores-2.npy", scores)
        values = {STEPS[2]: scores.mean() + 1e-9 * number}
        trials.append(SimpleNamespace(number=number, intermediate_values=values))
    assert choose_winner(tmp_path, trials).number == winner
    assert choose_winner(tmp_path, trials[1:]).number == 1  # the default was not trained
    np.save(tmp_path / "trials" / "000" / "scores-2.npy", of_default[:50])
    assert choose_winner(tmp_path, trials).number == 1  # they are not of the same samples


IMAGES, SERIES = SampleSpec("image", (3, 32, 32), "uint8"), SampleSpec("series", (1, 64), "float32")


@pytest.mark.parametrize(
    ("backbone", "spec", "other"), [("random-convolutions", SERIES, IMAGES), ("patch-dictionary", IMAGES, SERIES)]
)
def test_a_backbone_that_is_not_trained_competes_as_it_is(backbone: str, spec: SampleSpec, other: SampleSpec) -> None:
    space, name = Space(spec, {}, {}, seed=0), f"untrained {backbone}"
    expected = {"encoder.backbone": backbone, "encoder.dim": 0, "encoder.normalize": True, "train.epochs": 0}
    assert space.as_they_are[name] == expected
    assert backbone not in space.backbones and space.first(1) == {"objective": name}
    assert name not in Space(other, {}, {}, seed=0).as_they_are


def test_described_weights_compete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mine.json").write_text('{"timm_architecture": "resnet18"}')
    (tmp_path / "weights" / "mine.safetensors").touch()
    monkeypatch.setenv("AEKIT_DATA", str(tmp_path))
    settings = Space(SampleSpec("image", (3, 64, 64), "uint8"), {}, {}).as_they_are["pretrained timm resnet18"]
    assert settings["encoder.weights"] == str(tmp_path / "weights" / "mine.safetensors")
    assert settings["encoder.timm.model"] == "resnet18" and settings["train.epochs"] == 0


def test_first_come_the_default_and_what_is_often_good_on_the_kind_of_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEKIT_DATA", raising=False)
    space = Space(SampleSpec("image", (1, 28, 28), "uint8"), {}, {"mine": {}})
    firsts = [space.first(number) or {} for number in range(7)]
    assert [first["objective"] for first in firsts] == [
        "default", "recipe mine", "untrained patch-dictionary",
        "pretext simclr", "pretext simclr", "variant random-affine", "pretext vicreg",
    ]  # fmt: skip
    assert [first.get("encoder.dim") for first in firsts[3:]] == ["0", "128", "128", "0"]
    assert (space.first(7) or {})["objective"] == "variant plain"
    assert [space.first(number) is None for number in range(8, 12)] == [True, True, True, False]
    assert [space.varies(number) for number in (8, 9, 10)] == [True, True, False]
    table = Space(SampleSpec("vector", (30,), "float32"), {}, {})
    firsts = [table.first(number) or {} for number in range(1, 5)]
    assert [first["objective"] for first in firsts] == [*["variant denoising"] * 2, *["variant plain"] * 2]
    assert [first["encoder.dim"] for first in firsts] == ["0", "128", "0", "128"]
    assert firsts[0]["backbone"] == "mlp" and firsts[0]["encoder.mlp.hidden"] == "[512, 256]"


def test_a_candidate_is_varied_within_its_ranges() -> None:
    space = Space(SampleSpec("image", (1, 28, 28), "uint8"), {"train.batch_size": 64}, {})
    parameters = space.defaults("pretext simclr")
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(100):
        varied = space.varied(parameters, generator)
        assert varied["objective"] == "pretext simclr" and "train.batch_size" not in varied
        changed = {name for name, value in varied.items() if parameters.get(name, value) != value}
        assert len(changed) <= 3
        seen |= changed
        assert 3e-4 <= varied["train.lr"] <= 1e-2 and varied["encoder.dim"] in ("null", "0", "32", "128", "256")
    assert {"train.lr", "encoder.dim", "backbone", "objective.simclr.temperature"} <= seen


def test_the_search_space_follows_the_declared_ranges() -> None:
    def declared(
        *,
        kind: Literal["a", "b"] = "a",
        on: bool = True,
        maybe: bool | None = None,
        fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        part: Annotated[float | None, Field(gt=0, le=1)] = None,
        width: Annotated[int, Field(ge=1)] = 64,
        rate: Annotated[float, Field(gt=0)] = 0.01,
        momentum: Annotated[float, Field(ge=0, le=1, json_schema_extra={"search": [0.9, 0.99]})] = 0.99,
        level: Annotated[float, Field(json_schema_extra={"search": {"low": 1.0, "high": 5.0}})] = 2.0,
        hidden: Annotated[list[int] | None, Field(json_schema_extra={"search": [None, [8]]})] = None,
        secret: Annotated[bool, Field(json_schema_extra={"search": False})] = False,
        name: str = "x",
        seed: Annotated[int, Field(ge=0, le=9)] = 0,
    ) -> None: ...

    space = search_space(declared)
    assert set(space) == {
        "kind", "on", "maybe", "fraction", "part", "width", "rate", "momentum", "level", "hidden",
    }  # fmt: skip
    assert space["kind"] == Choices(('"a"', '"b"'), '"a"')
    assert space["maybe"] == Choices(("false", "true", "null"), "null")
    fraction = space["fraction"]
    assert isinstance(fraction, Range) and fraction.low > 0 and fraction.high < 1
    assert space["width"] == Range(16, 256, True, True, 64)
    assert space["level"] == Range(1.0, 5.0, False, False, 2.0)
    assert space["momentum"] == Choices(("0.9", "0.99"), "0.99")
    assert space["hidden"] == Choices(("null", "[8]"), "null")
    assert isinstance(space["part"], Choices) and space["part"].values[0] == "null"


def test_optimism_is_that_of_chosen_noise() -> None:
    generator = np.random.default_rng(0)
    draws = [
        (generator.random((20, 100)) < 0.5).astype(float) for _ in range(20)
    ]  # candidates that differ by chance alone
    optimism = np.mean([draw.mean(axis=1).max() - 0.5 for draw in draws])
    assert np.mean([selection_optimism(draw) for draw in draws]) == pytest.approx(optimism, rel=0.25)
    clear = np.vstack([np.zeros(100), np.ones(100)])
    assert selection_optimism(clear) == 0.0
    assert selection_optimism(draws[0][:1]) == 0.0


def test_a_power_law_is_extrapolated() -> None:
    seconds = [1.0, 2.0, 4.0]
    values = [1 - 0.4 * t**-0.5 for t in seconds]
    gain = LearningCurve(seconds, values, None).gain_of_doubling(bounded=True)
    assert gain is not None and gain.value == pytest.approx(0.4 * (4**-0.5 - 8**-0.5))
    line = LearningCurve(seconds, [5.0, 6.0, 7.0], None).gain_of_doubling(bounded=False)
    assert line is not None and line.value == pytest.approx(1.0)
    assert LearningCurve([1.0], [0.5], None).gain_of_doubling(bounded=True) is None
    samples = (np.random.default_rng(0).random((3, 50)) < np.array(values)[:, None]).astype(float)
    noisy = LearningCurve(seconds, samples.mean(1).tolist(), samples).gain_of_doubling(bounded=True)
    assert noisy is not None and noisy.low is not None and noisy.high is not None and noisy.low < noisy.high


def test_what_more_candidates_bring() -> None:
    assert gain_of_more_candidates([0.5, 0.5, 0.5]) is None
    same = gain_of_more_candidates([0.5] * 6)
    assert same is not None and same.value == 0.0
    some = gain_of_more_candidates([0.1, 0.2, 0.3, 0.9])
    assert some is not None and some.value == pytest.approx(
        0.35, abs=0.08
    )  # half of the time the best is in the other half


def test_the_budget_leaves_time_for_the_end() -> None:
    budget = Budget(600.0, start=_budget.now())
    budget.plan(seconds_of_default=10.0, seconds_of_epoch=0.1)
    assert budget.training == budget.refit == pytest.approx(15.0)
    budget.evaluation, budget.evaluated = 21.0, 2.0
    assert budget.evaluation_of(1.0) == pytest.approx(7.0)  # a third, without baselines
    assert budget.final(1.5, 1.0) == pytest.approx(15 * 1.5 + 7 + 18)
    assert budget.final(1.0, 10.0) == pytest.approx(15 + 1.3 * 20 + 18)  # a wide embedding
    assert budget.has(400.0, 1.0, 1.0) and not budget.has(590.0, 1.0, 1.0)
    budget.plan(seconds_of_default=1000.0, seconds_of_epoch=100.0)
    assert budget.training == 100.0 and budget.refit == pytest.approx(120.0)
    assert budget.final(1.0, 1.0) - budget.final(1.0, 1.0, trains=False) == pytest.approx(20.0)


def test_a_missing_optuna_is_one_line(pets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(AekitError, match=r"pip install 'aekit\[tune\]'"):
        tuned(pets, tmp_path / "runs")


def _opened(pets: Any) -> Any:
    from aekit.data.source import ArraySource
    from aekit.evaluation.labels import make_targets

    x, labels = pets
    return ArraySource(x, labels=labels), make_targets(labels, len(x), what="samples")[0]


def _cpu() -> Any:
    import torch

    return torch.device("cpu")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"train.epochs": 9}, "The default recipe, trained longer, won among "),
        (
            {"train.epochs": 9, "train.lr": 0.003338, "encoder.dim": 8},
            "The default recipe with train.lr = 0.00334, encoder.dim = 8 won ",
        ),
    ],
)
def test_a_winner_that_is_nearly_the_default_is_named_by_what_differs(search: Any, settings: Any, named: str) -> None:
    result = replace(search[2], winner="default", settings=settings, is_default=False)
    assert result.sentences()[0].startswith(named)


def test_a_winner_that_fit_makes_anyway_is_not_praised_over_a_default_that_it_is(search: Any) -> None:
    """The default that is trained is what it is compared with; `aekit.fit` does not make that one."""
    won = replace(search[2], winner="untrained patch-dictionary", is_default=False, is_untrained_default=True)
    first, second, _ = won.sentences()
    assert first.startswith("untrained patch-dictionary, which is what aekit fit makes without options, won among ")
    assert "the default training" in second and "the default recipe" not in second
    record = won.to_dict()
    assert aekit.Tuning.from_dict(won.folder, record).sentences() == won.sentences()
    del record["is_untrained_default"]  # as earlier versions wrote it
    assert not aekit.Tuning.from_dict(won.folder, record).is_untrained_default


def test_the_command_prints_the_sentences_and_goes_on(
    search: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data, runs, result = search
    aekit_ = Command(monkeypatch, capfd)
    fixed = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    printed = aekit_.ok("tune", data, "-o", runs, "--minutes", "0.5", *fixed, "-q")
    assert printed.startswith(result.sentences()[0])
    assert json.loads(aekit_.ok("tune", data, "-o", runs, "--minutes", "0.5", *fixed, "-q", "--json"))["minutes"] == 0.5
    assert "holds another search" in aekit_("tune", data, "-o", runs, "--minutes", "1", "--seed", "3").error
