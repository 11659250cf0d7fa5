"""Register the built-in evaluators for `aekit_plugins`."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl

API = 2
"""Version of the plugin API that these plugins were written for."""


@hookimpl
def aekit_register_evaluators() -> list[Entry]:
    at, labels, quick = "aekit_plugins.evaluators", ("labels", "concurrent"), ("labels", "concurrent", "quick")
    return [
        Entry(
            "probe",
            f"{at}.probe:evaluate",
            "fits a linear model to frozen embeddings, for classes, several labels or numbers",
            API,
            ("labels", "numbers", "multi-label", "concurrent", "quick"),
        ),
        Entry("knn", f"{at}.knn:evaluate", "classifies by a vote of the nearest training samples", API, quick),
        Entry(
            "few-labels", f"{at}.few_labels:evaluate", "fits a linear model to 1 to 100 labels per class", API, labels
        ),
        Entry(
            "retrieval",
            f"{at}.retrieval:evaluate",
            "measures how well a search finds samples of the same class",
            API,
            quick,
        ),
        Entry(
            "anomaly",
            f"{at}.anomaly:evaluate",
            "measures how well samples of other classes are told from normal ones",
            API,
            labels,
        ),
        Entry(
            "kmeans",
            f"{at}.kmeans:evaluate",
            "compares clusters of k-means with classes, and measures how separated they are",
            API,
            ("concurrent", "quick"),
        ),
        Entry(
            "gaussian-mixture",
            f"{at}.gaussian_mixture:evaluate",
            "compares Gaussian clusters of any size and orientation with classes",
            API,
            ("concurrent",),
        ),
        Entry(
            "hdbscan",
            f"{at}.hdbscan:evaluate",
            "compares dense clusters of any shape and number with classes",
            API,
            ("concurrent",),
        ),
        Entry(
            "svm",
            f"{at}.svm:evaluate",
            "fits a support vector machine, linear or rbf",
            API,
            ("labels", "concurrent", "slow"),
        ),
        Entry(
            "mlp-head",
            f"{at}.mlp_head:evaluate",
            "fits a small nonlinear network to frozen embeddings",
            API,
            ("labels", "concurrent", "slow"),
        ),
    ]
