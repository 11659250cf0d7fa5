"""Find finished runs, and read their results.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.data.locations import resolved
from aekit.data.readers.folders import natural_key
from aekit.errors import DataError, IdentityError, printable
from aekit.evaluation.run_results import read_results
from aekit.registry.overrides import flatten_settings

ENCODER = "encoder"
_FREE = {"train.seed", "train.device", "train.checkpoint_seconds", "data.source", "data.strict"}
"""Settings in which runs of one recipe may differ, besides those in [evaluate]."""
_PLAIN = {
    "explained": ("metrics", "explained"),
    "psnr": ("metrics", "psnr"),
    "mse": ("metrics", "mse"),
    "seconds": ("trained", "seconds"),
    "parameters": ("cost", "parameters"),
    "bytes": ("cost", "embedding_bytes"),
    "samples/s": ("cost", "samples_per_second"),
}
"""Column -> the section and the key of its number in results.json."""

Score = tuple[float, float | None, float | None]
"""A value and the ends of its 95% interval."""


def find_runs(path: Path) -> list[Path]:
    """Return the run folders at or below a folder, finished or not, in natural order.

    Raises:
        DataError: no such folder, or no runs in it.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected a run, or a folder of runs")
    runs = []
    for folder, folders, files in os.walk(path):
        if {"results.json", "log.jsonl"} & set(files) or "checkpoint" in folders:
            runs.append(Path(folder))
            folders.clear()
    if not runs:
        raise DataError(f"{path}: no runs in it; expected folders such as aekit fit -o writes")
    return sorted(runs, key=natural_key)


class FinishedRun:
    """The results of a run that was finished and evaluated.

    Attributes:
        folder: folder of the run.
        digest: digest of its encoder.
        seed: ``train.seed``.
        origin: name of the data that it was evaluated on.
        options: options that the data was opened with.
        samples: number of samples.
        tested: number of test samples.
        notes: notes of the evaluation.
        settings: settings that identify the recipe, by dotted names; those of the data and the evaluators do not.
        encoder: the settings of the encoder among them.
        scores: subject -> (evaluator and metric, options as JSON) -> value and interval of the primary metric.
        plain: ``explained``, ``psnr``, ``mse``, ``seconds``, ``parameters``, ``bytes`` (of an embedding) and ``samples/s``, where
            known.

    Raises:
        DataError: the run is unfinished, was not evaluated, or its results are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / "checkpoint").exists() or not (folder / "results.json").exists():
            raise DataError("unfinished; aekit fit --resume continues it")
        try:
            self._read(read_results(folder))
        except IdentityError as error:
            raise DataError(str(error)) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"results.json is not that of a run ({type(error).__name__}: {printable(str(error))})"
            ) from None

    def _read(self, results: Any) -> None:
        recipe, evaluation = flatten_settings(results["recipe"]), results.get("evaluation")
        if not evaluation or not evaluation["results"].get(ENCODER):
            raise DataError(
                "not evaluated; name evaluators in [evaluate] of its recipe, or in aekit.fit(..., evaluators=[...]). "
                "aekit.evaluate(..., compare_with={NAME: EMBEDDINGS}) compares embeddings of the same samples"
            )
        self.digest, self.seed = results["digest"], recipe["train.seed"]
        self.origin, counts = resolved(results["data"]["data"], self.folder), evaluation["counts"]
        self.samples, self.tested, self.notes = counts["samples"], counts["test"], evaluation["notes"]
        # The target of a restoration is not part of the data that the run was evaluated on.
        target = {name for name in recipe if name.startswith("data.target")}
        opened = {name for name in recipe if name.startswith("data.") and name.count(".") > 1} - target
        self.options = {name: recipe[name] for name in recipe if name in opened}
        self.settings = {
            name: value
            for name, value in recipe.items()
            if name not in _FREE | opened and not name.startswith("evaluate.")
        }
        self.encoder = {name: value for name, value in self.settings.items() if name.startswith("encoder.")}
        # Metrics of a sample of the data are not those of all of it: they get a column of their own.
        mode = {"mode": evaluation.get("mode", "thorough")}
        self.scores = {subject: _scores(by_name, recipe, mode) for subject, by_name in evaluation["results"].items()}
        numbers = {name: results.get(section, {}).get(key) for name, (section, key) in _PLAIN.items()}
        self.plain = {name: value for name, value in numbers.items() if value is not None}
        self.plain.setdefault("bytes", 4 * counts["dim"])  # float32, if the run does not say

    @property
    def data(self) -> str:
        """Key that is equal for runs that were evaluated on the same data."""
        return json.dumps([self.origin, self.options, self.samples], sort_keys=True)


def _scores(
    by_name: Mapping[str, Any], recipe: Mapping[str, Any], mode: Mapping[str, str]
) -> dict[tuple[str, str], Score]:
    scores = {}
    for name, result in by_name.items():
        metric, value = next(iter(result["metrics"].items()))
        options = {n: v for n, v in recipe.items() if n.startswith(f"evaluate.{name}.") and not n.endswith(".seed")}
        options |= {f"evaluate.{name}.{key}": value for key, value in mode.items()}
        key = f"{name} {metric.replace('_', ' ')}", json.dumps(options, sort_keys=True)
        scores[key] = value["value"], value.get("low"), value.get("high")
    return scores
