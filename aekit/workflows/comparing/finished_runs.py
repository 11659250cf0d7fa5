"""Run folders that are finished: where they are, and what their results.json says."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.data.readers.folders import natural_key
from aekit.errors import DataError, IdentityError
from aekit.io.atomic import read_json
from aekit.workflows.comparing.differences import flatten_settings

ENCODER = "encoder"
_FREE = {"train.seed", "train.device", "train.checkpoint_seconds", "data.source", "data.strict"}
"""Settings in which runs of one recipe may differ; what is in [evaluate] may, too."""
_PLAIN = {
    "explained": ("metrics", "explained"),
    "psnr": ("metrics", "psnr"),
    "mse": ("metrics", "mse"),
    "seconds": ("trained", "seconds"),
    "parameters": ("cost", "parameters"),
    "bytes": ("cost", "embedding_bytes"),
    "samples/s": ("cost", "samples_per_second"),
}
"""Where in results.json each number is."""

Score = tuple[float, float | None, float | None]
"""A value and the ends of its 95 % interval."""


def find_runs(path: Path) -> list[Path]:
    """The run folders at or below a folder, finished or not, in natural order.

    Raises:
        DataError: no such folder, or no runs in it.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected a run, or a folder of runs")
    found = []
    for here, folders, files in os.walk(path):
        if {"results.json", "log.jsonl"} & set(files) or "checkpoint" in folders:
            found.append(Path(here))
            folders.clear()
    if not found:
        raise DataError(f"{path}: no runs in it; expected folders such as aekit fit -o writes")
    return sorted(found, key=natural_key)


class FinishedRun:
    """What a run that was finished and evaluated says of itself.

    Attributes:
        digest: of its encoder.
        seed: ``train.seed``.
        origin, options, samples: the data that it was judged on: its name, how it was opened, and how many there were.
        tested: samples in the test part.
        notes: of the evaluation.
        settings: of the recipe, by dotted names: those that make it another recipe. The data and the evaluators do not.
        encoder: of these, the encoder's.
        scores: ``encoder`` and the controls -> (evaluator and metric, its options as JSON) -> its first figure.
        plain: further numbers: ``explained``, ``psnr``, ``mse``, ``seconds``, ``parameters``, ``bytes`` (of an embedding),
            ``samples/s``, as far as they are known.

    Raises:
        DataError: why it cannot be compared.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / "checkpoint").exists() or not (folder / "results.json").exists():
            raise DataError("unfinished; aekit fit with --resume goes on with it")
        try:
            self._read(read_json(folder / "results.json"))
        except IdentityError as error:
            raise DataError(str(error)) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"its results.json is not that of a run ({type(error).__name__}: {error})") from None

    def _read(self, results: Any) -> None:
        recipe, evaluation = flatten_settings(results["recipe"]), results.get("evaluation")
        if not evaluation or not evaluation["results"].get(ENCODER):
            raise DataError("not evaluated; name evaluators in [evaluate] of its recipe")
        self.digest, self.seed = results["digest"], recipe["train.seed"]
        self.origin, counts = results["data"]["data"], evaluation["counts"]
        self.samples, self.tested, self.notes = counts["samples"], counts["test"], evaluation["notes"]
        # What it is to be turned into is no part of the data that it was judged on.
        target = {name for name in recipe if name.startswith("data.target")}
        opened = {name for name in recipe if name.startswith("data.") and name.count(".") > 1} - target
        self.options = {name: recipe[name] for name in recipe if name in opened}
        self.settings = {
            name: value
            for name, value in recipe.items()
            if name not in _FREE | opened and not name.startswith("evaluate.")
        }
        self.encoder = {name: value for name, value in self.settings.items() if name.startswith("encoder.")}
        self.scores = {subject: _scores(found, recipe) for subject, found in evaluation["results"].items()}
        found = {name: results.get(section, {}).get(key) for name, (section, key) in _PLAIN.items()}
        self.plain = {name: value for name, value in found.items() if value is not None}
        self.plain.setdefault("bytes", 4 * counts["dim"])  # float32; runs of before did not say so

    @property
    def data(self) -> str:
        """The same for runs that were judged on the same data."""
        return json.dumps([self.origin, self.options, self.samples], sort_keys=True)


def _scores(found: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[tuple[str, str], Score]:
    scores = {}
    for name, result in found.items():
        metric, figure = next(iter(result["metrics"].items()))
        options = {n: v for n, v in recipe.items() if n.startswith(f"evaluate.{name}.") and not n.endswith(".seed")}
        key = f"{name} {metric.replace('_', ' ')}", json.dumps(options, sort_keys=True)
        scores[key] = figure["value"], figure.get("low"), figure.get("high")
    return scores
