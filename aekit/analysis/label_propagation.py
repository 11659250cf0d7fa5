"""Propagate the labels of a few samples to all others, along their nearest neighbors or by a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis._few_labels import (
    FEW_STRENGTH,
    SURE,
    Accuracy,
    FewLabels,
    Method,
    accuracy_of,
    predict,
    predict_held_out,
    predict_unused,
)
from aekit.analysis._groups import sample_groups
from aekit.analysis._results import AnalysisResult, write_columns
from aekit.analysis._samples_image import draw_embedded, embedded_thumbnails, shown_samples
from aekit.analysis.inputs import check_least, labeled_classes, open_or_embed
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError, RecipeError, closest_name
from aekit.evaluation.propagation import ALPHA, NEIGHBORS, neighbor_graph
from aekit.evaluation.splits import sample_per_class
from aekit.io.remote import optional_folder
from aekit.io.text_table import format_columns, format_names
from aekit.progress_display import ProgressOption, open_progress
from aekit.visualization.sample_page import SamplePage, Section

if TYPE_CHECKING:
    from scipy.sparse import csr_array

GIVEN, UNUSED = "given labels, cross-validated", "labels that were not used"
SHOWN, IMAGE_COLUMNS, IMAGE_ROWS = 10, 8, 4
PAGE_UNSURE, PAGE_SURE, PAGE_CLASSES = 48, 8, 25
"""Least sure samples on the page, and the surest of a class, of so many classes."""

_OTHER: dict[Method, Method] = {"propagation": "linear", "linear": "propagation"}
_NAMES: dict[Method, str] = {"propagation": "propagation", "linear": "a linear classifier"}


@dataclass(frozen=True, eq=False)
class PropagatedLabels(AnalysisResult):
    """A label for each sample, from the few labels that were given.

    Attributes:
        digest: digest of the encoder.
        ids: (N,) names of all samples.
        classes: (C,) names of the classes.
        codes: (N,) class number of each sample: the given one, or the propagated one.
        shares: (N,) how sure the label is, in 0..1: its part of the weight of all labels that lead to the sample, 0 if none
            does; or its probability by the linear classifier.
        is_given: (N,) bool, whether the label was given.
        method: ``propagation`` or ``linear``.
        accuracy: how many labels each method predicted right; None if there were too few labels to tell.
        notes: remarks.
        image: the least sure samples, or None if the samples are not available.
        page: the least sure samples, and the surest of each class.
    """

    digest: str
    ids: Sequence[str]
    classes: np.ndarray
    codes: np.ndarray
    shares: np.ndarray
    is_given: np.ndarray
    method: Method
    accuracy: Accuracy | None = None
    notes: list[str] = field(default_factory=list)
    image: Image.Image | None = None
    page: SamplePage | None = None

    stem = "propagated"

    @property
    def labels(self) -> np.ndarray:
        """The (N,) labels."""
        return self.classes[self.codes]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per class: given labels, propagated ones, and how many of these are sure: their share is at least 0.5."""
        new = ~self.is_given
        return [
            {
                "label": str(name),
                "given": int((self.is_given & (self.codes == code)).sum()),
                "propagated": int((new & (self.codes == code)).sum()),
                "sure": int((new & (self.codes == code) & (self.shares >= SURE)).sum()),
            }
            for code, name in enumerate(self.classes)
        ]

    def conclusion(self) -> str:
        """Return how many samples got a label and how reliable the labels are, as sentences without the last full stop."""
        old, new = int(self.is_given.sum()), int((~self.is_given).sum())
        if self.method == "propagation":
            done = f"{old:,} given labels were propagated to {new:,} samples"
        else:
            done = f"A linear classifier of {old:,} given labels labeled {new:,} samples"
        if self.accuracy is None:
            return f"{done}. How many are right is unknown, as that takes two given labels of a class"
        checked, other = self.accuracy, _OTHER[self.method]
        return (
            f"{done}. Accuracy on {checked.count:,} {checked.of}: {checked.methods[self.method]}; "
            f"of {_NAMES[other]}: {checked.methods[other]}"
        )

    def details(self) -> list[str]:
        rows = sorted(self.rows(), key=lambda row: -row["propagated"])
        more = [f"... and {len(rows) - SHOWN} more classes"] if len(rows) > SHOWN else []
        return [*self._sure(), format_columns(rows[:SHOWN]), *more]

    def _sure(self) -> list[str]:
        sure = int((~self.is_given & (self.shares >= SURE)).sum())
        if self.accuracy is None or self.accuracy.sure is None:
            return []
        right = f"accuracy on {self.accuracy.sure_count:,} such labels {self.accuracy.sure}"
        return [f"{sure:,} new labels are sure (share of at least {SURE}): {right}"]

    def table(self) -> list[dict[str, Any]]:
        return self.rows()

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table: the label, its share, and whether it was given."""
        return {"id": list(self.ids), "label": self.labels, "share": self.shares, "given": self.is_given}

    def save(self, folder: Path) -> None:
        """Write ``labels.csv``, ``propagated.csv``, ``propagated.json``, ``image.png`` and the page into an existing folder."""
        super().save(folder)
        write_columns(folder / "labels.csv", {"id": list(self.ids), "label": self.labels})

    def __repr__(self) -> str:
        return f"<PropagatedLabels: {int(self.is_given.sum()):,} given, {int((~self.is_given).sum()):,} other samples>"

    def summary(self) -> dict[str, Any]:
        return {
            "samples": len(self.ids),
            "given": int(self.is_given.sum()),
            "method": self.method,
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "classes": self.rows(),
        }


@checked_arguments
def propagate_labels(
    embeddings: Any,
    labels: Any = None,
    *,
    method: Literal["auto", "propagation", "linear"] = "auto",
    per_class: int | None = None,
    groups: Any = None,
    neighbors: int = NEIGHBORS,
    alpha: float = ALPHA,
    folds: int = 5,
    out: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: ProgressOption = None,
) -> PropagatedLabels:
    """Propagate the labels of a few samples to all others (Zhou et al., 2004).

    Each sample passes its label on to its nearest neighbors, these to theirs, and so on: samples between which others lie densely
    get the same label. Unlike a classifier that is fitted to the labels alone, this uses all the other samples too. Where classes
    are no dense regions of the embeddings, logistic regression on the labels predicts more of them in cross-validation, and
    labels the samples instead; so it does samples that no label leads to.

    Args:
        embeddings: `aekit.Embeddings`, their folder or vectors (N, D); or a run or its encoder, whose training data is embedded.
        labels: (N,) classes, or as `aekit.evaluate` takes them; default: those stored with the embeddings. None, NaN and ""
            stand for a missing label.
        method: auto: the one that predicts more of the given labels in cross-validation; propagation in a tie, or where no class
            has two labels.
        per_class: use only so many labels of each class, and compare the others with the propagated ones; None: use all.
        groups: (N,) group of each sample, such as the patient: in cross-validation the labels of a group are predicted from other
            groups. Samples with equal embeddings, and by default the windows of a recording, are such a group too.
        neighbors: number of neighbors that a sample is linked to.
        alpha: part of the weight that comes from the neighbors rather than from the sample's own label, above 0 and below 1.
        folds: number of folds of the cross-validation of the given labels.
        out: new folder for the labels, the table, the summary, the image and the page.
        seed: seed of the folds, of the intervals and of `per_class`.
        device: device that the encoder of a run computes on; default: the CPU.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        The labels of all samples, in the order of the embeddings.

    Raises:
        DataError: no labels, labels that are not classes, a single class, or no sample without a label.
        RecipeError: fewer than 1 neighbor, 2 folds or 1 label per class, or alpha outside of its range.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> vectors = np.random.default_rng(0).normal(size=(100, 8)) + 4 * (np.arange(100) >= 50)[:, None]
        >>> labels = np.full(100, None)
        >>> labels[[0, 1, 98, 99]] = "cat", "cat", "dog", "dog"
        >>> result = aekit.propagate_labels(vectors, labels)
        >>> set(result.labels[:50].tolist()), set(result.labels[50:].tolist())
        ({'cat'}, {'dog'})
    """
    progress = open_progress(progress)
    _check(method, neighbors, alpha, folds, per_class)
    embeddings = open_or_embed(embeddings, progress, device)
    rows, codes, classes = labeled_classes(embeddings, labels)
    used = (
        np.arange(len(rows))
        if per_class is None
        else sample_per_class(np.arange(len(rows)), codes, per_class, seed=seed)
    )
    if len(used) == len(embeddings):
        raise DataError(
            f"all {len(embeddings):,} samples have a label: expected some without one; per_class (--per-class) uses a few of them"
        )
    unused = np.setdiff1d(np.arange(len(rows)), used)
    units = sample_groups(embeddings, groups, progress)
    vectors = np.asarray(embeddings.vectors, np.float32)
    with optional_folder(out) as folder, progress.task("propagate", 3, "steps") as task:
        graph = neighbor_graph(vectors, min(neighbors, len(vectors) - 1))
        task.advance(1)
        few = FewLabels(vectors, graph, rows[used], codes[used], units, len(classes), alpha)
        held_out, strength = predict_held_out(few, folds, seed) or (None, FEW_STRENGTH)
        task.advance(1)
        best: Method = "propagation" if held_out is None else held_out.best
        chosen = best if method == "auto" else method
        shares: dict[Method, np.ndarray] = {"propagation": few.propagated(), "linear": few.classified(strength)}
        task.advance(1)
        known = predict_unused(shares, rows[unused], codes[unused]) if len(unused) else held_out
        of = UNUSED if len(unused) else GIVEN
        accuracy = None if known is None else accuracy_of(known, of, chosen, units, seed)
        result = _result(embeddings, few, shares, classes, chosen, accuracy)
        if folder is not None:
            result.save(folder)
    return result


def _check(method: str, neighbors: int, alpha: float, folds: int, per_class: int | None) -> None:
    methods = ("auto", *get_args(Method))
    if method not in methods:
        raise RecipeError([f"method = {method!r}: expected {', '.join(methods)}{closest_name(method, methods)}"])
    if not 0 < alpha < 1:
        raise RecipeError([f"alpha = {alpha}: expected a number above 0 and below 1"])
    check_least("neighbors", neighbors, 1)
    check_least("folds", folds, 2)
    if per_class is not None:
        check_least("per_class", per_class, 1)


def _result(
    embeddings: Embeddings,
    few: FewLabels,
    shares: dict[Method, np.ndarray],
    classes: np.ndarray,
    method: Method,
    accuracy: Accuracy | None,
) -> PropagatedLabels:
    codes, largest = predict(shares[method], shares["linear"])
    codes[few.rows], largest[few.rows] = few.codes, shares[method][few.rows, few.codes]
    is_given = np.zeros(len(codes), bool)
    is_given[few.rows] = True
    result = PropagatedLabels(embeddings.digest, embeddings.ids, classes, codes, largest, is_given, method, accuracy)
    order = np.flatnonzero(~is_given)
    order = order[np.argsort(largest[order], kind="stable")]
    result = replace(result, notes=_notes(result, few.graph), image=_image(embeddings, order, result))
    return replace(result, page=_page(embeddings, order, result))


def _notes(result: PropagatedLabels, graph: csr_array) -> list[str]:
    from scipy.sparse.csgraph import connected_components

    notes, apart = [], np.flatnonzero(~result.is_given & (result.shares == 0))
    if len(apart):
        group = connected_components(graph, directed=False)[1][apart]
        first = apart[np.sort(np.unique(group, return_index=True)[1])]
        some = format_names([str(result.ids[int(row)]) for row in first[:SHOWN]])
        where, one = (f"{len(first):,} groups", "one of each") if len(first) > 1 else ("one group", "one of them")
        notes.append(
            f"no label leads to {len(apart):,} samples in {where}: a linear classifier labels them; better label {one}, "
            f"e.g. {some}"
        )
    if (checked := result.accuracy) is not None:
        accuracy = checked.methods[result.method]
        if accuracy.low is not None and accuracy.low <= checked.most_frequent:
            notes.append(f"not significantly better than the most frequent label alone, {checked.most_frequent:.3f}")
    single = [row["label"] for row in result.rows() if row["given"] == 1]
    if single and checked is not None and checked.of == GIVEN:
        notes.append(f"classes with one given label were not cross-validated: {format_names(single[:SHOWN])}")
    return notes


def _image(embeddings: Embeddings, order: np.ndarray, result: PropagatedLabels) -> Image.Image | None:
    """Draw the least sure samples with their label and its share."""
    shown = order[: IMAGE_COLUMNS * IMAGE_ROWS]
    if not len(shown):
        return None
    labels = result.labels
    rows = [shown[start : start + IMAGE_COLUMNS] for start in range(0, len(shown), IMAGE_COLUMNS)]
    captions = [[f"{labels[row]} {result.shares[row]:.2f}" for row in part] for part in rows]
    return draw_embedded(embeddings, rows, captions=captions, title="the least sure samples: label and its share")


def _page(embeddings: Embeddings, order: np.ndarray, result: PropagatedLabels) -> SamplePage:
    """Show the least sure samples, then the surest of each class."""
    labels, parts = result.labels, [("Least sure", order[:PAGE_UNSURE])]
    counts = np.bincount(result.codes[order], minlength=len(result.classes))
    for code in np.argsort(-counts, kind="stable")[:PAGE_CLASSES]:
        members = order[result.codes[order] == code]
        if len(members):
            parts.append((str(result.classes[code]), members[::-1][:PAGE_SURE]))
    rows = np.concatenate([members for _, members in parts])
    titles, captions = (labels[rows].astype(str).tolist(), [f"{share:.2f}" for share in result.shares[rows]])
    samples, sections = shown_samples(embeddings, rows.tolist(), titles, captions), []
    for number, (title, members) in enumerate(parts):
        meaning = "The label and its share: how sure it is." if number == 0 else ""
        sections.append(Section(title=title, remark=meaning, samples=samples[: len(members)], narrow=number > 0))
        samples = samples[len(members) :]
    sections.insert(1, Section(title="Labels by class", table=result.rows()))
    return SamplePage(
        title="Propagated labels",
        conclusion=f"{result.conclusion()}.",
        severity="notice" if result.accuracy is None or result.notes else "good",
        notes=result.notes,
        encoder=result.digest,
        sections=sections,
        thumbnails=embedded_thumbnails((embeddings, rows)),
    )
