"""Select evaluators by name and by the labels that they need, and run one so that its failure is an error of one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aekit.errors import AekitError, PluginError, RecipeError, closest_name
from aekit.evaluation.groups import expand_groups
from aekit.evaluation.labels import TAG_BY_KIND, TARGET_DESCRIPTIONS, Targets
from aekit.evaluation.results import Result, Split, as_result
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import model_of_plugin, validate_options
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
    titles = _plugin_titles(_requested_plugins(requested, targets, notes))
    # A recipe's groups have the same members with and without labels.
    possible = {*titles, *expand_groups(requested or ())}
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
            model = model_of_plugin(plugin)
        except PluginError as error:
            if requested is not None and title in requested:
                raise
            notes.append(f"skipped {title}: {error}")
            continue
        settings = dict(options.get(title, {}))
        if "seed" in model.model_fields:
            settings.setdefault("seed", seed)
        selected[title] = (plugin, validate_options(plugin, settings, f"evaluate.{title}"), uses_labels)
    if skipped:
        needed = "labels"
        if targets is not None:
            needed = f"{TARGET_DESCRIPTIONS['classes']}, and the labels are {TARGET_DESCRIPTIONS[targets.kind]}"
        notes.append(f"skipped, as they need {needed}: {', '.join(skipped)}")
    return selected


def _requested_plugins(requested: Sequence[str] | None, targets: Targets | None, notes: list[str]) -> list[Plugin]:
    """Return the evaluators of these names or groups; None: all but the slow ones, which a note names."""
    if requested is not None:
        members = expand_groups(requested, labeled=targets is not None)
        return [registry().get("evaluator", name, required_by="evaluate") for name in members]
    available = registry().by_kind("evaluator")
    slow = [plugin.name for plugin in available if "slow" in plugin.entry.tags]
    if slow:
        notes.append(f"skipped as slow: {', '.join(slow)}; name them, or all, to run them")
    return [plugin for plugin in available if plugin.name not in slow]


def run_evaluator(
    plugin: Plugin, features: np.ndarray, values: np.ndarray | None, split: Split, settings: dict[str, Any]
) -> Result:
    """Run one evaluator.

    Raises:
        AekitError: the evaluator refuses the data, or its code fails; the line names the plugin.
    """
    try:
        return as_result(plugin.load()(features, values, split, **settings), str(plugin), split)
    except AekitError:
        raise
    except (Exception, SystemExit) as error:  # code of others: it costs its own column
        raise plugin.failure(error) from error


def _plugin_titles(plugins: list[Plugin]) -> dict[str, Plugin]:
    names = [plugin.name for plugin in plugins]
    return {plugin.qualified if names.count(plugin.name) > 1 else plugin.name: plugin for plugin in plugins}
