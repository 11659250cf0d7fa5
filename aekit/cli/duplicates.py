"""`aekit duplicates`: find exact and near duplicates."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli.options import (
    device_option,
    examples,
    json_option,
    print_analysis,
    quiet_option,
    set_option,
    source_options,
)
from aekit.progress import Progress


@click.command(epilog=examples("duplicates photos/ -o duplicates", "duplicates train/ test/ -o overlap"))
@click.argument("data")
@click.argument("other", required=False)
@click.option("-o", "--out", required=True, type=click.Path(), help="Folder to write.")
@set_option("data.images.column=path")
@device_option
@json_option("duplicates.json")
@quiet_option
def duplicates(
    data: str,
    other: str | None,
    out: str,
    overrides: dict[str, Any],
    device: str,
    as_json: bool,
    progress: Progress,
) -> None:
    """Find exact and near duplicates in DATA, or between DATA and OTHER. Nothing is deleted.

    Both are samples, such as a folder of images, or embeddings written by `aekit embed`. Images are found even if they are
    rotated, mirrored, resized, cropped or encoded again; other samples are compared by their embeddings.
    """
    duplicates = aekit.find_duplicates(
        data, other, options=source_options(overrides), out=out, device=device, progress=progress
    )
    print_analysis(duplicates, out, f"every group in {out}/duplicates.csv", as_json)
