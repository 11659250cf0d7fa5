"""Text tables of any make hold what was written into them, and damaged ones are read or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aekit.data.opening import open_data
from aekit.data.readers._word_vectors import find_word_vectors
from aekit.errors import DataError

NAMES = ("alpha", "b c", "größe", "d,e", 'q"x', "x;y")
WORDS = ("red", "green, dark", "blue;x", 'say "hi"')


def random_frame(rng: np.random.Generator) -> pd.DataFrame:
    """Make a table of up to six columns of numbers, words, booleans and gaps, in any order of its index."""
    count = int(rng.integers(8, 60))
    makers = (
        lambda: rng.normal(size=count).round(int(rng.integers(0, 5))),
        lambda: rng.integers(-50, 50, count),
        lambda: rng.choice(WORDS, count),
        lambda: rng.random(count) < 0.5,
        lambda: rng.normal(1e6, 1000, count).round(2),
        lambda: pd.Series(rng.normal(size=count)).where(rng.random(count) < 0.8),
        lambda: rng.integers(1000, 2_000_000, count),
        lambda: rng.choice([0.001, 0.125, 1.5], count),
    )
    width = int(rng.integers(1, len(NAMES)))
    frame = pd.DataFrame({name: makers[rng.integers(len(makers))]() for name in NAMES[:width]})
    return frame.sample(frac=0.8, random_state=0) if rng.random() < 0.5 else frame


def contents(data: Path | pd.DataFrame) -> tuple[list[str], np.ndarray]:
    try:
        source = open_data(data)
    except DataError as error:
        return [str(error).partition(": ")[2]], np.zeros(0)
    return source.spec.names, source.read(np.arange(len(source)))[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_csv_has_the_features_of_its_dataframe(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        frame = random_frame(rng)
        delimiter = str(rng.choice([",", ";", "\t", "|"]))
        settings = {
            "sep": delimiter,
            "decimal": "," if delimiter != "," and rng.random() < 0.5 else ".",
            "index": bool(rng.random() < 0.5),
            "encoding": str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        }
        frame.to_csv(tmp_path / "t.csv", **settings)
        (names, values), (expected_names, expected) = contents(tmp_path / "t.csv"), contents(frame)
        assert names == expected_names, settings
        assert np.allclose(values, expected, equal_nan=True), settings


def test_a_damaged_csv_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "t.csv"
    starts = [
        b"a,b\n1,2\n3,4\n",
        b"id;x;class\n1;2,5;u\n2;3,5;v\n",
        b'"a" "b"\n"1" 2 3\n',
        "é,b\n1,x\n".encode("utf-16"),
        b"# c\na\tb\n1\t2\n",
        b'a,"b\nc",d\n1,"2\n3",4\n',
    ]
    for _ in range(300):
        content = bytearray(starts[rng.integers(len(starts))] * int(rng.integers(1, 4)))
        for _ in range(int(rng.integers(1, 6))):
            place = int(rng.integers(len(content) + 1))
            if rng.random() < 0.5:
                content[place:place] = bytes([int(rng.choice(list(b',;\t|"\n\r# %.-0189abx\x00\xff\xe9')))])
            else:
                del content[place : place + int(rng.integers(1, 4))]
        path.write_bytes(content)
        try:
            open_data(path)
        except DataError as error:
            assert "\n" not in str(error), content


@pytest.mark.parametrize(
    "rows",
    [
        ["a 1 2", "b 3 4"],  # too few to tell
        ["M 0.1 0.2", "F 0.3 0.4", "M 0.5 0.6"],  # classes
        ["2024-01-01 0.1 0.2", "2024-01-02 0.3 0.4", "2024-01-03 0.5 0.6"],  # dates
        ["a.png 0 1", "b.png 1 0", "c.png 1 1"],  # images and their classes
        ["name a b", "x 1 2", "y 3 4", "z 5 6"],  # names of columns
        ["a,1 2 3", "b,1 2 3", "c,x 2 3"],
        ["a 1 2", "b 3 x", "c 5 6"],
    ],
)
def test_what_only_resembles_word_vectors(rows: list[str]) -> None:
    assert find_word_vectors(rows) is None


def test_word_vectors() -> None:
    assert find_word_vectors(["the 1 2", ". . . 3 4", "of -5e-1 .6", "to 7 8"]) == (2, None)
    assert find_word_vectors(["3 2", "the 1 2 ", "new york 3 4 ", "of 5 6 "]) == (2, 3)


@pytest.mark.parametrize("delimiter", ["auto", "blanks", ","])
def test_a_table_of_empty_cells_is_refused(delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text('\n""\n')
    with pytest.raises(DataError, match=r"no columns of numbers; .* empty columns ignored: '0'"):
        open_data(tmp_path / "empty.csv", {"arrays": {"delimiter": delimiter}})
