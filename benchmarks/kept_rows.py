"""Keep the rows of a study in a CSV file, so that a study that was stopped goes on where it was."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="file to append to")
    parser.add_argument("--summary", action="store_true", help="only print the table of --out")


def read_rows(file: Path | None) -> Rows:
    """Return the rows of a file, whose values are texts; [] if there is none."""
    return list(csv.DictReader(file.open())) if file and file.exists() else []


def has_row(rows: Rows, key: Mapping[str, str]) -> bool:
    """Return whether a row has these values."""
    return any(all(str(row[name]) == value for name, value in key.items()) for row in rows)


def add_row(row: dict[str, Any], rows: Rows, file: Path | None) -> None:
    """Print a row, and append it to the others and to the file."""
    rows.append(row)
    print(", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    if file:
        new = not file.exists()
        with file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
