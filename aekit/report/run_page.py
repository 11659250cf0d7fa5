"""``report.html`` of a run: what was trained on what, what it learned, how good that is, and how to make it again."""

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
from aekit.objectives.base import Objective
from aekit.progress import SILENT, Progress
from aekit.registry.discovery import registry
from aekit.report.evaluation_cards import evaluation_cards
from aekit.report.findings import Finding, findings, findings_html
from aekit.report.neighbor_cards import neighbor_cards, top_activating
from aekit.report.snapshot import Snapshot, snapshot_map, take_snapshot
from aekit.report.task_examples import filter_card, task_example_cards
from aekit.training.build import find_autoencoder
from aekit.version import __version__
from aekit.visualization import charts
from aekit.visualization.page import Page, card, fact_table, metric_tiles, preformatted, side_by_side

WORTH_IT = 5.0
"""Seconds of training above which the page may take some of its own, for t-SNE and a quick judgment."""
WIDEST = 4096
"""Numbers in an embedding up to which it does: those of features themselves (encoder.dim = 0) would take it many minutes."""
BARS = 64
PARTS = 9
"""Of the work: the samples, their layout, and the page's seven tabs."""
_NONE = "The recipe names no evaluators"
_LACKS = "The evaluation that the recipe asks for is missing; aekit report RUN makes it"
_HOW = "aekit embed RUN DATA -o embeddings, and then aekit evaluate embeddings, judges an encoder beside its controls."

_NO_TERMS = ("step", "epoch", "lr")
Terms = dict[str, list[tuple[float, float]]]


class RunReport(NamedTuple):
    """The HTML text of a run's page, and what is noticeable about the run."""

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
    progress: Progress = SILENT,
) -> RunReport:
    """The page, and what it found to be noticeable.

    Args:
        objective: trained, with its encoder.
        source: of the data, training samples and others.
        samples: that it was trained on.
        folder: of the run, for its log and recipe.
        results: what ``results.json`` holds.
        targets: what is to be restored from each sample, where that is not the sample.
        judged: the evaluation at the end of the run, if there was one.
        rows: (N,) positions in the source of the embeddings that were judged, where they are known.
        progress: receives a bar.
    """
    encoder = objective.encoder
    autoencoder = find_autoencoder(objective) if targets is None else None
    if autoencoder is not None and not autoencoder.reconstructs_samples:
        autoencoder = None
    seed, trained = int(results["recipe"]["train"]["seed"]), results["trained"]
    page = Page(folder.name, _summary(encoder, results))
    with progress.task("report", PARTS, "parts") as task:
        snapshot = take_snapshot(encoder, source, samples, autoencoder=autoencoder, seed=seed)
        task.advance(note="samples")
        thorough = trained["seconds"] >= WORTH_IT and encoder.dim <= WIDEST
        # A code of two numbers is its own map.
        for method in ["auto"] * (thorough or encoder.dim == 2) + ["pca"]:
            snapshot.project(method)
        task.advance(note="layout")
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
        without = _LACKS if results["recipe"].get("evaluate", {}).get("evaluators") else _NONE
        quick, why_not = (None, "") if evaluation is not None else _quick(snapshot, thorough, seed, without)
        found = evaluation or quick
        noticed = findings(results, _last_losses(records), snapshot, found)

        def tabs() -> Iterator[tuple[str, Sequence[str]]]:
            noticeable = card("What is noticeable", "", findings_html(noticed))
            figures = metric_tiles(_figures(encoder, results, found))
            yield (
                "Overview",
                [figures, noticeable, *task_example_cards(page, objective, samples, targets, snapshot.sprites, seed)],
            )
            yield "Map", _map(page, snapshot, thorough)
            yield "Neighbors", neighbor_cards(page, snapshot, seed)
            if evaluation is not None:
                yield "Judgment", evaluation_cards(page, evaluation, source, rows, snapshot.sprites)
            elif quick is not None:
                below = f"{without}: this is a quick look at {len(snapshot):,} samples, for this page alone."
                yield (
                    "Judgment",
                    evaluation_cards(page, quick, source, snapshot.rows, snapshot.sprites, below=f"{below} {_HOW}"),
                )
            else:
                yield "Judgment", [card("Is it any good?", f"{why_not} {_HOW}")]
            yield "Training", _training(_terms(records))
            yield "Network", [filter_card(page, encoder), _spectrum(snapshot), top_activating(page, snapshot)]
            yield "Reproduce", _reproduce(encoder, folder, results)

        for title, cards in tabs():
            page.add(title, *cards)
            task.advance(note=title)
        return RunReport(page.html(), noticed)


def _summary(encoder: Encoder, results: Mapping[str, Any]) -> str:
    objective, recipe = results["objective"], results["recipe"]
    if not results["trained"]["samples"]:
        given = results["weights"]["from"]
        return f"{recipe['encoder']['backbone']} to {encoder.dim} numbers, with the weights of {given}, not trained further"
    how = " + ".join(describe_objective(objective))
    return (
        f"{how}, {recipe['encoder']['backbone']} to {encoder.dim} numbers, trained without labels on "
        f"{results['trained']['samples']:,} samples of {_name_of(results)} ({encoder.spec}) in "
        f"{_duration(results['trained']['seconds'])}"
    )


def _name_of(results: Mapping[str, Any]) -> str:
    text = str(results["data"]["data"])
    source, colon, where = ("", "", text) if Path(text).is_absolute() else text.rpartition(":")
    return f"{source}{colon}{Path(where).name}" if Path(where).is_absolute() else text


def _figures(encoder: Encoder, results: Mapping[str, Any], evaluation: Evaluation | None) -> dict[str, tuple[str, str]]:
    """Title -> a figure and what it stands beside."""
    found = {"trained on": (f"{results['trained']['samples']:,}", f"samples, {encoder.spec}")}
    found["trained in"] = (
        _duration(results["trained"]["seconds"]),
        f"{results['cost']['samples_per_second']:,.0f} samples/s",
    )
    found["embedding"] = (f"{encoder.dim}", f"numbers, from {encoder.spec.size:,}")
    metrics = results["metrics"]
    if evaluation is not None:
        for name, result in evaluation.results["encoder"].items():
            metric, own = next(iter(result.metrics.items()))
            others = [
                f"{who} {next(iter(r[name].metrics.values())).value:.3f}"
                for who, r in evaluation.results.items()
                if who != "encoder" and name in r
            ]
            found[f"{name} {metric.replace('_', ' ')}"] = (f"{own.value:.3f}", ", ".join(others))
    if "explained" in metrics:
        psnr = f", PSNR {metrics['psnr']:g} dB" if "psnr" in metrics else ""
        found["explained"] = (f"{100 * metrics['explained']:.1f} %", f"of the variance{psnr}")
    if "effective_rank" in metrics:
        found["effective rank"] = (f"{metrics['effective_rank']:g}", f"of {encoder.dim} directions")
    return found


def _map(page: Page, snapshot: Snapshot, thorough: bool) -> list[str]:
    if not snapshot.layouts:
        return []
    told = [_sampled(snapshot), "Each point is a sample: point at it, or tap it, to see it and its neighbors."]
    if "t-SNE" in snapshot.layouts:
        told.append("t-SNE keeps neighbors together: distances between far groups, and their sizes, mean little.")
    elif not thorough and snapshot.vectors.shape[1] > 2:
        told.append(
            "As the run was a short one, only principal components are shown; aekit map RUN --html lays it out by t-SNE."
        )
    return [card("The embedding as a map", " ".join(told), page.map(snapshot_map(snapshot), snapshot.sprite_sheet))]


def _sampled(snapshot: Snapshot) -> str:
    total = len(snapshot.source)
    if len(snapshot) == total:
        return f"All {total:,} samples."
    splits = "" if snapshot.splits is None else ", of each split as many as there are or fit"
    return f"{len(snapshot):,} of {total:,} samples, evenly spaced{splits}."


def _quick(snapshot: Snapshot, thorough: bool, seed: int, without: str) -> tuple[Evaluation | None, str]:
    """An evaluation of the samples of this page, where the recipe asked for none of all; or why there is none."""
    if snapshot.classes is None or len(np.unique(snapshot.classes[snapshot.classes != ""])) < 2:
        return None, "There are no labels to judge it by."
    if not thorough:
        return None, f"{without}."
    quick = [plugin.qualified for plugin in registry().by_kind("evaluator") if "quick" in plugin.entry.tags]
    try:
        return evaluate(snapshot.embeddings(), evaluators=quick, seed=seed), ""
    except DataError as error:
        return None, f"These samples could not be judged: {error}."


def _terms(records: list[dict[str, float]]) -> Terms:
    """Name -> (step, value), the loss first, the learning rate last."""
    names = dict.fromkeys(name for r in records for name in r if name not in _NO_TERMS)
    # A loss of one term is that term. Layer-wise training has terms of its own for each layer.
    if all(any(r[name] == r["loss"] for name in r if name not in ("loss", *_NO_TERMS)) for r in records):
        names.pop("loss", None)
    terms = {name: [(r["step"], r[name]) for r in records if name in r and np.isfinite(r[name])] for name in names}
    return terms | {"learning rate": [(r["step"], r["lr"]) for r in records if "lr" in r]}


def _last_losses(records: list[dict[str, float]]) -> list[float]:
    """Of the last of several phases: each starts anew, with terms of its own."""
    return [r["loss"] for r in records if r.keys() == records[-1].keys()]


def _training(terms: Terms) -> list[str]:
    drawn = [
        charts.curve(name, [x for x, _ in line], [y for _, y in line], "step", smooth=name != "learning rate")
        for name, line in terms.items()
    ]
    below = "By term, at each step that was logged; the bold line is a running mean. Point at a curve to read it."
    return [card("Loss", below, charts.charts(*drawn))]


def _spectrum(snapshot: Snapshot) -> str:
    """How the variance of the embedding is shared out among its directions."""
    sizes = variance_spectrum(torch.from_numpy(snapshot.vectors)).flip(0).numpy()
    if len(sizes) < 2 or not sizes.sum() > 0:
        return ""
    shares = 100 * sizes / sizes.sum()
    deviation = np.sort(snapshot.vectors.std(0))[::-1]
    below = "A few high bars and nothing after them are an embedding that has collapsed."
    some = f", the first {BARS}" if len(shares) > BARS else ""
    return card(
        "How the embedding uses its width",
        below,
        charts.charts(
            charts.bar_chart(f"Share of the variance by direction, %{some}", shares[:BARS].tolist(), "direction"),
            charts.bar_chart(
                f"Deviation of single numbers, the largest first{some}", deviation[:BARS].tolist(), "number"
            ),
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
        f"aekit embed {folder.name} DATA -o embeddings   # of any data of this kind\n"
        "aekit index embeddings -o index && aekit search index QUERY\n"
        "aekit evaluate embeddings                  # beside raw input, PCA and random weights"
    )
    in_python = f'import aekit\n\nencoder = aekit.load("{folder.name}")\nembeddings = encoder.embed(DATA)'
    again = "The recipe, with every default written out. Saved as recipe.toml, it makes the same run:"
    return [
        card(
            "How to make it again", again, preformatted(f"aekit fit recipe.toml -o {folder.name}"), preformatted(recipe)
        ),
        card("What made it", "", fact_table(made)),
        card("How to use it", "", side_by_side(preformatted(use), preformatted(in_python))),
    ]


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
