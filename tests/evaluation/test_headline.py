"""One sentence says whether an encoder is any good, and claims no more than the paired tests show."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.results import Metric, Result

TITLES = {"raw": "raw pixels", "pca-8": "PCA", "random": "random weights"}


def result(right: int, count: int = 400, chance: float | None = None) -> Result:
    scores = (np.arange(count) < right).astype(float)
    return Result({"accuracy": bootstrap(scores)}, scores=scores, chance=chance)


def headline(results: dict[str, dict[str, Result]], **more: object) -> str:
    counts = {"samples": 2000, "dim": 8, "classes": 2, "train": 1200, "validation": 400, "test": 400}
    return Evaluation(None, counts, "drawn", results, titles=TITLES, **more).headline  # type: ignore[arg-type]


def test_it_names_what_the_encoder_is_better_than_and_on_what() -> None:
    results = {
        "encoder": {"probe": result(320), "retrieval": result(300), "kmeans": result(280)},
        "raw": {"probe": result(319), "retrieval": result(200), "kmeans": result(200)},
        "pca-8": {"probe": result(320), "retrieval": result(210), "kmeans": result(190)},
    }
    assert headline(results) == (
        "Better than raw pixels and PCA on retrieval and k-means clustering; "
        "no significant difference from raw pixels and PCA on the linear probe (400 test samples)."
    )
    results["raw"]["retrieval"] = result(360)
    assert headline(results) == (
        "Better than raw pixels and PCA on k-means clustering; "
        "no significant difference from raw pixels and PCA on the linear probe; "
        "worse than raw pixels on retrieval (400 test samples)."
    )


def test_nothing_significant_is_no_success() -> None:
    close = {"encoder": {"probe": result(302)}, "raw": {"probe": result(300)}}
    assert headline(close) == "No significant difference from raw pixels on the linear probe (400 test samples)."
    alone = {"encoder": {"probe": result(399)}}
    assert headline(alone) == (
        "No baseline to compare with, so the values alone do not show how good the embeddings are (400 test samples)."
    )
    bare = {"encoder": {"new": Result({"gain": Metric(0.9)})}, "raw": {"new": Result({"gain": Metric(0.2)})}}
    assert headline(bare) == "No significant difference from raw pixels on new (400 test samples)."
    assert headline({}) == "Nothing was evaluated."


def test_what_is_no_better_than_guessing_is_no_success_whatever_it_beats() -> None:
    blind = {"encoder": {"probe": result(200, chance=0.5)}, "raw": {"probe": result(100, chance=0.5)}}
    assert headline(blind) == "No better than guessing on the linear probe (400 test samples)."


def test_other_encoders_count_only_without_baselines() -> None:
    results = {"encoder": {"knn": result(300)}, "sae": {"knn": result(390)}, "raw": {"knn": result(200)}}
    assert headline(results, compared_with=("sae",)) == (
        "Better than raw pixels on k-nearest neighbors (400 test samples)."
    )
    del results["raw"]
    assert headline(results, compared_with=("sae",)) == "Worse than sae on k-nearest neighbors (400 test samples)."


def test_many_different_outcomes_are_counted() -> None:
    encoder = {"probe": result(300), "knn": result(300), "retrieval": result(300), "svm": result(300)}
    raw = {"probe": result(200), "knn": result(300), "retrieval": result(390), "svm": result(300)}
    random = {"probe": result(200), "knn": result(200), "retrieval": result(390), "svm": result(390)}
    assert headline({"encoder": encoder, "raw": raw, "random": random}) == (
        "Better than every baseline on 1 of 4 metrics; no significant difference from at least one baseline on 1; "
        "worse than at least one baseline on 2 (400 test samples)."
    )


def test_nothing_follows_from_a_probe_that_did_not_converge() -> None:
    stuck = Result(result(80).metrics, {"converged": False}, scores=result(80).scores, chance=0.2)
    results = {
        "encoder": {"probe": stuck, "retrieval": result(300)},
        "raw": {"probe": result(320, chance=0.2), "retrieval": result(200)},
    }
    assert headline(results) == "Better than raw pixels on retrieval (400 test samples)."
    counts = {"samples": 2000, "dim": 8, "classes": 2, "train": 1200, "validation": 400, "test": 400}
    evaluation = Evaluation(None, counts, "drawn", results, titles=TITLES)
    (sentence,) = [text for _, text in evaluation.graded_summary() if text.startswith("probe")]
    assert sentence == "probe: did not converge for encoder, so it allows no conclusion"
    assert "guessing" not in evaluation.text(verbose=True)
