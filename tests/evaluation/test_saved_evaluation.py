"""Evaluations in folders of their own, and the classes that their evaluators predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aekit
from aekit.errors import DamagedError, DataError, OutputError

LABELS = np.repeat(["cat", "dog", "hen"], 40)


def evaluated(labels: object = LABELS, **options: object) -> aekit.Evaluation:
    x = np.random.default_rng(0).normal(size=(120, 6)) + (LABELS == "dog")[:, None] + 3 * (LABELS == "hen")[:, None]
    embeddings = aekit.Embeddings.from_array(x, ids=[f"pet {row}" for row in range(120)])
    settings: dict[str, object] = {"evaluators": ["retrieval", "knn", "probe"]}
    return aekit.evaluate(embeddings, labels, **settings | options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def evaluation() -> aekit.Evaluation:
    noise = np.random.default_rng(1).normal(size=(120, 6))
    return evaluated(compare_with={"noise": noise}, groups=np.arange(120) // 2)


def test_a_saved_evaluation_says_what_it_said(evaluation: aekit.Evaluation, tmp_path: Path) -> None:
    opened = aekit.open_evaluation(evaluation.save(tmp_path / "saved"))
    assert opened.text(verbose=True) == evaluation.text(verbose=True) and opened.to_dict() == evaluation.to_dict()
    assert opened.to_pandas(paired=True).equals(evaluation.to_pandas(paired=True))
    assert opened.errors().equals(evaluation.errors()) and len(opened.errors())
    assert opened.confusion().equals(evaluation.confusion())
    assert opened.groups is not None and np.array_equal(opened.groups, evaluation.groups)
    with pytest.raises(OutputError, match="exists already"):
        evaluation.save(tmp_path / "saved")


def test_the_tables_agree_with_each_other_and_with_the_metrics(evaluation: aekit.Evaluation) -> None:
    probe = evaluation.results["encoder"]["probe"]
    confusion, errors = evaluation.confusion("probe"), evaluation.errors("probe")
    assert confusion.index.tolist() == confusion.columns.tolist() == ["cat", "dog", "hen"]
    assert np.array_equal(confusion.to_numpy(), probe.plot_data["confusion"])
    assert evaluation.per_class("probe").reset_index().to_dict("records") == probe.table
    assert len(errors) == confusion.to_numpy().sum() - np.trace(confusion.to_numpy()) > 0
    rows = [int(name.removeprefix("pet ")) for name in errors.index]
    assert errors["label"].tolist() == LABELS[rows].tolist() and (errors["label"] != errors["prediction"]).all()
    assert errors["confidence"].is_monotonic_decreasing
    assert evaluation.confusion().equals(confusion)  # of the first evaluator that predicts classes
    assert not evaluation.confusion("probe", subject="noise").equals(confusion)


def test_the_number_of_a_class_stays_its_number(tmp_path: Path) -> None:
    evaluation = evaluated((LABELS == "hen").astype(int), evaluators=["probe"])
    assert aekit.open_evaluation(evaluation.save(tmp_path / "e")).confusion().index.tolist() == ["0", "1"]


def test_what_was_not_predicted_is_one_line(evaluation: aekit.Evaluation) -> None:
    with pytest.raises(DataError, match="evaluator = 'retrieval': predicts no classes; expected probe"):
        evaluation.confusion("retrieval")
    with pytest.raises(DataError, match="evaluator = 'prob': did not run; expected probe"):
        evaluation.errors("prob")
    with pytest.raises(DataError, match="subject = 'nois': not evaluated; did you mean 'noise'"):
        evaluation.per_class(subject="nois")
    with pytest.raises(DataError, match="no predicted classes of 'encoder'; evaluators="):
        evaluated(evaluators=["retrieval"]).confusion()
    with pytest.raises(DataError, match="if the labels are classes"):
        evaluated(np.linspace(0.5, 9.25, 120), evaluators=None).errors()


def test_a_folder_that_is_none_or_was_changed_is_refused(evaluation: aekit.Evaluation, tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="no evaluation here"):
        aekit.open_evaluation(tmp_path)
    folder = evaluation.save(tmp_path / "e")
    arrays = folder / "predictions.npz"
    arrays.write_bytes(arrays.read_bytes()[:-40])
    with pytest.raises(DamagedError, match=r"predictions\.npz"):
        aekit.open_evaluation(folder)


def test_a_result_shows_its_metrics_and_no_arrays(evaluation: aekit.Evaluation) -> None:
    result = evaluation.results["encoder"]["probe"]
    assert repr(result).startswith("<Result: accuracy 0.") and len(repr(result)) < 120
    assert "<th>recall</th>" in result._repr_html_()
