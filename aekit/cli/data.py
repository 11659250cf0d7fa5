"""`aekit data`: describe a data set."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

import aekit
from aekit.cli.options import examples, json_option, print_json, quiet_option, set_option, source_options
from aekit.io.text_table import format_cell
from aekit.progress import Progress

if TYPE_CHECKING:
    import numpy as np


@click.command(epilog=examples("data photos/", "data table.csv --json"))
@click.argument("data")
@json_option("the description")
@set_option("data.images.size=96")
@quiet_option
def data(data: str, as_json: bool, overrides: dict[str, Any], progress: Progress) -> None:
    """Describe DATA: counts, shapes, dtypes, classes, splits, and samples that cannot be used."""
    import numpy as np

    from aekit.data.source import read_valid

    source = aekit.open_data(data, source_options(overrides))
    usable = 0
    with progress.task("read", len(source)) as task:
        for start in range(0, len(source), 256):
            rows, ok = read_valid(source, np.arange(start, min(start + 256, len(source))))
            usable += int(ok.sum())
            task.advance(len(rows))
    description = {
        "samples": len(source),
        "usable": usable,
        "kind": source.spec.kind,
        "shape": list(source.spec.shape),
        "dtype": source.spec.dtype,
        "notes": list(source.notes),
        "losses": list(source.losses),
        "splits": {} if source.splits is None else dict(Counter(source.splits.tolist())),
        "labels": _labels(source.labels),
        "skipped": source.skipped,
    }
    if as_json:
        print_json(description)
    else:
        click.echo(_as_text(description))


def _labels(labels: np.ndarray | None) -> dict[str, float]:
    """Return label -> count; for numeric targets, their count and range."""
    import numpy as np

    from aekit.data.labels import label_texts
    from aekit.evaluation.splits import has_label, is_classes, to_numbers

    if labels is None:
        return {}
    if not is_classes(labels) and labels.ndim == 1:
        numbers = to_numbers(labels)
        limits = {"lowest": float(np.nanmin(numbers)), "highest": float(np.nanmax(numbers))}
        return {"numeric": int((~np.isnan(numbers)).sum())} | limits
    known = has_label(labels) if labels.ndim == 1 else np.ones(len(labels), bool)
    named = label_texts(labels[known]) if labels.ndim == 1 else labels
    counted = Counter(str(label) for label in named.tolist())
    many = len(counted) > 100
    counts: dict[str, float] = (
        {f"{len(counted)} different values": len(named)} if many else dict(sorted(counted.items()))
    )
    return counts | ({"(no label)": int((~known).sum())} if not known.all() else {})


def _as_text(description: dict[str, Any]) -> str:
    shape = "x".join(map(str, description["shape"]))
    count = f"{description['samples']} {'sample' if description['samples'] == 1 else 'samples'}"
    kind = f"{description['kind']} {shape} {description['dtype']}"
    lines = [f"{count}, {description['usable']} usable: {kind}"]
    lines += map(format_cell, description["notes"])
    for what in ("splits", "labels"):
        if description[what]:
            counts = (f"{format_cell(name)} {count:.12g}" for name, count in description[what].items())
            lines.append(f"{what}: " + ", ".join(counts))
    skipped = list(description["skipped"].items())
    lines += [f"skipped {format_cell(name)}: {format_cell(reason)}" for name, reason in skipped[:20]]
    lines += [f"... and {len(skipped) - 20} more"] if len(skipped) > 20 else []
    return "\n".join(lines)
