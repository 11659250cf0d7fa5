"""Select evaluators by name and by the labels that they need, and run one so that its failure is an error of one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from aekit.errors import AekitError, PluginError, RecipeError, closest_name
from aekit.evaluation._concurrency import concurrently
from aekit.evaluation._processes import EvaluatorProcesses
from aekit.evaluation.groups import expand_groups
from aekit.evaluation.labels import TAG_BY_KIND, TARGET_DESCRIPTIONS, Targets
from aekit.evaluation.results import Result, Split, as_result
from aekit.registry.discovery import Plugin, prints_to_stderr, registry
from aekit.registry.options import options_model, validate_options
from aekit.registry.session import plugin_names


def select_evaluators(
    names: Any,
    targets: Targets | None,
    options: Mapping[str, Mapping[str, Any]],
    seed: int,
    notes: list[str],
) -> dict[str, tuple[Plugin, dict[str, Any], bool]]:
    """Return name -> plugin, options, and whether the evaluator uses these labels; note which ones are skipped."""
    requested = None if names is None else plugin_names("evaluator", names, "evaluators")
    available = registry().by_kind("evaluator")
    if requested is None:
        slow = [plugin.name for plugin in available if "slow" in plugin.entry.tags]
        plugins = [plugin for plugin in available if plugin.name not in slow]
        if slow:
            notes.append(f"skipped as slow: {', '.join(slow)}; name them, or all, to run them")
    else:
        members = expand_groups(requested, labeled=targets is not None)
        plugins = [registry().get("evaluator", name, required_by="evaluate") for name in members]
    titles = _plugin_titles(plugins)
    possible = {
        *titles,
        *expand_groups(requested or ()),
    }  # a recipe's groups have the same members with and without labels
    unknown = [name for name in options if name not in possible]
    if unknown:
        raise RecipeError(
            [f"evaluate.{name}: not a selected evaluator{closest_name(name, titles)}" for name in unknown]
        )
    selected, skipped = {}, []
    for title, plugin in titles.items():
        uses_labels = targets is not None and (
            targets.kind == "classes" or TAG_BY_KIND[targets.kind] in plugin.entry.tags
        )
        if "labels" in plugin.entry.tags and not uses_labels:
            skipped.append(title)
            continue
        try:
            function = plugin.load()
        except PluginError as error:
            if requested is not None and title in requested:
                raise
            notes.append(f"skipped {title}: {error}")
            continue
        settings = dict(options.get(title, {}))
        if "seed" in options_model(function).model_fields:
            settings.setdefault("seed", seed)
        selected[title] = (plugin, validate_options(plugin, settings, f"evaluate.{title}"), uses_labels)
    if skipped:
        needed = "labels"
        if targets is not None:
            needed = f"{TARGET_DESCRIPTIONS['classes']}, and the labels are {TARGET_DESCRIPTIONS[targets.kind]}"
        notes.append(f"skipped, as they need {needed}: {', '.join(skipped)}")
    return selected


def run_evaluators(
    selected: Mapping[str, tuple[Plugin, dict[str, Any], bool]],
    features: np.ndarray,
    values: np.ndarray | None,
    split: Split,
    processes: EvaluatorProcesses,
) -> Iterator[tuple[str, Result | AekitError]]:
    """Run evaluators on one subject: those tagged ``concurrent`` side by side, then the others one by one.

    Most of the work is in small products and sorts, which several threads each slow down; so each evaluator has a share of
    the threads, one on two cores. Those that took longest on the subject before start first.

    Args:
        selected: name -> plugin, options, and whether the evaluator uses the labels.
        features: (N, D) embeddings.
        values: (N,) or (N, L) targets, or None.
        split: positions in both.
        processes: that run some of those side by side.

    Yields:
        Name and result, or the one-line error of an evaluator that refuses the data or whose code fails; in the order of
        `selected`.
    """

    def outcome(name: str, run: Callable[..., Result] = run_evaluator) -> Result | AekitError:
        plugin, settings, uses_labels = selected[name]
        started = time.perf_counter()
        try:
            return run(plugin, features, values if uses_labels else None, split, settings)
        except AekitError as error:
            return error
        finally:
            processes.seconds[name] = time.perf_counter() - started

    beside = partial(processes.run, run_evaluator)
    together = [name for name, (plugin, _, _) in selected.items() if "concurrent" in plugin.entry.tags]
    together.sort(key=lambda name: -processes.seconds.get(name, 0))
    with prints_to_stderr(), concurrently(len(together)) as submit:
        started = {name: submit(outcome, name, beside) for name in together}
        for name in list(selected):
            yield name, started[name].result() if name in started else outcome(name)


def run_evaluator(
    plugin: Plugin, features: np.ndarray, values: np.ndarray | None, split: Split, settings: dict[str, Any]
) -> Result:
    """Run one evaluator.

    Raises:
        AekitError: the evaluator refuses the data, or its code fails; the line names the plugin.
    """
    try:
        result = as_result(plugin.load()(features, values, split, **settings), plugin.name)
        if not result.metrics:
            raise TypeError("it returns a Result without metrics")
    except AekitError:
        raise
    except Exception as error:  # code of others: it costs its own column
        raise plugin.failure(error) from error
    return result


def _plugin_titles(plugins: list[Plugin]) -> dict[str, Plugin]:
    names = [plugin.name for plugin in plugins]
    return {plugin.qualified if names.count(plugin.name) > 1 else plugin.name: plugin for plugin in plugins}
