"""Labels as people pass them: missing ones are NaN or "", whatever container they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import aekit
from aekit.data.labels import label_texts, to_label_array
from aekit.errors import DataWarning
from aekit.evaluation.splits import has_label, is_classes, to_class_labels, to_numbers

NAMES = ["a", "b", None, "a"]
MISSING = {
    "list": NAMES,
    "list with NaN": ["a", "b", float("nan"), "a"],
    "tuple": tuple(NAMES),
    "array of objects": np.array(NAMES, object),
    "Series": pd.Series(NAMES),
    "Series of strings": pd.Series(NAMES, dtype="string"),
    "Categorical": pd.Categorical(NAMES),
    "Arrow": pa.array(NAMES),
    "masked": np.ma.masked_array(np.array(["a", "b", "c", "a"]), mask=[False, False, True, False]),
}


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
def test_a_missing_name_is_an_empty_text(labels: Any) -> None:
    assert to_label_array(labels).tolist() == ["a", "b", "", "a"]
    assert has_label(labels).tolist() == [True, True, False, True] and is_classes(labels)
    assert to_class_labels(labels, 4, what="samples")[0].tolist() == ["a", "b", "", "a"]


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, None, 10],
        np.array([0, 1, np.nan, 10.0]),
        pd.array([0, 1, None, 10], dtype="Int64"),
        pd.Series([0, 1, None, 10], dtype="Int64"),
        pa.array([0, 1, None, 10]),
        np.ma.masked_array([0, 1, 7, 10], mask=[0, 0, 1, 0]),
    ],
    ids=["list", "float64", "Int64", "Series of Int64", "Arrow", "masked"],
)
def test_a_missing_number_is_nan(labels: Any) -> None:
    assert np.array_equal(to_label_array(labels), [0, 1, np.nan, 10], equal_nan=True)
    assert label_texts(labels).tolist() == ["0", "1", "", "10"]
    assert to_class_labels(labels, 4, what="samples")[0].tolist() == ["0", "1", "", "10"]
    assert np.array_equal(to_numbers(labels), [0, 1, np.nan, 10], equal_nan=True)


def test_other_labels_stay_as_they_are() -> None:
    assert to_label_array([3, 1]).dtype.kind == "i" and to_label_array(np.uint8([3, 1])).dtype == np.uint8
    assert to_label_array(torch.tensor([3, 1])).tolist() == [3, 1]
    assert to_label_array([True, False]).tolist() == [True, False]
    assert to_label_array([1, "b"]).tolist() == ["1", "b"]
    assert to_label_array([[0, 1], [1, 0]]).tolist() == [[0, 1], [1, 0]]
    assert to_label_array([2**53 + 1, None]).tolist() == ["9007199254740993", ""], "which no float holds"
    assert to_label_array(pd.array([True, None], dtype="boolean")).tolist() == ["True", ""]
    assert to_label_array(pd.to_datetime(["2020", None])).tolist()[1] == ""
    assert to_label_array(np.array(["2020", "nat"], "M8[D]")).tolist() == ["2020-01-01", ""]
    assert label_texts([0.5, np.nan, 1.0]).tolist() == ["0.5", "", "1.0"]
    assert label_texts(np.array([1.0, 2.0])).tolist() == ["1", "2"]
    assert label_texts([1e19, 2e19]).tolist() == ["1e+19", "2e+19"], "which int64 does not hold"
    assert to_class_labels([1e19, 2e19], 2, what="samples")[0].tolist() == ["1e+19", "2e+19"]


def test_unlabeled_samples_are_no_class() -> None:
    rng = np.random.default_rng(0)
    y = pd.Series((["a", "b"] * 20)[:38] + [None, None], dtype="string")
    samples = rng.normal(size=(40, 3)).astype(np.float32)
    samples[:, 0] += 3 * (y == "a").fillna(False).to_numpy(float)
    assert aekit.open_data((samples, y)).labels.tolist()[-3:] == ["b", "", ""]
    settings: dict[str, Any] = {"evaluators": ["knn"], "baselines": False, "progress": False}
    with pytest.warns(DataWarning, match="2 of 40 samples have no label"):
        result = aekit.evaluate(aekit.Embeddings.from_array(samples, labels=y), **settings)
    with pytest.warns(DataWarning, match="2 of 40 samples have no label"):
        named = aekit.evaluate(aekit.Embeddings.from_array(samples), labels=y, **settings)
    assert str(named) == str(result)


class Named(torch.utils.data.TensorDataset):
    """Samples with the numbers of their classes, whose names it has."""

    classes = ("cat", "dog")


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [
        ([0, 1, 0], ["cat", "dog", "cat"]),
        ([0, -1, 1], ["cat", "", "dog"]),
        ([0, -2, 1], [0, -2, 1]),
        ([0, 1, 2], [0, 1, 2]),
    ],
)
def test_numbers_of_classes_get_their_names(numbers: list[int], labels: list[Any]) -> None:
    """-1 is no label, as in STL10 of torchvision, rather than the last class."""
    source = aekit.open_data(Named(torch.eye(3), torch.tensor(numbers)))
    assert source.labels is not None and source.labels.tolist() == labels
