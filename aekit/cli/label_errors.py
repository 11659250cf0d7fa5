"""`aekit label-errors`: find labels that are probably wrong."""

from __future__ import annotations

import click

import aekit
from aekit._lazy import QuickImports
from aekit.cli.options import (
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


@click.command("label-errors", epilog=examples("label-errors embeddings -o suspicious"))
@click.argument("embeddings")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@labels_option
@groups_option("fold")
@click.option(
    "--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Folds of the cross-validation."
)
@seed_option("the folds")
@device_option
@json_option("label_errors.json")
@quiet_option
def label_errors(
    embeddings: str,
    out: str,
    labels: str | None,
    groups: str | None,
    folds: int,
    seed: int,
    device: str,
    as_json: bool,
    progress: Progress,
) -> None:
    """Find labels of EMBEDDINGS that are probably wrong, and suggest others. No label is changed.

    Each label is predicted by a linear probe and nearest neighbors that did not see it.
    """
    with QuickImports():
        from aekit.analysis.inputs import open_or_embed
        from aekit.evaluation.id_groups import groups_from_ids

    opened = open_or_embed(embeddings, progress, device)
    errors = aekit.find_label_errors(
        opened,
        labels or None,
        groups=groups_from_ids(opened.ids, groups) if groups else None,
        folds=folds,
        out=out,
        seed=seed,
        progress=progress,
    )
    print_analysis(errors, out, f"every label, the most suspicious first, in {out}/label_errors.csv", as_json)
