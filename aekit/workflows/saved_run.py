"""Complete a trained run: evaluate it, render its report and write its model card, each from the saved run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from aekit._arguments import checked_arguments
from aekit.data.locations import resolved_origin
from aekit.data.opening import open_data, reopen
from aekit.data.samples import Samples
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.encoder.identity import find_encoder_folder, read_description
from aekit.encoder.model_card import model_card
from aekit.errors import AekitError, AekitWarning, DataError
from aekit.evaluation.card_record import card_fields
from aekit.evaluation.checks.training_metrics import training_metrics
from aekit.evaluation.run_results import RESULTS, read_results, write_results
from aekit.evaluation.saved_predictions import FILE, evaluation_of, load_predictions, save_predictions
from aekit.io.atomic import folder_lock, write_text
from aekit.io.device import choose_device
from aekit.io.manifests import check_files, checksums
from aekit.io.remote import refuse_remote
from aekit.io.shell import command_line
from aekit.objectives.base import Objective
from aekit.progress import SILENT, Progress, warn
from aekit.progress_display import ProgressOption, open_progress
from aekit.report.run_page import run_page
from aekit.training.build import find_autoencoder
from aekit.training.recipe import Recipe, read_recipe
from aekit.training.training_data import load_training_samples, training_targets
from aekit.workflows._recipe_evaluation import evaluate_encoder
from aekit.workflows._saved_objective import load_objective

PAGE = "report.html"


class UnfinishedWarning(AekitWarning):
    """An encoder was trained and saved, but its evaluation or its report failed."""


@dataclass
class SavedRun:
    """A run whose encoder is saved, with its data.

    Attributes:
        folder: the run folder.
        recipe: the resolved recipe.
        source: the data, training samples and others.
        samples: the training samples.
        targets: the clean samples to reconstruct, or None to reconstruct the samples themselves.
        device: device to compute on.
        progress: receives lines and bars.
    """

    folder: Path
    recipe: Recipe
    source: Source
    samples: Samples
    targets: Samples | None
    device: torch.device
    progress: Progress = SILENT

    @cached_property
    def objective(self) -> Objective:
        """The trained objective, loaded from the folder."""
        return load_objective(self.folder, self.recipe, self.device)

    @property
    def results(self) -> dict[str, Any]:
        """The contents of ``results.json``."""
        return read_results(self.folder)

    def evaluate(self) -> None:
        """Run the evaluators of the recipe, and add their results to ``results.json``."""
        autoencoder = find_autoencoder(self.objective) if self.targets is None else None
        evaluation, rows = evaluate_encoder(
            self.objective.encoder, autoencoder, self.source, self.recipe, progress=self.progress
        )
        results = self.results | {"evaluation": evaluation.to_dict()}
        if rows is not None:
            save_predictions(evaluation, rows, self.folder)
            results["sha256"] |= checksums(self.folder, [FILE])
        write_results(self.folder, results)
        self.progress.show_result(evaluation.text())

    def report(self, *, thorough: bool = False) -> None:
        """Write ``report.html``, `thorough` as in `make_report`; add its findings to ``results.json`` and the model card."""
        results = self.results
        # Predictions may be removed, but not changed.
        removed = {FILE} - {path.name for path in self.folder.glob(FILE)}
        known = {name: digest for name, digest in results["sha256"].items() if name not in removed}
        needed = {FILE} - removed if "evaluation" in results else ()
        check_files(self.folder, known, "fit the run again", needed=needed, manifest=RESULTS)
        evaluation, rows = None, None
        if "evaluation" in results:
            predictions = load_predictions(self.folder)
            rows = predictions.get("rows")
            evaluation = evaluation_of(results["evaluation"], predictions)
        page = run_page(
            self.objective,
            self.source,
            self.samples,
            self.folder,
            results,
            targets=self.targets,
            evaluation=evaluation,
            rows=rows,
            thorough=thorough,
            progress=self.progress,
        )
        write_results(self.folder, results | {"findings": [list(finding) for finding in page.findings]})
        self._try("model card", self.write_card)
        write_text(self.folder / PAGE, page.html)  # last, as its presence means that the others are complete

    def write_card(self) -> None:
        """Rewrite the encoder's ``README.md`` with the evaluation and the findings."""
        folder = find_encoder_folder(self.folder)
        for leftover in folder.glob("README.md.*.part"):  # of a killed process
            leftover.unlink()
        write_text(folder / "README.md", model_card(read_description(folder) | card_fields(self.results)))

    def finish(self, *, report: bool = True) -> None:
        """Create the missing evaluation, the model card and, if asked for, the report. If one fails, a warning names it."""
        self.add_evaluation()
        if not report or not self._try("report", self.report):
            self._try("model card", self.write_card)

    def add_evaluation(self) -> None:
        """Run the evaluators of the recipe if ``results.json`` lacks their results. If they fail, a warning says so."""
        if "evaluation" in missing(self.folder):
            self._try("evaluation", self.evaluate)

    def _try(self, name: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except Exception as error:  # a plugin, a full disk: the caller must still get the saved encoder
            retry = command_line("report", self.folder) if "source" in self.results["data"] else "fit with resume=True"
            warn(f"{name} failed: {one_line(error)}; the encoder is saved, retry with {retry}", UnfinishedWarning)
            return False
        return True


@checked_arguments
def make_report(
    run: str | Path, *, thorough: bool = False, device: str | None = None, progress: ProgressOption = None
) -> Path:
    """Rebuild the report of a run from its folder and its data.

    The evaluators of the recipe run only if ``results.json`` has no evaluation.

    Args:
        run: folder of a run.
        thorough: whether the report of a short run has what that of a long one has: a map by t-SNE, clusters, and, where
            there are labels, a comparison with raw input, PCA and random weights. By default it costs about a tenth of the run.
        device: name of a device; by default that of the recipe.
        progress: shows messages and bars, as in `aekit.fit`.

    Returns:
        the path of ``report.html``.

    Raises:
        DataError: there is no trained run in the folder, or its data is not available.
        OutputError: the report cannot be written.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp", out="run", report=False)
        >>> aekit.make_report("run").name
        'report.html'
    """
    progress = open_progress(progress)
    refuse_remote(run, "a report, into its run,")
    folder = Path(run)
    _check_trained(folder)
    with folder_lock(folder):
        saved = reopened(folder, device=device, progress=progress)
        saved.add_evaluation()
        saved.report(thorough=thorough)
    return folder / PAGE


def reopened(folder: Path, data: Any = None, *, device: str | None = None, progress: Progress = SILENT) -> SavedRun:
    """Open a trained run and its data.

    Args:
        folder: the run folder.
        data: the data of a run that was trained on data in memory.
        device: name of a device; by default that of the recipe.
        progress: receives a bar if reading is slow.

    Raises:
        DataError: the data is not available.
    """
    _check_trained(folder)
    recipe = read_recipe(folder / "recipe.toml")
    chosen_device = choose_device(device or recipe.train.device, "device" if device else "train.device")
    results = read_results(folder)
    origin = resolved_origin(results["data"], folder)
    spec = SampleSpec.from_dict(read_description(folder)["spec"])
    try:
        if "source" in origin:
            source = reopen(origin, like=spec, near=folder)
        elif data is None or isinstance(data, (str, Path)):
            raise DataError("it was in memory; call aekit.fit with the data, out and resume=True")
        else:
            source = open_data(data, like=spec)
        samples = load_training_samples(source, recipe.data, chosen_device, progress=progress)
        targets = training_targets(recipe, source, samples, chosen_device, progress)
    except AekitError as error:
        raise DataError(f"{folder}: its training data is not available: {error}") from None
    return SavedRun(folder, recipe, source, samples, targets, chosen_device, progress)


def missing(folder: Path, *, report: bool = True) -> list[str]:
    """Return the missing parts of a trained run: ``evaluation``, ``report``.

    Args:
        folder: the run folder.
        report: whether a missing report counts.
    """
    if not (folder / RESULTS).is_file():
        return ["results"]
    results = read_results(folder)
    parts = []
    if results["recipe"].get("evaluate", {}).get("evaluators") and "evaluation" not in results:
        parts.append("evaluation")
    if report and not (folder / PAGE).is_file():
        parts.append("report")
    return parts


def measure(
    objective: Objective, samples: Samples, targets: Samples | None, progress: Progress = SILENT
) -> dict[str, float]:
    """Compute metrics on training samples, and say if the reconstruction is useless; a failure must not lose the encoder."""
    try:
        metrics = training_metrics(objective.encoder, samples, find_autoencoder(objective), targets)
    except Exception as error:
        warn(f"the metrics on training samples failed: {one_line(error)}", UnfinishedWarning)
        return {}
    if metrics.get("explained", metrics.get("features_explained", 1.0)) <= 0:
        progress.say(
            "reconstruction: no closer to the training samples than their mean; "
            "train for longer (--epochs), or with another learning rate (--lr) or variant"
        )
    return metrics


def one_line(error: Exception) -> str:
    """Return the message of an error in one line; for an unexpected error with its place in the code."""
    if isinstance(error, AekitError):
        return "; ".join(str(error).splitlines())
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}{place}"


def _check_trained(folder: Path) -> None:
    find_encoder_folder(folder)
    for name in ("recipe.toml", RESULTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: has no {name}; expected a run folder, as written by aekit fit -o")
