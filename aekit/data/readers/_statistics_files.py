"""Read tables of statistics programs: SPSS (.sav, .zsav, .por), Stata (.dta) and SAS (.sas7bdat, .xpt).

pyreadstat is C code that a damaged file can crash: a process of its own runs it, `main`, and prints the table in Arrow's form.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from aekit.data.labels import is_missing
from aekit.data.readers.endings import STATISTICS_ENDINGS
from aekit.data.reading import reading, refuse_special
from aekit.errors import AekitError, DataError
from aekit.io.child_processes import describe_end, run_python
from aekit.io.memory import check_memory

_READERS = dict(zip(STATISTICS_ENDINGS, ("sav", "sav", "por", "dta", "sas7bdat", "xport")))
_COMPLAINT = "not a readable table of a statistics program"
_CELL_BYTES = 64
"""Bytes that a cell takes in memory, about, while it is an object of Python."""
_REFUSED = 3
"""Exit code of the process, if its last line says why the file cannot be read."""
_NOTES = b"aekit.notes"
_IDL = (b"SR\x00\x04", b"SR\x00\x06")
"""What saved variables of IDL begin with, which end in .sav as well."""


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
    table = _run(path, "rows")
    notes = json.loads((table.schema.metadata or {}).get(_NOTES, b"[]"))
    return table.replace_schema_metadata(None), notes


def statistics_names(path: Path) -> list[str]:
    """Return the names of the columns of such a table; raises as `read_statistics`."""
    return _run(path, "names").column_names


def _run(path: Path, wanted: str) -> pa.Table:
    """Let another process read a table, or its columns without rows."""
    refuse_special(path)
    if importlib.util.find_spec("pyreadstat") is None:
        raise DataError(
            f"{path}: tables of SPSS, Stata and SAS need pyreadstat: pip install 'aekit[statistics]', or save it as CSV"
        )
    with reading(path, _COMPLAINT), path.open("rb") as file:
        if file.read(4) in _IDL:
            raise DataError(
                f"{path}: a file of IDL, not of SPSS; read it by scipy.io.readsav, and save its arrays as .npy"
            )
    done = run_python("-m", __name__, str(path.absolute()), wanted)
    if done.returncode == _REFUSED:
        raise DataError(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    if done.returncode:
        raise DataError(f"{path}: {_COMPLAINT} (in its reader: {describe_end(done.returncode)})")
    with reading(path, _COMPLAINT), pa.ipc.open_stream(done.stdout) as stream:
        return stream.read_all()


def main(path: Path, wanted: str) -> None:
    """Print a table of a statistics program as a stream of Arrow; raises `DataError`."""
    described = _read(path, metadataonly=True)[1]
    names = list(described.column_names)
    if wanted == "names":
        table, notes = pa.table({name: pa.nulls(0) for name in names}), list[str]()
    else:
        cells = (described.number_rows or 0) * (described.number_columns or 0)
        check_memory(_CELL_BYTES * cells, f"{path}: its cells")
        columns, described, dates = _read(path)
        with reading(path, _COMPLAINT):
            table, notes = _to_table(columns, described.variable_value_labels)
        notes = dates + notes
    table = table.replace_schema_metadata({_NOTES: json.dumps(notes).encode()})
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)


def _read(path: Path, **options: Any) -> tuple[Mapping[str, list[Any]], Any, list[str]]:
    """Return the columns, their description, and a line on dates beyond those of Python."""
    import pyreadstat

    read = getattr(pyreadstat, f"read_{_READERS[path.suffix.lower()]}")
    with reading(path, _COMPLAINT):
        try:
            return *read(str(path), output_format="dict", **options), []
        except OverflowError:
            note = "a date is beyond the years 1 to 9999: dates are read as numbers, as the program counts them"
            return *read(str(path), output_format="dict", disable_datetime_conversion=True, **options), [note]


def _to_table(
    columns: Mapping[str, list[Any]], value_labels: Mapping[str, Mapping[Any, Any]]
) -> tuple[pa.Table, list[str]]:
    """Return columns as a table, those whose values all have labels as categories, and notes on the other labels."""
    arrays, unused = dict[str, pa.Array](), list[str]()
    for name, values in columns.items():
        labels = value_labels.get(name, {})
        if labels and all(value in labels for value in values if not is_missing(value)):
            texts = [None if is_missing(value) else str(labels[value]) for value in values]
            arrays[name] = pa.array(texts, pa.string()).dictionary_encode()
        else:
            unused += [name] if labels else []
            arrays[name] = pa.array(values, from_pandas=True)
    listed = ", ".join(f"{name!r} ({_shown(value_labels[name])})" for name in unused[:5])
    more = f" and {len(unused) - 5} other columns" if len(unused) > 5 else ""
    notes = [f"labels of some values are not used in {listed}{more}: numbers there are numbers"] if unused else []
    return pa.table(arrays), notes


def _shown(labels: Mapping[Any, Any]) -> str:
    value, label = next(iter(labels.items()))
    return f"e.g. {value:g} {str(label)!r}" if isinstance(value, float) else f"e.g. {value} {str(label)!r}"


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except AekitError as error:
        print(error, file=sys.stderr)
        sys.exit(_REFUSED)
