"""`aekit propagate`: give all samples a label, from the labels of a few."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit._lazy import QuickImports
from aekit.cli.options import (
    choice_option,
    device_option,
    examples,
    groups_option,
    json_option,
    labels_option,
    print_analysis,
    quiet_option,
    seed_option,
)
from aekit.progress import Progress


@click.command(
    epilog=examples(
        "propagate embeddings --labels few.csv -o labels", "propagate embeddings --per-class 5 -o what-5-are-worth"
    )
)
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@labels_option
@choice_option("--method", ("auto", "propagation", "linear"), "auto: the better one in cross-validation.")
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use only N labels of each class, and compare the others.",
)
@groups_option("fold")
@click.option(
    "--neighbors",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Neighbors that a sample is linked to.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Part of a label's weight that comes from neighbors.",
)
@click.option(
    "--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Folds of the cross-validation."
)
@seed_option("the folds and of --per-class")
@device_option
@json_option("propagated.json")
@quiet_option
def propagate(
    embeddings: str,
    out: str,
    labels: str | None,
    groups: str | None,
    device: str,
    as_json: bool,
    progress: Progress,
    **settings: Any,
) -> None:
    """Give each sample of EMBEDDINGS a label, from the labels of a few.

    Each sample passes its label on to its nearest neighbors, these to theirs, and so on. Where a linear classifier predicts more
    of the given labels, it labels the samples instead. How many labels are right is estimated from the given ones.
    """
    with QuickImports():
        from aekit.analysis.inputs import open_or_embed
        from aekit.evaluation.id_groups import groups_from_ids

    opened = open_or_embed(embeddings, progress, device)
    result = aekit.propagate_labels(
        opened,
        labels or None,
        groups=groups_from_ids(opened.ids, groups) if groups else None,
        out=out,
        progress=progress,
        **settings,
    )
    print_analysis(result, out, f"all labels in {out}/labels.csv, with their shares in {out}/propagated.csv", as_json)
