"""Render ``report.html`` of a run: what was trained, how good it is, and how to reproduce it."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from aekit.data.samples import Samples
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.model_card import describe_objective
from aekit.errors import DataError
from aekit.evaluation.checks.training_metrics import variance_spectrum
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.run import evaluate
from aekit.io.manifests import explain_read_errors
from aekit.objectives.base import Objective
from aekit.progress import SILENT, Progress
from aekit.report._effort import MAX_DIM, page_effort
from aekit.report._evaluation_cards import LEGEND, evaluation_cards, interval_charts
from aekit.report._findings import Finding, evaluation_headline, findings, findings_html
from aekit.report._neighbor_cards import neighbor_cards, top_activating
from aekit.report._snapshot import Snapshot, snapshot_map, take_snapshot
from aekit.report._task_examples import filter_card, task_example_cards
from aekit.training.build import find_autoencoder
from aekit.version import __version__
from aekit.visualization import charts
from aekit.visualization.page import Page, card, fact_table, headline, metric_tiles, preformatted, side_by_side

BARS = 64
PARTS = 9
"""Steps of the progress bar: the samples, their layout, and the seven tabs."""
_SHORT = "The run is short, and its page with it; aekit report RUN --thorough compares the encoder with baselines"
_WIDE = f"The embedding has more than {MAX_DIM:,} dimensions"
_LACKS = "The evaluation that the recipe asks for is missing; run aekit report RUN"
_HOW = "To compare an encoder with baselines: aekit embed RUN DATA -o embeddings, then aekit evaluate embeddings."
_ALL = "aekit embed RUN DATA -o embeddings, then aekit evaluate embeddings, evaluates all samples by all evaluators."

_NO_TERMS = ("step", "epoch", "lr")
Terms = dict[str, list[tuple[float, float]]]


class RunReport(NamedTuple):
    """Hold the HTML text of a run's page, and the findings about the run."""

    html: str
    findings: list[Finding]


def run_page(
    objective: Objective,
    source: Source,
    samples: Samples,
    folder: Path,
    results: Mapping[str, Any],
    *,
    targets: Samples | None = None,
    evaluation: Evaluation | None = None,
    rows: np.ndarray | None = None,
    thorough: bool = False,
    progress: Progress = SILENT,
) -> RunReport:
    """Render the page, and collect its findings.

    Args:
        objective: trained, with its encoder.
        source: of the data, training samples and others.
        samples: that it was trained on.
        folder: of the run, for its log and recipe.
        results: what ``results.json`` holds.
        targets: what is to be reconstructed from each sample, where that is not the sample.
        evaluation: at the end of the run, if there was one.
        rows: (N,) positions in the source of the embeddings that were evaluated, where they are known.
        thorough: whether the page of a short run is that of a long one, with an evaluation by each quick evaluator.
        progress: receives a bar.
    """
    encoder = objective.encoder
    autoencoder = find_autoencoder(objective) if targets is None else None
    if autoencoder is not None and not autoencoder.reconstructs_samples:
        autoencoder = None
    seed = int(results["recipe"]["train"]["seed"])
    effort = page_effort(results, encoder.spec, encoder.dim, encoder.device.type, thorough=thorough)
    page = Page(folder.name, _summary(encoder, results))
    with progress.task("report", PARTS, "parts") as task:
        snapshot = take_snapshot(
            encoder, source, samples, autoencoder=autoencoder, max_samples=effort.max_samples, seed=seed
        )
        task.advance(note="samples")
        if effort.structure or encoder.dim == 2:  # a code of two dimensions is its own map
            snapshot.project("auto")
        snapshot.project("pca")
        task.advance(note="layout")
        with explain_read_errors(folder / "log.jsonl"):
            records = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
            terms = _terms(records)
        without = _reason_without(encoder, results)
        quick, why_not = (None, "") if evaluation is not None else _quick(snapshot, effort.evaluators, seed, without)
        shown = evaluation or quick
        noticed = findings(results, _last_losses(records), snapshot, shown)

        def tabs() -> Iterator[tuple[str, Sequence[str]]]:
            yield (
                "Overview",
                [
                    *_answer(shown, why_not),
                    metric_tiles(_tiles(encoder, results)),
                    card("Findings", "", findings_html(noticed)),
                    *task_example_cards(page, objective, samples, targets, snapshot.sprites, seed),
                ],
            )
            yield "Map", _map(page, snapshot, effort.structure)
            yield "Neighbors", neighbor_cards(page, snapshot, seed)
            if evaluation is not None:
                yield "Evaluation", evaluation_cards(page, evaluation, source, rows, snapshot.sprites)
            elif quick is not None:
                below = f"A quick evaluation of {len(snapshot):,} samples, for this page alone. {_ALL}"
                below = f"{_LACKS}. {below}" if without == _LACKS else below
                yield "Evaluation", evaluation_cards(page, quick, source, snapshot.rows, snapshot.sprites, below=below)
            else:
                yield "Evaluation", [card("Not evaluated", f"{why_not} {_HOW}")]
            yield "Training", _training(terms)
            yield "Network", [filter_card(page, encoder), _spectrum(snapshot), top_activating(page, snapshot)]
            yield "Reproduce", _reproduce(encoder, folder, results)

        for title, cards in tabs():
            page.add(title, *cards)
            task.advance(note=title)
        return RunReport(page.html(), noticed)


def _reason_without(encoder: Encoder, results: Mapping[str, Any]) -> str:
    """Return why a run has no evaluation of its own, as a sentence without its full stop."""
    if results["recipe"].get("evaluate", {}).get("evaluators"):
        return _LACKS
    return _WIDE if encoder.dim > MAX_DIM else _SHORT


def _summary(encoder: Encoder, results: Mapping[str, Any]) -> str:
    objective, recipe = results["objective"], results["recipe"]
    if not results["trained"]["samples"]:
        weights = (
            f"the weights of {results['weights']['from']}, not trained further"
            if "weights" in results
            else encoder.backbone.initial
        )
        return f"{recipe['encoder']['backbone']}, {encoder.dim} dimensions, with {weights}"
    how = " + ".join(describe_objective(objective))
    return (
        f"{how}, {recipe['encoder']['backbone']} backbone, {encoder.dim} dimensions, trained without labels on "
        f"{results['trained']['samples']:,} samples of {_name_of(results)} ({encoder.spec}) in "
        f"{_duration(results['trained']['seconds'])}"
    )


def _name_of(results: Mapping[str, Any]) -> str:
    text = str(results["data"]["data"])
    source, colon, where = ("", "", text) if "/" in text.partition(":")[0] else text.rpartition(":")
    path = not colon or where.startswith(("/", "~"))
    return f"{source}{colon}{Path(where).name}" if path else text


def _answer(evaluation: Evaluation | None, why_not: str) -> list[str]:
    """Return the headline, and the primary metric of each evaluator next to its baselines; or why there is no evaluation."""
    if evaluation is None:
        return [headline(f"Not evaluated: {why_not[:1].lower()}{why_not[1:]}", "notice")]
    charts_of_metrics, _ = interval_charts(evaluation)
    test = evaluation.counts["test"]
    below = f"Primary metrics with their 95% intervals, on {test:,} test samples. {LEGEND}"
    return [
        evaluation_headline(evaluation),
        card("Compared with baselines", below, side_by_side(*charts_of_metrics)),
    ]


def _tiles(encoder: Encoder, results: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return title -> a value and a few words on it, the most important first."""
    metrics = results["metrics"]
    tiles: dict[str, tuple[str, str]] = {}
    if "explained" in metrics:
        psnr = f", PSNR {metrics['psnr']:g} dB" if "psnr" in metrics else ""
        tiles["explained"] = (f"{100 * metrics['explained']:.1f}%", f"of the variance, by the reconstruction{psnr}")
    if "effective_rank" in metrics:
        tiles["effective rank"] = (f"{metrics['effective_rank']:g}", f"of {encoder.dim} dimensions")
    tiles["embedding"] = (f"{encoder.dim}", f"dimensions (input {encoder.spec.size:,})")
    if not results["trained"]["samples"]:
        return tiles | {"training": ("none", f"samples: {encoder.spec}")}
    tiles["trained on"] = (f"{results['trained']['samples']:,}", f"samples, {encoder.spec}")
    tiles["trained in"] = (
        _duration(results["trained"]["seconds"]),
        f"{results['cost']['samples_per_second']:,.0f} samples/s",
    )
    return tiles


def _map(page: Page, snapshot: Snapshot, structure: bool) -> list[str]:
    if not snapshot.layouts:
        return []
    remarks = [_sampled(snapshot), "Each point is a sample: point at it, or tap it, to see it and its neighbors."]
    if "t-SNE" in snapshot.layouts:
        remarks.append(
            "t-SNE keeps neighbors together; the sizes of groups and the distances between them mean little."
        )
    elif not structure and snapshot.vectors.shape[1] > 2:
        remarks.append(
            "For a short run, only principal components are shown; aekit map RUN --html map.html draws a t-SNE map."
        )
    drawn = page.map(snapshot_map(snapshot, clusters=structure), snapshot.sprite_sheet)
    return [card("Map of the embedding", " ".join(remarks), drawn)]


def _sampled(snapshot: Snapshot) -> str:
    total = len(snapshot.source)
    if len(snapshot) == total:
        return f"All {total:,} samples."
    splits = "" if snapshot.splits is None else ", from every split"
    return f"{len(snapshot):,} of {total:,} samples, evenly spaced{splits}."


def _quick(snapshot: Snapshot, evaluators: tuple[str, ...], seed: int, without: str) -> tuple[Evaluation | None, str]:
    """Evaluate the samples of this page, where the recipe names no evaluators; or return the reason why not."""
    if snapshot.classes is None or len(np.unique(snapshot.classes[snapshot.classes != ""])) < 2:
        return None, "The data has no labels to evaluate with."
    if not evaluators:
        return None, f"{without}."
    try:
        return evaluate(snapshot.embeddings(), evaluators=evaluators, seed=seed, progress=False), ""
    except DataError as error:
        return None, f"These samples could not be evaluated: {error}."


def _terms(records: list[dict[str, float]]) -> Terms:
    """Return name -> (step, value), the loss first, the learning rate last."""
    names = dict.fromkeys(name for r in records for name in r if name not in _NO_TERMS)
    # A loss of one term is that term. Layer-wise training has terms of its own for each layer.
    if all(any(r[name] == r["loss"] for name in r if name not in ("loss", *_NO_TERMS)) for r in records):
        names.pop("loss", None)
    terms = {name: [(r["step"], r[name]) for r in records if name in r and np.isfinite(r[name])] for name in names}
    return terms | {"learning rate": [(r["step"], r["lr"]) for r in records if "lr" in r]}


def _last_losses(records: list[dict[str, float]]) -> list[float]:
    """Return the losses of the last phase: each phase starts anew, with its own terms."""
    return [r["loss"] for r in records if r.keys() == records[-1].keys()]


def _training(terms: Terms) -> list[str]:
    if not any(terms.values()):
        return []
    drawn = [
        charts.curve(name, [x for x, _ in line], [y for _, y in line], "step", smooth=name != "learning rate")
        for name, line in terms.items()
    ]
    below = "Each term at every logged step; the bold line is a running mean. Point at a curve to read its values."
    return [card("Loss", below, charts.charts(*drawn))]


def _spectrum(snapshot: Snapshot) -> str:
    """Draw how the variance of the embedding is distributed over its directions."""
    sizes = variance_spectrum(torch.from_numpy(snapshot.vectors)).flip(0).numpy()
    if len(sizes) < 2 or not sizes.sum() > 0:
        return ""
    fractions = 100 * sizes / sizes.sum()
    deviation = np.sort(snapshot.vectors.std(0))[::-1]
    below = "A few high bars followed by nothing mean that the embedding has collapsed."
    some = f", the first {BARS}" if len(fractions) > BARS else ""
    return card(
        "Use of the dimensions",
        below,
        charts.charts(
            charts.bar_chart(f"Variance by principal direction, %{some}", fractions[:BARS].tolist(), "direction"),
            charts.bar_chart(f"Deviation by dimension, sorted{some}", deviation[:BARS].tolist(), "dimension"),
        ),
    )


def _reproduce(encoder: Encoder, folder: Path, results: Mapping[str, Any]) -> list[str]:
    recipe = (folder / "recipe.toml").read_text("utf-8")
    made = {
        "encoder": encoder.digest,
        "data": results["data"]["data"],
        "aekit": __version__,
        "plugins": ", ".join(f"{p.kind} {p.name} ({p.distribution} {p.version})" for p in encoder.plugins),
        "Python, torch": f"{platform.python_version()}, {torch.__version__}, on {platform.machine()}",
        "parameters": f"{results['cost']['parameters']:,}",
    }
    use = (
        f"aekit embed {folder.name} DATA -o embeddings   # any data of this kind\n"
        "aekit index embeddings -o index && aekit search index QUERY\n"
        "aekit evaluate embeddings                  # compared with raw input, PCA and random weights"
    )
    in_python = f'import aekit\n\nencoder = aekit.load("{folder.name}")\nembeddings = encoder.embed(DATA)'
    again = "The recipe with every default written out. Saved as recipe.toml, it reproduces the run:"
    return [
        card(
            "Reproduce this run", again, preformatted(f"aekit fit recipe.toml -o {folder.name}"), preformatted(recipe)
        ),
        card("Versions", "", fact_table(made)),
        card("Use the encoder", "", side_by_side(preformatted(use), preformatted(in_python))),
    ]


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
