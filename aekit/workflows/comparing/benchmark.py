"""Fit several recipes with several seeds into one folder of runs that can be stopped, resumed and compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit._arguments import checked_arguments
from aekit.data.locations import same_place
from aekit.data.readers.folders import natural_key
from aekit.errors import AekitError, DataError, OutputError, RecipeError
from aekit.evaluation.run_results import read_results
from aekit.io.atomic import check_text, explain_write_errors
from aekit.io.remote import refuse_remote
from aekit.io.shell import command_line
from aekit.progress import NestedProgress, Progress
from aekit.progress_display import ProgressOption, open_progress
from aekit.registry.discovery import registry
from aekit.registry.overrides import flatten_settings, read_toml
from aekit.training.phases import Interrupted
from aekit.training.recipe import Recipe, read_recipe
from aekit.training.run_recipe import portable_recipe
from aekit.workflows.comparing.comparison import Comparison, compare
from aekit.workflows.fitting import fit
from aekit.workflows.saved_run import missing, one_line

_PLACES = ("data.source", "data.target", "encoder.weights")
"""Settings that are paths."""


@dataclass(frozen=True, eq=False)
class BenchResult:
    """The result of a benchmark.

    Attributes:
        runs: folders of the finished runs.
        failed: name of a recipe or a run -> why it failed.
        comparison: comparison of the finished runs; None if there is nothing to compare.
    """

    runs: list[Path]
    failed: dict[str, str]
    comparison: Comparison | None


@checked_arguments
def bench(
    recipes: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    seeds: int | Iterable[int] = 3,
    overrides: Mapping[str, Any] | None = None,
    progress: ProgressOption = None,
) -> BenchResult:
    """Fit every recipe with every seed into ``out/RECIPE-seed-SEED``, and compare the runs.

    The same call again skips finished runs and resumes interrupted ones. A recipe that fails does not stop the others. The
    baselines are evaluated once for runs that share them: runs with the same data, seed, evaluators, encoder and variants with a
    head, including their options.

    Args:
        recipes: a recipe file (``.toml``) or a folder of recipe files, or several of them.
        out: folder for the runs.
        seeds: number of seeds, counted from 0, or the seeds themselves.
        overrides: settings for all recipes, by dotted names.
        progress: shows the messages of `aekit.fit`, as there.

    Returns:
        The finished runs, the failures, and the comparison.

    Raises:
        RecipeError: no recipes, two recipes with one name, or an override of ``train.seed``.
        Interrupted: Ctrl-C; the same call resumes.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import aekit
        >>> labels = np.repeat(["cat", "dog"], 60)
        >>> samples = np.random.default_rng(0).normal(size=(120, 8)) + 3 * (labels == "dog")[:, None]
        >>> np.savez("pets.npz", x=samples.astype("float32"), y=labels)
        >>> recipe = '[data]\\nsource = "pets.npz"\\n[encoder]\\ndim = 2\\n[objective]\\nvariants = ["{}"]\\n'
        >>> settings = {"train.epochs": 2, "evaluate.evaluators": ["knn"]}
        >>> for variant in ("plain", "denoising"):
        ...     _ = Path(f"{variant}.toml").write_text(recipe.format(variant))
        >>> result = aekit.bench(["plain.toml", "denoising.toml"], "runs", seeds=2, overrides=settings)
        >>> len(result.runs), result.failed
        (4, {})
        >>> sorted(row.name for row in result.comparison.tables[0].rows)
        ['denoising', 'pca-2', 'plain', 'random', 'raw']
    """
    progress = open_progress(progress)
    refuse_remote(out, "a benchmark")
    settings = dict(overrides or {})
    if "train.seed" in settings:
        raise RecipeError([f"train.seed = {settings['train.seed']!r}: the benchmark sets it; pass seeds instead"])
    seed_list = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    folder, failed = Path(out), {}
    recipes_by_name: dict[str, tuple[Path, Recipe]] = {}
    for name, path in _recipe_files(recipes).items():
        try:
            recipes_by_name[name] = path, read_recipe(path, settings)
        except AekitError as error:
            failed[name] = str(error)
    if recipes_by_name:
        check_text(folder)
        with explain_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    runs: list[Path] = []
    evaluated: set[str] = set()
    for number, (seed, name) in enumerate((seed, name) for seed in seed_list for name in recipes_by_name):
        path, recipe = recipes_by_name[name]
        run = folder / f"{name}-seed-{seed}"
        progress.say(f"{run} ({number + 1} of {len(seed_list) * len(recipes_by_name)})")
        baselines = _baselines_key(recipe, seed)
        try:
            has_baselines = _finish_run(
                run, path, recipe, settings | {"train.seed": seed}, baselines in evaluated, progress
            )
        except Interrupted:
            raise Interrupted(f"stopped in {run}; run the same command again to resume") from None
        except Exception as error:  # a failure of one recipe must not stop the others
            failed[run.name] = one_line(error)
            progress.say(f"{run.name} failed: {failed[run.name]}")
            continue
        runs.append(run)
        if has_baselines:
            evaluated.add(baselines)
    try:
        return BenchResult(runs, failed, compare(runs))
    except DataError as error:
        return BenchResult(runs, failed | ({"comparison": str(error)} if runs else {}), None)


def _recipe_files(recipes: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    """Return name -> recipe file; a recipe is named after its file, or its folder where file names clash."""
    files: list[Path] = []
    for path in map(Path, [recipes] if isinstance(recipes, (str, Path)) else recipes):
        candidates = sorted(path.glob("*.toml"), key=natural_key) if path.is_dir() else [path]
        if not candidates:
            raise RecipeError([f"{path}: no recipes in it; expected files ending in .toml"])
        files += [file for file in candidates if file not in files]
    stems = Counter(file.stem for file in files)
    names = [f.stem if stems[f.stem] == 1 and f.stem != "recipe" else f.resolve().parent.name for f in files]
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates or not names:
        problem = f"{duplicates[0]}: {names.count(duplicates[0])} recipes of this name" if duplicates else "no recipes"
        raise RecipeError([f"{problem}; expected files with different names"])
    return dict(zip(names, files))


def _finish_run(
    run: Path, path: Path, recipe: Recipe, settings: dict[str, Any], baselines_known: bool, progress: Progress
) -> bool:
    """Fit a run unless it is finished, and return whether it holds the baselines."""
    if (run / "encoder" / "encoder.json").exists():
        results = read_results(run)
        if changed := _changed(recipe, run, results["recipe"], settings["train.seed"]):
            raise OutputError(f"{run}: holds a run with other settings ({'; '.join(changed)}); choose another folder")
        if not missing(run):
            progress.say(f"{run} is already finished")
            return len(results.get("evaluation", {}).get("results", {})) > 1
    resume = (run / "recipe.toml").exists()
    if resume:
        started = read_toml(run / "recipe.toml")
        settings = settings | {"evaluate.baselines": started["evaluate"]["baselines"]}
    elif baselines_known:
        settings = settings | {"evaluate.baselines": False}
    fit(path, overrides=settings, out=run, resume=resume, progress=NestedProgress(progress))
    if "evaluation" in missing(run):
        raise DataError(f"{run}: its evaluation failed; {command_line('report', run)} repeats it")
    return settings.get("evaluate.baselines", recipe.evaluate.baselines)


def _baselines_key(recipe: Recipe, seed: int) -> str:
    """Return a key that is equal for recipes with the same baselines."""
    record = recipe.to_dict()
    heads = [
        (name, recipe.options_of("objective", name))
        for name in recipe.objective.variants
        if registry().get("variant", name).load().implements("head")
    ]
    evaluate = {name: value for name, value in record["evaluate"].items() if name != "baselines"}
    return json.dumps([record["data"], record["encoder"], heads, evaluate, seed], sort_keys=True)


def _changed(recipe: Recipe, run: Path, finished: Mapping[str, Any], seed: int) -> list[str]:
    """Return how a finished run's recipe differs from this one, apart from the baselines and defaults that depend on the data.

    Args:
        recipe: this recipe.
        run: folder of the finished run.
        finished: its recipe, as its results record it.
        seed: of this run.
    """
    now = flatten_settings(portable_recipe(recipe.with_train(seed=seed).with_plugin_defaults(), run).to_dict())
    before = flatten_settings(finished)
    unset = [name for name in ("epochs", "batch_size") if name not in recipe.train.model_fields_set]
    free = {"evaluate.baselines", "evaluate.pretrained", *(f"train.{name}" for name in unset)}
    if "dim" not in recipe.encoder.model_fields_set:
        free.add("encoder.dim")
    if recipe.train.precision == "auto":
        free.add("train.precision")
    if recipe.objective.loss == "auto":
        free.add("objective.loss")
    if not recipe.objective.variants and not recipe.objective.pretexts:
        free |= {name for name in before if name.startswith("objective.")} - {"objective.loss"}
    if recipe.encoder.backbone == "auto":
        free |= {name for name in before if name.startswith("encoder.") and name.count(".") > 1} | {"encoder.backbone"}
    # The record of a run names places relative to its folder.
    free |= {name for name in _PLACES if same_place(now.get(name), before.get(name), None, run)}
    names = sorted({*now, *before} - free)
    return [f"{n} was {before.get(n)!r}, is {now.get(n)!r}" for n in names if now.get(n) != before.get(n)]
