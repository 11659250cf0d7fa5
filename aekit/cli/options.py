"""Options that several commands share, and how a command shows where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from aekit.cli.console import console_progress
from aekit.progress import Progress
from aekit.registry.overrides import nest, parse_override


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--quiet``, handed to the command as ``progress``."""
    return click.option(
        "--quiet",
        "-q",
        "progress",
        is_flag=True,
        callback=lambda ctx, parameter, quiet: console_progress(quiet),
        help="Print results only.",
    )(command)


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--device``, handed to the command as ``device``, the name of one that is there."""
    return click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        callback=_device,
        help="cpu, cuda, cuda:1 or mps; auto: a GPU where there is one.",
    )(command)


def _device(ctx: click.Context, parameter: click.Parameter, name: str) -> str:
    from aekit.io.device import choose_device

    return str(choose_device(name, "--device"))


def set_option(example: str) -> Callable[..., Any]:
    """``--set NAME=VALUE``, repeated, handed to the command as ``overrides``: dotted name -> value."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda ctx, parameter, given: dict(parse_override(text) for text in given),
        help=f"A setting by its dotted name, such as {example}; may be repeated.",
    )


def source_options(overrides: dict[str, Any]) -> dict[str, Any]:
    """``{"data.images.size": 96}`` as the options of sources, ``{"images": {"size": 96}}``."""
    return nest({name.removeprefix("data."): value for name, value in overrides.items()})


__all__ = ["Progress", "device_option", "quiet_option", "set_option", "source_options"]
