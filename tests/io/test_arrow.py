"""Numbers reach Arrow unchanged, and without pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aekit.io.arrow import arrow_numbers, arrow_texts, arrow_values


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32", "float64", "float16"])
def test_numbers_are_those_of_arrow(dtype: str) -> None:
    values = np.arange(12).astype(dtype)
    for part in (values, values[::3], values[:0]):
        assert arrow_numbers(part).equals(pa.array(part))
    vectors = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    assert arrow_numbers(vectors.ravel()).to_pylist() == vectors.ravel().tolist()


def test_not_a_number_is_no_missing_value() -> None:
    assert arrow_numbers(np.array([1.0, np.nan])).null_count == 0


@pytest.mark.parametrize("values", [np.array([True, False]), np.zeros((2, 2)), np.array(["a"]), np.zeros(2, ">f4")])
def test_what_is_stored_in_another_way_is_refused(values: np.ndarray) -> None:
    with pytest.raises(TypeError, match="expected one axis of integers or floats"):
        arrow_numbers(values)


@pytest.mark.parametrize(
    "values",
    [
        ["a", "", "Größe", "日本\x00語"],
        [],
        np.array(["x", "yz"]),
        np.array(["x", None], object),
        np.empty(0, "<U3"),
        ("t",),
    ],
)
def test_texts_are_those_of_arrow(values: Any) -> None:
    texts = arrow_texts(values)
    texts.validate(full=True)
    assert texts.equals(pa.array(list(values), pa.string()))


def test_text_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        arrow_texts(["\udc80"])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([3, 1, 2], pa.int32()),
        pa.array([0.5, None, 2.0], pa.float32()),
        pa.array([0.5, 1.5, 2.0])[1:],
        pa.array([None, 7]),
        pa.array([True, False]),
        pa.chunked_array([[1, 2], [], [3]]),
        pa.chunked_array([[1.0, None], [2.0]]),
        pa.chunked_array([], pa.float64()),
        pa.array([1.5, 2.5], pa.float16()),
    ],
)
def test_values_are_those_of_arrow(column: pa.Array | pa.ChunkedArray) -> None:
    is_chunked = isinstance(column, pa.ChunkedArray)
    expected = column.to_numpy() if is_chunked else column.to_numpy(zero_copy_only=False)
    values = arrow_values(column)
    assert values.dtype == expected.dtype
    np.testing.assert_array_equal(values, expected)
    if is_chunked:
        values[:] = 0  # a copy, as that of Arrow
        np.testing.assert_array_equal(arrow_values(column), expected)


def test_texts_become_objects() -> None:
    assert arrow_values(pa.array(["a", None])).tolist() == ["a", None]
    assert arrow_values(pa.chunked_array([["a"], ["b"]])).dtype == object


def test_embeddings_are_written_and_hits_are_read_without_pandas() -> None:
    pytest.importorskip("pandas")
    code = """
import sys
import numpy as np
import pyarrow as pa
from aekit.encoder.embedded_rows import Rows, to_table
from aekit.index._hits import Hits
table = to_table(Rows(["a", "b"], np.ones((2, 3), np.float32), np.array(["u", "v"]), None, ["x", "y"]), "digest", "fp32")
assert Hits.of(["q"], np.ones((1, 2)), np.array([[1, 0]]), table).ids.tolist() == [["b", "a"]]
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
