"""`aekit finetune`: train a classifier, and the encoder with it, on labels."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import quiet_option, set_option, source_options
from aekit.errors import RecipeError
from aekit.progress import Progress
from aekit.registry.options import validation_errors


@click.command()
@click.argument("encoder")
@click.argument("labeled")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option("--layers", type=int, help="Train this many from the top, 0: the classifier alone; by default all.")
@click.option("--layer-decay", type=float, help="Of the learning rate, from layer to layer down  [default: 1.0]")
@click.option("--per-class", type=int, metavar="N", help="Make do with N labels of each class; by default all.")
@click.option("--epochs", type=int, help="Passes over the labels; by default about 3000 steps in all.")
@click.option("--lr", type=float, help="Peak learning rate  [default: 0.001]")
@click.option("--batch-size", type=int, help="Samples a step; by default by the number of labels.")
@click.option("--patience", type=int, default=20, show_default=True, help="Epochs without a better one; 0: no limit.")
@click.option("--seed", type=int, help="Of splits, weights and order  [default: 0]")
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="Train from random weights too.")
@set_option("train.weight_decay=0.01")
@click.option("--resume", is_flag=True, help="Go on with what was interrupted in the folder.")
@quiet_option
def finetune(
    encoder: str,
    labeled: str,
    out: str,
    layers: int | None,
    per_class: int | None,
    patience: int,
    baseline: bool,
    overrides: dict[str, Any],
    resume: bool,
    progress: Progress,
    **settings: Any,
) -> None:
    """Fine-tune ENCODER (an encoder folder or a run folder) on the classes of LABELED.

    Beside it, in the same way: the same network from random weights, and logistic regression on the encoder as it is.
    """
    from aekit.training.settings import Settings

    given = {name: value for name, value in settings.items() if value is not None}
    train = {name.removeprefix("train."): value for name, value in overrides.items() if name.startswith("train.")}
    if problems := validation_errors(Settings, train, "train"):
        raise RecipeError(problems)
    found = aekit.finetune(
        encoder,
        labeled,
        layers=layers,
        per_class=per_class,
        patience=patience,
        baseline=baseline,
        options=source_options({name: v for name, v in overrides.items() if not name.startswith("train.")}),
        out=out,
        resume=resume,
        progress=progress,
        **given | train,
    )
    click.echo(found.text())
    click.echo(f"encoder {found.encoder.digest[:12]} and its classifier are in {out}")
    click.echo(f"next: aekit classify {out} DATA -o predictions.csv")
