"""`aekit finetune`: train a classifier on labels, together with the encoder."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.console import suggest
from aekit.cli.options import (
    SEED,
    baselines_option,
    examples,
    json_option,
    print_json,
    processes_option,
    quiet_option,
    run_device_option,
    set_option,
    source_options,
)
from aekit.errors import RecipeError
from aekit.io.shell import command_line
from aekit.progress import Progress


@click.command(
    epilog=examples(
        "finetune run labeled/ -o classifier", "finetune run labeled/ -o classifier --per-class 20 --layers 0"
    )
)
@click.argument("encoder")
@click.argument("labeled")
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@click.option(
    "--layers", type=int, help="Train this many layers from the top; 0: the classifier alone; by default all."
)
@click.option(
    "--layer-decay",
    type=float,
    help="Learning rate of each layer as a fraction of that of the layer above.  [default: 1.0]",
)
@click.option("--per-class", type=int, metavar="N", help="Use only N labels of each class; by default all.")
@click.option("--epochs", type=int, help="Passes over the labels; by default about 3000 steps in total.")
@click.option("--lr", type=float, help="Peak learning rate.  [default: 0.001]")
@click.option("--batch-size", type=int, help="Samples per step; by default it depends on the number of labels.")
@click.option(
    "--patience",
    type=int,
    default=20,
    show_default=True,
    help="Stop after this many epochs without improvement; 0: never.",
)
@click.option("--seed", type=SEED, help="Seed of the splits, the weights and the order of samples.  [default: 0]")
@baselines_option("Train from random weights too, and evaluate the frozen encoder.")
@run_device_option("auto")
@json_option("results.json")
@set_option("train.weight_decay=0.01")
@processes_option("finetune")
@click.option("--resume", is_flag=True, help="Resume interrupted fine-tuning in the folder.")
@quiet_option
def finetune(
    encoder: str,
    labeled: str,
    out: str,
    layers: int | None,
    per_class: int | None,
    patience: int,
    baselines: bool,
    overrides: dict[str, Any],
    resume: bool,
    as_json: bool,
    progress: Progress,
    **settings: Any,
) -> None:
    """Fine-tune ENCODER (an encoder folder or a run folder) on the classes of LABELED.

    For comparison, it also trains the same network from random weights, and logistic regression on the frozen encoder.
    """
    from aekit.io.torchrun import reports_to_another
    from aekit.registry.options import validation_errors
    from aekit.training.settings import Settings

    chosen = {name: value for name, value in settings.items() if value is not None}
    train = {name.removeprefix("train."): value for name, value in overrides.items() if name.startswith("train.")}
    if problems := validation_errors(Settings, train, "train"):
        raise RecipeError(problems)
    result = aekit.finetune(
        encoder,
        labeled,
        layers=layers,
        per_class=per_class,
        patience=patience,
        baselines=baselines,
        options=source_options({name: v for name, v in overrides.items() if not name.startswith("train.")}),
        out=out,
        resume=resume,
        progress=progress,
        **chosen | train,
    )
    if reports_to_another():
        return
    if as_json:
        print_json(result.to_dict())
        return
    click.echo(result.text())
    click.echo(f"encoder {result.encoder.digest[:12]} and its classifier are in {out}")
    suggest(progress, command_line("classify", out, "DATA", o="predictions.csv"))
