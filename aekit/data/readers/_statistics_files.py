"""Read tables of statistics programs: SPSS (.sav, .zsav, .por), Stata (.dta) and SAS (.sas7bdat, .xpt)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from aekit.data.reading import reading
from aekit.errors import DataError
from aekit.io.memory import check_memory

STATISTICS_ENDINGS = (".sav", ".zsav", ".por", ".dta", ".sas7bdat", ".xpt")
_READERS = dict(zip(STATISTICS_ENDINGS, ("sav", "sav", "por", "dta", "sas7bdat", "xport")))
_COMPLAINT = "not a readable table of a statistics program"
_CELL_BYTES = 64
"""Bytes that a cell takes in memory, about, while it is an object of Python."""


def read_statistics(path: Path) -> tuple[pa.Table, list[str]]:
    """Read a table of SPSS, Stata or SAS.

    Values that the file calls missing are missing. Where each value of a column has a label, such as 1 male, 2 female, it is a
    column of categories; else it holds numbers, and its labels are not used.

    Args:
        path: the file.

    Returns:
        the table, and lines about labels that are not used.

    Raises:
        DataError: pyreadstat is not installed, the file is damaged, or does not fit in memory.
    """
    described = _read(path, metadataonly=True)[1]
    check_memory(_CELL_BYTES * (described.number_rows or 0) * (described.number_columns or 0), f"{path}: its cells")
    columns, described = _read(path)
    table, unused = dict[str, pa.Array](), list[str]()
    with reading(path, _COMPLAINT):
        for name, values in columns.items():
            labels = described.variable_value_labels.get(name, {})
            if labels and all(value in labels for value in values if _is_known(value)):
                texts = [str(labels[value]) if _is_known(value) else None for value in values]
                table[name] = pa.array(texts, pa.string()).dictionary_encode()
            else:
                unused += [name] if labels else []
                table[name] = pa.array(values, from_pandas=True)
    listed = ", ".join(f"{name!r} ({_shown(described.variable_value_labels[name])})" for name in unused[:5])
    more = f" and {len(unused) - 5} other columns" if len(unused) > 5 else ""
    return pa.table(table), [
        f"labels of some values are not used in {listed}{more}: numbers there are numbers"
    ] if unused else []


def statistics_names(path: Path) -> list[str]:
    """Return the names of the columns of such a table; raises as `read_statistics`."""
    return list(_read(path, metadataonly=True)[1].column_names)


def _read(path: Path, **options: Any) -> tuple[Mapping[str, list[Any]], Any]:
    try:
        import pyreadstat
    except ImportError:
        raise DataError(
            f"{path}: tables of SPSS, Stata and SAS need pyreadstat: pip install 'aekit[statistics]', or save it as CSV"
        ) from None
    read = getattr(pyreadstat, f"read_{_READERS[path.suffix.lower()]}")
    with reading(path, _COMPLAINT):
        return read(str(path), output_format="dict", **options)


def _is_known(value: Any) -> bool:
    return value is not None and value == value and value != ""


def _shown(labels: Mapping[Any, Any]) -> str:
    value, label = next(iter(labels.items()))
    return f"e.g. {value:g} {str(label)!r}" if isinstance(value, float) else f"e.g. {value} {str(label)!r}"
