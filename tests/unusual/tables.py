"""Tables that people have: CSV, TSV, Parquet and DataFrames."""

from __future__ import annotations

from pathlib import Path

from unusual.harness import Area, Listener

import aekit

AREA = Area(__name__)


@AREA.refused("a CSV with a line of names alone", "empty.csv: the table has no rows")
def _(folder: Path, listener: Listener) -> None:
    (folder / "empty.csv").write_text("a,b\n")
    aekit.open_data(folder / "empty.csv")


@AREA.right("columns whose names hold blanks and quotes")
def _(folder: Path, listener: Listener) -> None:
    (folder / "named.csv").write_text('a b,"c ""d"""\n1,2\n3,4\n')
    source = aekit.open_data(folder / "named.csv")
    assert [column.name for column in source.spec.columns] == ["a b", 'c "d"']
    assert "2 samples" in listener.command("data", folder / "named.csv")
