"""Run a recipe: from data to a trained, frozen encoder, in a run folder or in memory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from aekit._arguments import checked_arguments
from aekit.data.locations import portable_record
from aekit.data.opening import open_data
from aekit.data.readers.folders import warn_if_inside
from aekit.data.samples import Samples
from aekit.data.shared_samples import leave
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder, check_programs
from aekit.encoder.freezing import freeze
from aekit.encoder.loading import load
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import DataError, OutOfMemoryError, OutputError, RecipeError
from aekit.evaluation.card_record import card_fields, evaluation_record
from aekit.evaluation.run_results import read_results, write_results
from aekit.io.atomic import explain_write_errors, folder_lock, write_text
from aekit.io.device import choose_device
from aekit.io.manifests import checksums
from aekit.io.processes import Ranks, check_alike, decide, joined
from aekit.io.torchrun import is_restarted, is_silent
from aekit.objectives.base import Objective
from aekit.objectives.saved_pretexts import FOLDER, SHOWN, save_pretexts, save_shown
from aekit.progress import SILENT, Progress, warn
from aekit.progress_display import ProgressOption, open_progress
from aekit.training.build import find_autoencoder
from aekit.training.cost import size_setting
from aekit.training.defaults import resolve_defaults
from aekit.training.initial_weights import initial_scaling
from aekit.training.low_rank_updates import merge_low_rank_updates
from aekit.training.phases import Interrupted, TrainingResult, make_phases, train_phases
from aekit.training.recipe import Recipe
from aekit.training.run_recipe import recipe_and_data, recipe_settings, shared_settings
from aekit.training.sharding import build_objective, explained_sharding
from aekit.training.training_data import list_skipped, load_training_samples, resolve_streaming, training_targets
from aekit.workflows._processes import fit_in_processes
from aekit.workflows._recipe_evaluation import check_evaluation, evaluate_encoder
from aekit.workflows._resuming import begin, check_finished_recipe, check_same_data, data_facts, resumes_unfinished
from aekit.workflows.saved_run import (
    SavedRun,
    UnfinishedWarning,
    measure,
    missing,
    one_line,
    reopened,
)

__all__ = ["Interrupted", "fit"]


@checked_arguments
def fit(
    data: Any,
    *,
    variants: Any = None,
    pretexts: Any = None,
    backbone: Any = None,
    evaluators: Any = None,
    dim: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    report: bool = True,
    processes: int = 1,
    progress: ProgressOption = None,
) -> Encoder:
    """Train an encoder without labels, and freeze it.

    The encoder is saved as soon as it is trained. A failure of its evaluation or report is a warning; `aekit.make_report`, or
    the same call with `resume`, creates what is missing.

    Args:
        data: data as `aekit.open_data` takes it, the path of a recipe (``.toml``), or a `Recipe`.
        variants: variants, the recipe's ``objective.variants``: a name or a class derived from `aekit.plugin.Variant`, or a list.
        pretexts: pretext tasks, the recipe's ``objective.pretexts``: likewise, of `aekit.plugin.Pretext`.
        backbone: the recipe's ``encoder.backbone``: a name; an ``nn.Module``, of which a copy is trained from its weights; or a
            class or function that returns one, called with the `aekit.plugin.SampleSpec` if it takes an argument.
        evaluators: evaluators to run after training, the recipe's ``evaluate.evaluators``: a name, a function of embeddings,
            labels and split, or a list.
        dim: dimensions of the embedding, the recipe's ``encoder.dim``.
        epochs: passes over the data, the recipe's ``train.epochs``.
        lr: learning rate, ``train.lr``.
        batch_size: samples in a step, ``train.batch_size``.
        device: device to train on, ``train.device``.
        seed: seed of all random draws, ``train.seed``.
        overrides: recipe settings by dotted name: ``{"train.lr": 1e-3, "objective.denoising.noise": "blocks"}``.
        out: run folder, which makes the run resumable; without it nothing is written.
        resume: resume the interrupted run in `out`, or create its missing evaluation and report.
        report: whether to write ``report.html`` into `out`.
        processes: number of processes to train in, which share each batch; they need `out`, and data and plugins that all can
            open. torchrun starts such processes on several machines.
        progress: None shows choices with their reasons, and bars, on a terminal and in a notebook, and is silent elsewhere;
            True shows them everywhere, False nowhere; or a `Progress` that receives them.

    Returns:
        the encoder; `encoder.record["metrics"]` holds its metrics on the training data. With
            ``train.sharding`` under torchrun only the first process has its weights.

    Raises:
        RecipeError, DataError, PluginError: the recipe, the data or a plugin is invalid.
        OutputError: `out` holds another run, or a network that is code of this session cannot be kept in it.
        TrainingError: the loss stopped being finite, or `out` holds the checkpoint of another recipe.
        Interrupted: Ctrl-C; the state is saved if there is a run folder.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", variants=["denoising"], dim=2, epochs=1, backbone="mlp", out="run")
        >>> encoder.embed("sklearn:digits").vectors.shape
        (1797, 2)
        >>> aekit.load("run").digest == encoder.digest
        True
    """
    progress = open_progress(progress)
    plugins = {"variants": variants, "pretexts": pretexts, "evaluators": evaluators, "backbone": backbone}
    train = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "device": device, "seed": seed}
    settings = recipe_settings(plugins, dim, train, overrides or {})
    recipe, raw = recipe_and_data(data, settings)
    if processes != 1:
        return fit_in_processes(processes, recipe, raw, out, resume=resume, report=report, progress=progress)
    with ExitStack() as stack:
        ranks = stack.enter_context(joined(shared_settings(recipe, out)))
        progress = SILENT if is_silent() else progress
        if out is None:
            return _Run(recipe, raw, None, progress, ranks=ranks).go(resume=False)
        folder = Path(out)
        if decide(ranks, (folder / "encoder" / "encoder.json").exists):
            if is_silent():
                return load(folder)
            return _finish(folder, recipe, raw, progress, resume=resume or is_restarted(), report=report)
        resume = decide(ranks, lambda: resumes_unfinished(folder, resume or (is_restarted() and folder.exists())))
        existed = folder.exists()
        decide(ranks, lambda: stack.enter_context(folder_lock(folder)))
        try:
            return _Run(recipe, raw, folder, progress, report=report, ranks=ranks).go(resume=resume)
        except (RecipeError, DataError, OutOfMemoryError):
            # Nothing was trained: remove the folder, so that the next attempt can use it.
            if not existed and not is_silent() and not (folder / "checkpoint" / "state.safetensors").exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _finish(folder: Path, recipe: Recipe, data: Any, progress: Progress, *, resume: bool, report: bool) -> Encoder:
    """Create what is missing from a trained run, if resuming with the same recipe and data, and load its encoder."""
    parts = missing(folder, report=report)
    if not resume:
        unfinished = f"a trained run without its {' and '.join(parts)}; resume=True (--resume) continues it, or"
        state = unfinished if parts else "a finished run; resume=True (--resume) keeps it, or"
        raise OutputError(f"{folder}: holds {state} choose another folder as out (-o)")
    _Run(recipe, data, folder, SILENT).check_finished()
    if parts:
        with folder_lock(folder):
            progress.say(f"{folder} is already trained; creating its {' and '.join(parts)}")
            reopened(folder, data, progress=progress).finish(report=report)
    else:
        progress.say(f"{folder} is already finished; nothing to resume")
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # a process that was stopped at its very end may leave it
    return load(folder)


class _Run:
    """One run, step by step: data, encoder, objective, loop, results."""

    def __init__(
        self,
        recipe: Recipe,
        data: Any,
        folder: Path | None,
        progress: Progress,
        *,
        report: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        self.recipe, self.data, self.folder, self.progress, self.report = recipe, data, folder, progress, report
        self.ranks, device = ranks, choose_device(recipe.train.device, "train.device")
        self.device = ranks.device(device) if ranks else device
        self.facts: dict[str, Any] = {}

    def check_finished(self) -> None:
        """Check that the recipe and the data are those of the trained run in the folder."""
        assert self.folder is not None
        set_fields = self.recipe.train.model_fields_set
        source, samples, _, _ = self._prepare()
        check_finished_recipe(self.folder, self.recipe, set_fields)
        known = read_results(self.folder).get("training_data", {})
        check_same_data(self.folder, known, data_facts(source, samples))

    def _prepare(self) -> tuple[Source, Samples, Samples | None, Preprocess]:
        """Read the data, and resolve the recipe from it."""
        source = open_data(self.data, dict(self.recipe.options.get("data", {})))
        warn_if_inside(self.folder, self.data)
        section, begun = self.recipe.data, self.folder
        samples = load_training_samples(source, section, self.device, self.ranks, begun=begun, progress=self.progress)
        if len(samples) < 2 and self.recipe.trains:
            skipped = f"; {len(source.skipped)} could not be used" if source.skipped else ""
            raise DataError(f"1 sample{skipped}: an encoder learns what differs between samples; expected 2 or more")
        targets = training_targets(self.recipe, source, samples, self.device, self.progress)
        self._describe_data(source, samples)
        preprocess, scaling = initial_scaling(self.recipe.encoder, samples)
        self.progress.say(f"scaling: {scaling}")
        self.recipe = resolve_defaults(self.recipe, samples, preprocess, targets, self.device, self.progress.say)
        self.recipe = resolve_streaming(self.recipe, samples, self.progress)
        return source, samples, targets, preprocess

    def go(self, *, resume: bool) -> Encoder:
        """Train, save, evaluate and report; return the frozen encoder."""
        source, samples, targets, preprocess = self._prepare()
        list_skipped(source, self.folder)
        build = partial(build_objective, self.recipe, samples.spec, preprocess)
        objective, shared = build(self.ranks, self.device, self.progress.say)
        if objective.encoder.backbone.note:
            self.progress.say(f"backbone: {objective.encoder.backbone.note}")
        self._resolve_frozen_loss(objective)
        check_evaluation(source, self.recipe, objective.encoder)
        if self.folder:
            check_programs(objective.encoder)
        with explained_sharding(self.recipe):
            trained = self._train(objective, source, samples, targets, resume)
        for backbone in shared:
            backbone.unshare(self.ranks)
        leave(samples, targets)
        if is_silent():
            return objective.encoder.eval()
        objective.to(self.device)
        list_skipped(source, self.folder)
        encoder, results = self._describe(objective, source, samples, targets, trained)
        if self.folder:
            self._save(objective, results, self.folder)
            saved = SavedRun(self.folder, self.recipe, source, samples, targets, self.device, self.progress)
            saved.finish(report=self.report)
            encoder.record |= card_fields(saved.results)
        elif self.recipe.evaluate.evaluators:
            self._evaluate(objective, source, targets)
        freeze(encoder, 0)
        return encoder

    def _describe_data(self, source: Source, samples: Samples) -> None:
        split = f" of the {self.recipe.data.split} split" if source.splits is not None else ""
        self.progress.say(f"data: {len(samples)} samples{split}, {samples.spec}")
        source.report_notes(self.progress)
        source.warn_of_skipped(self.folder / "skipped.csv" if self.folder else None)

    def _resolve_frozen_loss(self, objective: Objective) -> None:
        """Report the frozen stages, and resolve the loss, which depends on their output."""
        if not objective.encoder.frozen:
            return
        encoder = objective.encoder
        weights = f"weights of {self.recipe.encoder.weights}" if "weights" in encoder.record else "random weights"
        stages = len(encoder.backbone.stages)
        self.progress.say(f"frozen: the lowest {encoder.frozen} of {stages} stages, with {weights}")
        autoencoder = find_autoencoder(objective)
        if autoencoder is not None:
            self.recipe = self.recipe.with_objective(loss=autoencoder.loss_name)
            features, loss = autoencoder.trained_part.spec, autoencoder.loss_name
            self.progress.say(f"reconstruction: of the frozen features, {features}, not of the samples; loss: {loss}")

    def _train(
        self, objective: Objective, source: Source, samples: Samples, targets: Samples | None, resume: bool
    ) -> TrainingResult:
        if not self.recipe.trains:
            return self._keep(objective, source, samples, resume)
        phases = make_phases(self.recipe, objective, samples, targets, size_setting(source))
        self._write_recipe(resume, source, samples)
        self.samples_processed = sum(phase.samples for phase in phases)
        return train_phases(phases, self.folder, resume=resume, progress=self.progress)

    def _keep(self, objective: Objective, source: Source, samples: Samples, resume: bool) -> TrainingResult:
        """Train nothing, and keep the pretrained weights, or those of a backbone that training does not change."""
        origin, backbone = self.recipe.encoder.weights, objective.encoder.backbone
        if not origin and backbone.trains:
            raise RecipeError(["train.epochs = 0: nothing to train; set it, layerwise.epochs or encoder.weights"])
        kept = f"the weights of {origin}" if origin else backbone.initial
        self.progress.say(f"no training: the encoder keeps {kept}")
        objective.start(samples)
        self._write_recipe(resume, source, samples)
        if self.folder:
            write_text(self.folder / "log.jsonl", "")
        self.samples_processed = 0
        return TrainingResult(None, 0.0)

    def _write_recipe(self, resume: bool, source: Source, samples: Samples) -> None:
        """Write the resolved recipe of a new run; for a resumed run and other processes, check that it is unchanged."""
        folder, self.facts = self.folder, data_facts(source, samples) if self.folder or self.ranks else {}
        check_alike(self.ranks, {f"data: {name}": fact for name, fact in self.facts.items()})
        if folder:
            decide(self.ranks, lambda: begin(folder, self.recipe, self.facts, resume))

    def _describe(
        self, objective: Objective, source: Source, samples: Samples, targets: Samples | None, trained: TrainingResult
    ) -> tuple[Encoder, dict[str, Any]]:
        """Fill the record of the trained encoder; return it and the contents of ``results.json``."""
        encoder, trains = merge_low_rank_updates(objective.encoder.eval()), self.recipe.trains
        count, skipped = len(samples) if trains else 0, len(source.skipped)
        trained_on = {"samples": count, "skipped": skipped, "seconds": round(trained.seconds, 1)}
        training = {"trained": trained_on, "objective": self.recipe.to_dict()["objective"]}
        loss = {} if trained.loss is None else {"loss": trained.loss}
        metrics = measure(objective, samples, targets, self.progress) | loss
        encoder.record |= {
            "data": source.origin or {"data": self.recipe.data.source},
            **(training if trains else {}),
            **({"frozen": encoder.frozen} if encoder.frozen else {}),
            "metrics": metrics,
        }
        results = {"digest": encoder.digest, "recipe": self.recipe.to_dict(), **training, **encoder.record}
        results["training_data"] = self.facts
        results["cost"] = {
            "seconds": round(trained.seconds, 1),
            "samples_per_second": round(self.samples_processed / max(trained.seconds, 1e-9), 1),
            "parameters": sum(p.numel() for p in encoder.parameters()),
            "embedding_bytes": 4 * encoder.dim,
        }
        return encoder, results

    def _save(self, objective: Objective, results: dict[str, Any], folder: Path) -> None:
        """Write everything that was trained; the encoder comes last, as its folder marks the run as trained."""
        with explain_write_errors(folder):
            for name in ("decoder", FOLDER, SHOWN, "encoder.part"):
                shutil.rmtree(folder / name, ignore_errors=True)
            autoencoder = find_autoencoder(objective)
            if autoencoder is not None:
                autoencoder.save_decoder(folder / "decoder")
            save_pretexts(objective, folder)
            save_shown(objective, folder)
            write_results(folder, portable_record(results, folder) | {"sha256": checksums(folder, ["log.jsonl"])})
            objective.encoder.save(folder / "encoder")
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)

    def _evaluate(self, objective: Objective, source: Source, targets: Samples | None) -> None:
        """Evaluate an encoder that is not saved."""
        encoder, autoencoder = objective.encoder, find_autoencoder(objective) if targets is None else None
        try:
            evaluation, _ = evaluate_encoder(encoder, autoencoder, source, self.recipe, progress=self.progress)
        except Exception as error:
            retry = "retry with aekit.evaluate(encoder.embed(data))"
            warn(f"evaluation failed: {one_line(error)}; the encoder is trained, {retry}", UnfinishedWarning)
            return
        encoder.record["evaluation"] = evaluation_record(evaluation.to_dict())
        self.progress.show_result(evaluation.text())
