"""``report.html`` of a run: what was trained on what, how the loss fell, what comes back, and how good it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aekit.autoencoder import Autoencoder
from aekit.encoder import Encoder
from aekit.report.page import Picture, chart, heading, page, pictures, preformatted, table
from aekit.report.thumbnails import thumbnail
from aekit.samples import Samples, SampleSpec

SHOWN = 8
SMALL = 64


def run_page(
    encoder: Encoder, samples: Samples, autoencoder: Autoencoder | None, folder: Path, results: dict[str, Any]
) -> str:
    """The page as HTML text.

    Args:
        encoder: trained.
        samples: that it was trained on; a few are shown.
        autoencoder: whose reconstructions are shown, where there is one.
        folder: of the run, for its log and recipe.
        results: what ``results.json`` holds.
    """
    metrics = {name.replace("_", " "): f"{value:g}" for name, value in encoder.record["metrics"].items()}
    facts = {"samples": results["trained"]["samples"], "kind": str(encoder.spec), "embedding": encoder.dim, **metrics}
    parts = [
        table([facts]),
        heading("Loss", "By term, at each step that was logged."),
        chart(_terms(folder / "log.jsonl"), "step"),
        *(_reconstructions(encoder.spec, samples, autoencoder) if autoencoder else []),
        *_judgement(results.get("evaluation")),
        heading("How to make it again"),
        preformatted((folder / "recipe.toml").read_text("utf-8")),
    ]
    return page(f"Run: {folder.name}", f"encoder {encoder.digest}", *parts)


def _terms(log: Path) -> dict[str, list[tuple[float, float]]]:
    records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    step = max(1, len(records) // 400)
    # Layer-wise training has terms of its own for each layer, one after the other.
    names = dict.fromkeys(name for r in records for name in r if name not in ("step", "epoch", "lr"))
    if all(len(r.keys() & names.keys()) == 2 for r in records):
        names.pop("loss", None)  # where there is a single term the two are one line
    return {name: [(r["step"], r[name]) for r in records[::step] if name in r] for name in names}


@torch.inference_mode()
def _reconstructions(spec: SampleSpec, samples: Samples, autoencoder: Autoencoder) -> list[str]:
    positions = torch.linspace(0, len(samples) - 1, min(SHOWN, len(samples))).long()
    raw = samples.batch(positions)
    back = autoencoder.encoder.preprocess.inverse(autoencoder.reconstruct(raw)).cpu().numpy()
    given = raw.cpu().numpy().astype(np.float64)
    reach = (0.0, 255.0) if spec.dtype == "uint8" else (float(given.min()), float(given.max()))
    small = max(spec.shape[-2:]) <= SMALL
    above = [Picture(thumbnail(sample, spec, reach), "sample", small=small) for sample in given]
    below = [Picture(thumbnail(sample, spec, reach), "reconstruction", small=small) for sample in back]
    return [
        heading("What comes back", "Samples, and what the decoder makes of their codes."),
        pictures(above),
        pictures(below),
    ]


def _judgement(evaluation: dict[str, Any] | None) -> list[str]:
    if evaluation is None:
        return []
    rows = []
    for subject, found in evaluation["results"].items():
        row: dict[str, object] = {"": subject}
        for name, result in found.items():
            metric, figure = next(iter(result["metrics"].items()))
            low, high = figure.get("low"), figure.get("high")
            spread = f" [{low:.3f}, {high:.3f}]" if low is not None else ""
            row[f"{name} {metric.replace('_', ' ')}"] = f"{figure['value']:.3f}{spread}"
        rows.append(row)
    return [heading("Is it any good?", " ".join(evaluation["verdict"])), table(rows)]
