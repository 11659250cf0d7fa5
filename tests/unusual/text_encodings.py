"""Text tables in other encodings, in digits of other scripts, cut off, or of another kind than their name says."""

from __future__ import annotations

import bz2
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unusual.exports import NAMES, NOISE, opened, rows, values
from unusual.harness import Area, Listener

import aekit
from aekit.data.source import Source
from aekit.errors import DataError

AREA = Area(__name__)
ASIAN = "名前,高さ,幅\n" + "".join(f"東京{row},{h},{w}\n" for row, (h, w, _) in enumerate(NOISE.tolist()))


def from_bytes(folder: Path, content: bytes, name: str = "t.csv") -> Source:
    (folder / name).write_bytes(content)
    return aekit.open_data(folder / name)


@AREA.changed(
    "a file in UTF-8 that ends within a character", "the file ends within a character, as one does that is cut off"
)
def _(folder: Path, listener: Listener) -> None:
    labeled = "高さ,幅,label\n" + "".join(f"{h},{w},東京\n" for h, w, _ in NOISE.tolist())
    source = from_bytes(folder, labeled.encode()[:-2])
    listener.lines += source.notes
    assert source.spec.names == ["高さ", "幅"] and np.array_equal(values(source), NOISE[:, :2])
    sixteen = from_bytes(folder, ASIAN.encode("utf-16")[:-1])
    assert sixteen.spec.names == source.spec.names and len(sixteen) == 40 and "cut off" in sixteen.note


@AREA.changed(
    "a file in UTF-8 with one cell in Latin-1, as of two files joined", "1 place, in line 42, is not UTF-8 and left out"
)
def _(folder: Path, listener: Listener) -> None:
    source = from_bytes(folder, ASIAN.encode() + "café,1,2\n".encode("latin-1"))
    listener.lines += source.notes
    assert source.spec.names == ["高さ", "幅"] and values(source)[-1].tolist() == [1, 2]
    french = "nom,é,h\n" + "".join(f"café {row},{row % 7},{row % 3}\n" for row in range(40))
    assert from_bytes(folder, french.encode("latin-1")).spec.names == ["é", "h"], "Latin-1 all over"


@AREA.changed(
    "digits of other scripts: full-width, Arabic, Persian and Thai", "digits of other scripts in 'h', 'w', 'd'"
)
def _(folder: Path, listener: Listener) -> None:
    for zero, point in ((0xFF10, "\uff0e"), (0x660, "\u066b"), (0x6F0, "\u066b"), (0xE50, ".")):
        digits = str.maketrans({str(digit): chr(zero + digit) for digit in range(10)} | {".": point})
        source = opened(folder, f"{','.join(NAMES)}\n{rows(NOISE).translate(digits)}")
        assert np.array_equal(values(source), NOISE), hex(zero)
        listener.lines += source.notes
        cells = [[str(cell).translate(digits) for cell in row] for row in NOISE.tolist()]
        assert np.array_equal(values(aekit.open_data(pd.DataFrame(cells, columns=NAMES))), NOISE), hex(zero)
    labeled = opened(folder, "a,b,label\n" + "".join(f"{row % 7},{row % 5},{'٣٤'[row % 2]}\n" for row in range(40)))
    assert labeled.labels is not None and set(labeled.labels.tolist()) == {"٣", "٤"}, "classes keep their names"


@AREA.changed(
    'codes and numbers written as ="007", which Excel keeps as they are', 'cells such as ="007" are read as their text'
)
def _(folder: Path, listener: Listener) -> None:
    for form in ('="{}"', '"=""{}"""'):
        cells = "".join(
            f"{form.format(f'{row:05d}')},{form.format(h)},{w}\n" for row, (h, w, _) in enumerate(NOISE.tolist())
        )
        source = opened(folder, f"id,h,w\n{cells}")
        assert np.array_equal(values(source), NOISE[:, :2]) and source.ids[7] == "00007"
        listener.lines += source.notes
    text = 'note,h\n"<a href=""x"">",1\n"b=""c"" d",2\n'
    assert not any("=" in line for line in opened(folder, text).notes)


@AREA.changed("decimal commas between blanks, aligned or not, with names or not", "decimal commas in 'h', 'w', 'd'")
def _(folder: Path, listener: Listener) -> None:
    cells = [[str(cell).replace(".", ",") for cell in row] for row in NOISE.tolist()]
    for lines in ([" ".join(row) for row in cells], ["".join(f"{cell:>10}" for cell in row) for row in cells]):
        source = opened(folder, "\n".join(["h w d", *lines]) + "\n")
        assert np.array_equal(values(source), NOISE)
        listener.lines += source.notes
        assert np.array_equal(values(opened(folder, "\n".join(lines) + "\n", "t.txt")), NOISE)
    grouped = opened(folder, "h,w\n" + "1 234,5 678\n" * 30)
    assert values(grouped)[0].tolist() == [1234, 5678], "blanks of thousands between commas"


@AREA.refused(
    "archives, databases and arrays under the name of a CSV", "not a text table, but an archive; unpack it first"
)
def _(folder: Path, listener: Listener) -> None:
    import io

    text, array = rows(NOISE, ",".join(NAMES)).encode(), io.BytesIO()
    np.save(array, NOISE)
    for content, said in (
        (bz2.compress(text), "an archive; unpack it first"),
        (lzma.compress(text), "an archive; unpack it first"),
        (b"Rar!\x1a\x07\x01\0" + bytes(99), "an archive; unpack it first"),
        (b"SQLite format 3\0" + bytes(999), "a database of SQLite; save its table as CSV or Parquet"),
        (array.getvalue(), "an array of NumPy; its name should end in .npy"),
    ):
        with pytest.raises(DataError, match=said):
            from_bytes(folder, content)
    from_bytes(folder, b"7z\xbc\xaf\x27\x1c" + bytes(99))
