"""Options that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from aekit._arguments import SEEDS
from aekit.cli.console import console_progress
from aekit.progress import NestedProgress, Progress
from aekit.progress_display import open_progress
from aekit.registry.overrides import nest, parse_override

SEED = click.IntRange(SEEDS[0], SEEDS[-1])


def examples(*commands: str) -> str:
    """Return the epilog of a command's help text: calls of it, each without ``aekit``."""
    return "\n".join(["\b", "Examples:", *(f"  aekit {command}" for command in commands)])


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--quiet``, which the command receives as ``progress``."""
    return click.option(
        "--quiet",
        "-q",
        "progress",
        is_flag=True,
        callback=lambda ctx, parameter, quiet: open_progress(console_progress(quiet)),
        help="Print results only.",
    )(command)


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--device``, which the command receives as ``device``, the name of an available device."""
    return click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        callback=_device,
        help="cpu, cuda, cuda:1 or mps; auto: a GPU if available.",
    )(command)


def batch_size_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--batch-size``, which the command receives as ``batch_size``, a number or None."""
    return click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        help="Samples per batch; by default as many as suit memory and caches.",
    )(command)


def run_device_option(default: str) -> Callable[..., Any]:
    """Add ``--device`` to a command whose own default, for which it receives None, `default` describes."""
    return click.option(
        "--device",
        metavar="NAME",
        callback=lambda ctx, parameter, name: name and _device(ctx, parameter, name),
        help=f"cpu, cuda, cuda:1 or mps; auto: a GPU if available; by default {default}.",
    )


def json_option(what: str) -> Callable[..., Any]:
    """Add ``--json``, which the command receives as ``as_json``; `what` says what is printed."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


def without_results(progress: Progress, as_json: bool) -> Progress:
    """Keep intermediate results off standard output when JSON is requested."""
    return NestedProgress(progress) if as_json else progress


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, in plain ASCII where standard output is not UTF-8."""
    encoding = str(getattr(sys.stdout, "encoding", None)).lower()
    text = json.dumps(value, indent=indent, ensure_ascii="utf" not in encoding, default=str)
    if not text.isascii():  # what no terminal shows, in the escapes of JSON
        text = "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)
    click.echo(text)


def print_analysis(result: Any, out: str, tables: str, as_json: bool) -> None:
    """Print the result of an analysis, and where its table and its page are.

    Args:
        result: an `aekit.analysis._results.AnalysisResult`.
        out: its folder.
        tables: what its table holds, and the path of it.
        as_json: print it as JSON instead.
    """
    if as_json:
        print_json(result.to_dict())
        return
    click.echo(result.text())
    shown = f"; page in {out}/report.html" if result.page else f"; image in {out}/image.png" if result.image else ""
    click.echo(tables + shown)


def _device(ctx: click.Context, parameter: click.Parameter, name: str) -> str:
    if name == "cpu":  # every machine has one, and the choice imports torch
        return name
    from aekit.io.device import choose_device

    return str(choose_device(name, "--device"))


def set_option(example: str) -> Callable[..., Any]:
    """Add a repeatable ``--set NAME=VALUE``, which the command receives as ``overrides``: dotted name -> value."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda ctx, parameter, texts: dict(parse_override(text) for text in texts),
        help=f"Override a setting by its dotted name, such as {example}; repeatable.",
    )


def source_options(overrides: dict[str, Any]) -> dict[str, Any]:
    """Turn ``{"data.images.size": 96}`` into options of sources, ``{"images": {"size": 96}}``."""
    return nest({name.removeprefix("data."): value for name, value in overrides.items()})


def seed_option(seeds: str) -> Callable[..., Any]:
    """Add ``--seed``; `seeds` names what depends on it."""
    return click.option("--seed", type=SEED, default=0, show_default=True, help=f"Seed of {seeds}.")


def max_samples_option(action: str) -> Callable[..., Any]:
    """Add ``--max-samples``; `action` says what happens to at most this many samples."""
    return click.option(
        "--max-samples",
        type=click.IntRange(min=3),
        default=5000,
        show_default=True,
        help=f"{action} at most this many samples.",
    )


def choice_option(name: str, choices: Sequence[str], use: str, parameter: str | None = None) -> Callable[..., Any]:
    """Add an option with a few values, the first of which is the default; `use` is its help text."""
    names = (name,) if parameter is None else (name, parameter)
    return click.option(*names, type=click.Choice(choices), default=choices[0], show_default=True, help=use)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--engine``, ``--workers`` and ``--address``, which the command receives as `aekit.embed` takes them."""
    engines = ["single", "processes", "ray"]
    use = "Worker processes, or Ray actors; by default one per GPU, or per core."
    running = "Address of a running Ray cluster, such as auto; by default a local one is started."
    for add in (
        click.option("--address", metavar="ADDRESS", help=running),
        click.option("--workers", "-n", type=click.IntRange(min=1), help=use),
        choice_option("--engine", engines, "Compute in this process, in several on this machine, or on Ray."),
    ):
        command = add(command)
    return command


def processes_option(command: str, more: str = "") -> Callable[..., Any]:
    """Add ``--processes`` to a command that trains; `more` is added to its help text."""
    use = "Processes that share each batch, on the CPUs or one per GPU"
    several = f"on several machines: torchrun -m aekit {command}.{more}"
    return click.option(
        "--processes", type=click.IntRange(min=1), default=1, show_default=True, help=f"{use}; {several}"
    )


def projection_option(use: str) -> Callable[..., Any]:
    """Add ``--method``, the projection to two dimensions; `use` is its help text."""
    return choice_option("--method", ["auto", "pca", "tsne", "umap"], use)


def drawing_options(method: str, action: str, seeds: str) -> Callable[..., Any]:
    """Add the options of commands that draw samples in the plane, which the command receives as ``**drawing``.

    Args:
        method: help text of ``--method``.
        action: what happens to at most ``--max-samples`` samples.
        seeds: what depends on ``--seed``.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (device_option, seed_option(seeds), max_samples_option(action), projection_option(method)):
            command = option(command)
        return command

    return add


def baselines_option(use: str) -> Callable[..., Any]:
    """Add ``--baselines/--no-baselines``; `use` is its help text."""
    return click.option("--baselines/--no-baselines", default=True, show_default=True, help=use)


def labels_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--labels``, which the command receives as ``labels``, the path of a file that `read_labels` reads."""
    columns = "Table with a column of ids and one of labels or targets, or columns of 0 and 1; or .npy."
    return click.option("--labels", metavar="FILE", help=columns)(command)


def groups_option(part: str) -> Callable[..., Any]:
    """Add ``--groups``, which the command receives as ``groups``, a regular expression; `part` names what keeps them together."""
    return click.option(
        "--groups", metavar="REGEX", help=f"Keep samples whose ids share this match in the same {part}."
    )
