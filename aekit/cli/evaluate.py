"""`aekit evaluate`: evaluate embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import aekit
from aekit._lazy import QuickImports
from aekit.cli.options import (
    baselines_option,
    choice_option,
    device_option,
    examples,
    groups_option,
    json_option,
    labels_option,
    print_json,
    quiet_option,
    seed_option,
    set_option,
)
from aekit.io.atomic import write_json
from aekit.io.remote import beside, output_file
from aekit.io.remote_urls import shown_url, with_suffix
from aekit.progress import Progress
from aekit.registry.overrides import nest

if TYPE_CHECKING:
    from aekit.evaluation.labels import TargetType


@click.command(epilog=examples("evaluate embeddings", "evaluate embeddings --labels labels.csv --evaluator probe"))
@click.argument("embeddings")
@click.option(
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="NAME",
    help="Evaluator to run, or all, or quick; repeatable. By default all but the slow ones.",
)
@labels_option
@choice_option("--target-type", ["auto", "classes", "numbers"], "Treat labels as classes or as numeric targets.")
@groups_option("split")
@click.option(
    "--compare-with",
    multiple=True,
    metavar="FOLDER",
    help="Other embeddings of the same samples, to compare with; repeatable.",
)
@click.option("--run", metavar="FOLDER", help="Run folder of the encoder, to evaluate its reconstructions too.")
@baselines_option("Evaluate raw input, PCA and a random encoder too.")
@click.option(
    "--pretrained",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Pretrained network to evaluate too: timm:MODEL, timm:MODEL@WEIGHTS_FILE or an encoder folder; or none; auto: one "
    "whose weights are on this machine.",
)
@click.option(
    "--checks/--no-checks", default=True, show_default=True, help="Check for collapse, dead units and leakage."
)
@click.option(
    "--quick/--thorough",
    default=True,
    help="Evaluate at most 10,000 samples (a note says so), or all of them, which can take minutes.  [default: quick]",
)
@device_option
@seed_option("splits and resampling")
@click.option("--verbose", "-v", is_flag=True, help="Explain each metric; print the split, chosen settings and checks.")
@json_option("the result")
@set_option("knn.metric=cosine")
@quiet_option
def evaluate(
    embeddings: str,
    evaluators: tuple[str, ...],
    labels: str | None,
    target_type: TargetType,
    groups: str | None,
    compare_with: tuple[str, ...],
    verbose: bool,
    as_json: bool,
    overrides: dict[str, Any],
    progress: Progress,
    **settings: Any,
) -> None:
    """Evaluate EMBEDDINGS, and compare them with raw input, PCA and a random encoder.

    EMBEDDINGS is a folder written by `aekit embed`, or a file of precomputed vectors such as .npy. Writes
    EMBEDDINGS/results.json, or NAME.results.json next to the file NAME.
    """
    with QuickImports():
        from aekit.encoder.opening import open_embeddings
        from aekit.evaluation.id_groups import groups_from_ids
        from aekit.evaluation.labels import read_labels

    opened = open_embeddings(embeddings, progress)
    targets, names = read_labels(labels, opened.ids) if labels else (None, ())
    evaluation = aekit.evaluate(
        opened,
        targets,
        label_names=names,
        target_type=target_type,
        evaluators=evaluators or None,
        groups=groups_from_ids(opened.ids, groups) if groups else None,
        compare_with={shown_url(path.rstrip("/")): open_embeddings(path, progress) for path in compare_with},
        options=nest({name.removeprefix("evaluate."): value for name, value in overrides.items()}),
        progress=progress,
        **settings,
    )
    results = beside(embeddings, "results.json") if opened.folder else with_suffix(embeddings, ".results.json")
    try:
        with output_file(results) as path:
            write_json(path, evaluation.to_dict())
    finally:  # also where the embeddings are read-only, as somebody else's may be
        if as_json:
            print_json(evaluation.to_dict())
        else:
            click.echo(evaluation.text(verbose=verbose))
