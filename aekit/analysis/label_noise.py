"""Estimate how probably labels are wrong, out of predictions for samples that were held out."""

from __future__ import annotations

import numpy as np

from aekit.evaluation.linear.probe import SEARCH_TOLERANCE, LogisticPath, fit_logistic
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.progress import Progress

STRENGTHS = np.geomspace(1e-4, 10, 6)
NEIGHBORS = 10
CONFIDENT = 0.5
"""Fraction of the samples predicted as a class whose labels tell how the class is labeled."""
UNIFORM = 0.5
"""Fraction by which the noise of a pair of classes is drawn to the mean noise of all pairs, as few labels are wrong."""
EXPONENTS = np.geomspace(0.5, 8, 17)


def held_out_probabilities(
    vectors: np.ndarray, codes: np.ndarray, held_out: np.ndarray, classes: int, progress: Progress
) -> np.ndarray:
    """Predict each sample by a linear probe and by nearest neighbors among the samples of other folds.

    The probabilities of the two are combined by their geometric mean: a wrong label draws the probe and its neighbors in
    different ways.

    Args:
        vectors: (N, D).
        codes: (N,) class numbers.
        held_out: (N,) fold numbers.
        classes: C.
        progress: shows a bar.

    Returns:
        (N, C) probabilities.
    """
    folds = int(held_out.max()) + 1
    with progress.task("predict", folds, "folds") as task:
        path = fit_logistic(vectors, codes, STRENGTHS, held_out=held_out, tolerance=SEARCH_TOLERANCE)
        best = best_strength(path, vectors, codes, held_out, folds)
        combined = np.empty((len(vectors), classes), np.float32)
        for fold in range(folds):
            inside = held_out == fold
            probe = np.zeros((int(inside.sum()), classes))
            probe[:, path.classes] = path.probabilities(vectors[inside], fold * len(STRENGTHS) + best)
            _, nearest = nearest_neighbors(vectors[inside], vectors[~inside], NEIGHBORS)
            votes = np.zeros_like(probe)
            voters = codes[~inside][nearest]
            np.add.at(votes, (np.arange(len(votes))[:, None], voters), 1.0)
            votes = (votes + 1 / classes) / (voters.shape[1] + 1)
            product = np.sqrt(votes * probe.clip(1e-12))
            combined[inside] = product / product.sum(1, keepdims=True)
            task.advance(1)
    return combined


def best_strength(path: LogisticPath, vectors: np.ndarray, codes: np.ndarray, held_out: np.ndarray, folds: int) -> int:
    """Return the position of the strength with the highest likelihood of the labels that were held out."""
    losses = np.zeros(len(STRENGTHS))
    for number in range(len(STRENGTHS)):
        for fold in range(folds):
            inside = held_out == fold
            probabilities = path.probabilities(vectors[inside], fold * len(STRENGTHS) + number)
            losses[number] -= np.log(probabilities[np.arange(len(probabilities)), codes[inside]].clip(1e-12)).sum()
    return int(losses.argmin())


def label_noise(probabilities: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Estimate how often a class is labeled as each class, from the samples that are confidently of a class.

    Confident learning (Northcutt, Jiang and Chuang, 2021) counts the labels of samples that are confidently of a class. Here
    these are the more confident half of the samples that are predicted as the class: among all of them, samples between two
    overlapping classes would count as wrong labels. The noise is shrunk half way to its mean over all pairs of classes.

    Args:
        probabilities: (N, C) of samples that were held out.
        codes: (N,) class numbers of their labels.

    Returns:
        (C, C) probabilities of a label (row) of a class (column), none of them 0.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    confidence = probabilities[np.arange(len(codes)), predicted]
    order = np.lexsort((-confidence, predicted))
    sizes = np.bincount(predicted, minlength=classes)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    confident = order[rank < np.maximum(1, CONFIDENT * sizes[predicted[order]])]
    counts = np.full((classes, classes), 1 / classes) + np.eye(classes)
    np.add.at(counts, (codes[confident], predicted[confident]), 1)
    noise = counts / counts.sum(0)
    wrong = 1 - float((noise.diagonal() * sizes).sum() / len(codes))
    uniform = np.full((classes, classes), wrong / max(1, classes - 1))
    np.fill_diagonal(uniform, 1 - wrong)
    return (1 - UNIFORM) * noise + UNIFORM * uniform


def wrong_label_probabilities(probabilities: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability that each label is wrong (N,), and the most probable true class (N,).

    Classifiers that are fitted on wrong labels are less sure of the true classes than they could be: their probabilities are
    raised to the power under which the labels are most likely, given the noise. Bayes' rule then gives P(class | x, label).

    Args:
        probabilities: (N, C) of samples that were held out.
        codes: (N,) class numbers of their labels.
    """
    noise = label_noise(probabilities, codes)[codes]
    logs = np.log(probabilities.clip(1e-30))
    best, posterior = -np.inf, noise
    for exponent in EXPONENTS:
        joint = np.exp(exponent * (logs - logs.max(1, keepdims=True)))
        joint *= noise / joint.sum(1, keepdims=True)
        likelihoods = joint.sum(1, keepdims=True)
        if (total := float(np.log(likelihoods).sum())) > best:
            best, posterior = total, joint / likelihoods
    return 1 - posterior[np.arange(len(codes)), codes], posterior.argmax(1)
