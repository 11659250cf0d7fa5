"""Several recipes over several seeds, into one folder of runs that can be stopped, gone on with, and compared."""

from __future__ import annotations

import json
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit.data.readers.folders import natural_key
from aekit.errors import AekitError, DataError, OutputError, RecipeError
from aekit.io.atomic import read_json
from aekit.progress import SILENT, NestedProgress, Progress
from aekit.registry.discovery import registry
from aekit.training.phases import Interrupted
from aekit.training.recipe import Recipe, read_recipe
from aekit.workflows.comparing.comparison import Comparison, compare
from aekit.workflows.comparing.differences import flatten_settings
from aekit.workflows.fitting import fit
from aekit.workflows.saved_run import UnfinishedWarning, missing, one_line


@dataclass(frozen=True)
class BenchResult:
    """What came of a bench.

    Attributes:
        runs: folders of the runs that are finished.
        failed: name of a recipe or a run -> why it is not.
        comparison: of the finished runs; None where there is nothing to compare.
    """

    runs: list[Path]
    failed: dict[str, str]
    comparison: Comparison | None


def bench(
    recipes: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    seeds: int | Iterable[int] = 3,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> BenchResult:
    """Fits every recipe with every seed, into ``out/RECIPE-seed-SEED``, and compares what came of it.

    Run again it goes on: what is finished is left alone, what was interrupted is resumed. A recipe that fails does not stop
    the others. Where a control would be the same as that of an earlier run, it is not judged again: for that the data, the
    seed, the evaluators and the encoder have to agree, with all their options, and the variants that shape the encoder.

    Args:
        recipes: recipe files (``.toml``), or folders whose recipe files are all meant.
        out: folder for the runs.
        seeds: how many, from 0 on, or which.
        overrides: settings for all recipes, by dotted names.
        progress: receives what `aekit.fit` says.

    Raises:
        RecipeError: no recipes, two of one name, or an override of what a bench sets itself.
        Interrupted: Ctrl-C; the same call goes on.
    """
    settings = dict(overrides or {})
    if "train.seed" in settings:
        raise RecipeError([f"train.seed = {settings['train.seed']!r}: a bench sets it; say which seeds instead"])
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    folder, failed = Path(out), {}
    read: dict[str, tuple[Path, Recipe]] = {}
    for name, path in _named(recipes).items():
        try:
            read[name] = path, read_recipe(path, settings)
        except AekitError as error:
            failed[name] = str(error)
    runs: list[Path] = []
    judged: set[str] = set()
    for number, (seed, name) in enumerate((seed, name) for seed in chosen for name in read):
        path, recipe = read[name]
        run = folder / f"{name}-seed-{seed}"
        progress.say(f"{run} ({number + 1} of {len(chosen) * len(read)})")
        controls = _controls_of(recipe, seed)
        try:
            has_controls = _bring_about(
                run, path, recipe, settings | {"train.seed": seed}, controls in judged, progress
            )
        except Interrupted:
            raise Interrupted(f"stopped in {run}; the same command goes on from there") from None
        except Exception as error:  # whatever it is, the other recipes have nothing to do with it
            failed[run.name] = one_line(error)
            progress.say(f"{run.name} failed: {failed[run.name]}")
            continue
        runs.append(run)
        if has_controls:
            judged.add(controls)
    try:
        return BenchResult(runs, failed, compare(runs))
    except DataError as error:
        return BenchResult(runs, failed | ({"comparison": str(error)} if runs else {}), None)


def _named(recipes: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    """Recipe files by the names that their runs shall have: those of the files, or of their folders."""
    files: list[Path] = []
    for path in map(Path, [recipes] if isinstance(recipes, (str, Path)) else recipes):
        found = sorted(path.glob("*.toml"), key=natural_key) if path.is_dir() else [path]
        if not found:
            raise RecipeError([f"{path}: no recipes in it; expected files ending in .toml"])
        files += [file for file in found if file not in files]
    stems = Counter(file.stem for file in files)
    names = [f.stem if stems[f.stem] == 1 and f.stem != "recipe" else f.resolve().parent.name for f in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        what = f"{twice[0]}: {names.count(twice[0])} recipes of this name" if twice else "no recipes"
        raise RecipeError([f"{what}; expected files of different names"])
    return dict(zip(names, files))


def _bring_about(
    run: Path, path: Path, recipe: Recipe, settings: dict[str, Any], judged: bool, progress: Progress
) -> bool:
    """Sees to it that a run is finished, and says whether the controls were judged in it."""
    if (run / "encoder" / "encoder.json").exists():
        results = read_json(run / "results.json")
        if changed := _changed(recipe, results["recipe"], settings["train.seed"]):
            raise OutputError(f"{run}: holds a run of other settings ({'; '.join(changed)}); choose another folder")
        if not missing(run):
            progress.say(f"{run} is finished already")
            return len(results.get("evaluation", {}).get("results", {})) > 1
    resume = (run / "recipe.toml").exists()
    if resume:
        begun = tomllib.loads((run / "recipe.toml").read_text("utf-8"))
        settings = settings | {"evaluate.baselines": begun["evaluate"]["baselines"]}
    elif judged:
        settings = settings | {"evaluate.baselines": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnfinishedWarning)  # said through the progress, and below
        fit(path, overrides=settings, out=run, resume=resume, progress=NestedProgress(progress))
    if "evaluation" in missing(run):
        raise DataError(f"{run}: its evaluation failed; aekit report {run} makes it again")
    return settings.get("evaluate.baselines", recipe.evaluate.baselines)


def _controls_of(recipe: Recipe, seed: int) -> str:
    """The same for recipes whose controls are the same."""
    record = recipe.to_dict()
    heads = [
        (name, recipe.options_of("objective", name))
        for name in recipe.objective.variants
        if registry().get("variant", name).load().implements("head")
    ]
    evaluate = {name: value for name, value in record["evaluate"].items() if name != "baselines"}
    return json.dumps([record["data"], record["encoder"], heads, evaluate, seed], sort_keys=True)


def _changed(recipe: Recipe, was: Mapping[str, Any], seed: int) -> list[str]:
    """How a finished run's recipe differs from this one, but for what follows from the data and for the controls."""
    now, before = flatten_settings(recipe.with_train(seed=seed).with_plugin_defaults().to_dict()), flatten_settings(was)
    left_open = [name for name in ("epochs", "batch_size") if name not in recipe.train.model_fields_set]
    free = {"evaluate.baselines", *(f"train.{name}" for name in left_open)}
    if recipe.train.precision == "auto":
        free.add("train.precision")
    if recipe.objective.loss == "auto":
        free.add("objective.loss")
    if not recipe.objective.variants and not recipe.objective.pretexts:
        free |= {name for name in before if name.startswith("objective.")} - {"objective.loss"}
    if recipe.encoder.backbone == "auto":
        free |= {name for name in before if name.startswith("encoder.") and name.count(".") > 1} | {"encoder.backbone"}
    names = sorted({*now, *before} - free)
    return [f"{n} was {before.get(n)!r}, is {now.get(n)!r}" for n in names if now.get(n) != before.get(n)]
