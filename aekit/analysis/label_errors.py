"""Find labels that are probably wrong, by predictions of classifiers that were not fitted on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis._groups import assign_unit_folds, others_of_class, sample_groups
from aekit.analysis._results import AnalysisResult
from aekit.analysis._samples_image import draw_embedded, embedded_thumbnails, shown_samples
from aekit.analysis.inputs import check_least, labeled_classes, open_or_embed
from aekit.analysis.label_noise import held_out_probabilities, wrong_label_probabilities
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError
from aekit.io.remote import optional_folder
from aekit.io.text_table import format_columns
from aekit.progress import warn
from aekit.progress_display import ProgressOption, open_progress
from aekit.visualization.sample_page import SamplePage, Section

PROBABLY = 0.5
"""Score above which a label is called probably wrong."""
MIN_OTHERS = 2
"""Samples of its class outside of a sample's fold that are needed to assess its label."""
SHOWN, IMAGE_COLUMNS, IMAGE_ROWS = 10, 8, 5
PAGE_WRONG, PAGE_NEXT = 240, 24
"""Most probably wrong labels on the page, and the labels after them."""


@dataclass(frozen=True, eq=False)
class LabelErrors(AnalysisResult):
    """Labels and how probably they are wrong, the most suspicious label first.

    Attributes:
        digest: digest of the encoder.
        ids: (N,) names of the samples whose labels were assessed.
        labels: (N,) their labels.
        suggested: (N,) the most probable label of each. It is the given one where that is probably right, and sometimes where
            it is probably wrong, if every other one is still less probable.
        scores: (N,) probability that the label is wrong, in 0..1.
        accuracy: fraction of the labels that the cross-validated classifiers predict.
        notes: remarks on what was left out.
        image: the most suspicious samples, or None if the samples are not available.
        page: the most suspicious samples.
    """

    digest: str
    ids: list[str]
    labels: np.ndarray
    suggested: np.ndarray
    scores: np.ndarray
    accuracy: float
    notes: list[str] = field(default_factory=list)
    image: Image.Image | None = None
    page: SamplePage | None = None

    stem = "label_errors"

    @property
    def count(self) -> int:
        """Number of labels that are probably wrong: their score is above 0.5."""
        return int((self.scores > PROBABLY).sum())

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per sample: id, label, suggested label, and score."""
        return [
            {"id": name, "label": str(label), "suggested": str(suggested), "score": float(score)}
            for name, label, suggested, score in zip(self.ids, self.labels, self.suggested, self.scores)
        ]

    def confusions(self) -> list[dict[str, Any]]:
        """Return a row per pair of label and another suggested one among the probably wrong ones, the most frequent first."""
        wrong = ((row["label"], row["suggested"]) for row in self.rows()[: self.count])
        pairs = Counter(pair for pair in wrong if pair[0] != pair[1])
        return [{"label": a, "suggested": b, "samples": number} for (a, b), number in pairs.most_common()]

    def conclusion(self) -> str:
        """Return how many labels are probably wrong, as a sentence without its full stop."""
        expected = float(self.scores.sum())
        return (
            f"Probably wrong: {self.count:,} of {len(self.ids):,} labels; expected by the sum of the scores: {expected:,.1f} "
            f"({100 * expected / len(self.ids):.1f}%). "
            f"Cross-validated classifiers predict {100 * self.accuracy:.1f}% of the labels"
        )

    def details(self) -> list[str]:
        shown = self.rows()[: min(SHOWN, self.count)]
        return [format_columns(shown)] if shown else []

    def table(self) -> list[dict[str, Any]]:
        return self.rows()

    def columns(self) -> dict[str, Any]:
        return {"id": self.ids, "label": self.labels, "suggested": self.suggested, "score": self.scores}

    def __repr__(self) -> str:
        return f"<LabelErrors: {self.count:,} of {len(self.ids):,} labels probably wrong>"

    def summary(self) -> dict[str, Any]:
        return {
            "samples": len(self.ids),
            "probably_wrong": self.count,
            "expected_wrong": float(self.scores.sum()),
            "accuracy": self.accuracy,
            "confusions": self.confusions(),
            "labels": self.rows()[: self.count],
        }


@checked_arguments
def find_label_errors(
    embeddings: Any,
    labels: Any = None,
    *,
    groups: Any = None,
    folds: int = 5,
    out: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: ProgressOption = None,
) -> LabelErrors:
    """Find labels that are probably wrong.

    A linear probe and nearest neighbors predict the label of each sample without having seen it. Confident learning (Northcutt,
    Jiang and Chuang, 2021) estimates from the confident predictions how often each class is labeled as each other one, and
    Bayes' rule turns both into the probability that a label is wrong.

    Args:
        embeddings: `aekit.Embeddings`, their folder or vectors (N, D); or a run or its encoder, whose training data is embedded.
        labels: (N,) classes, or as `aekit.evaluate` takes them; default: those stored with the embeddings. None, NaN and ""
            stand for a missing label.
        groups: (N,) group of each sample, such as the patient: the labels of a group are predicted from other groups. Samples
            with equal embeddings, and by default the windows of a recording, are such a group too.
        folds: number of folds of the cross-validation.
        out: new folder for the table, the summary, the image and the page.
        seed: seed of the folds.
        device: device that the encoder of a run computes on; default: the CPU.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        The labels, the most suspicious first.

    Raises:
        DataError: no labels, labels that are not classes, a single class, or too few samples.
        RecipeError: fewer than 2 folds.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> labels = np.repeat(["cat", "dog"], 50)
        >>> vectors = np.random.default_rng(0).normal(size=(100, 8)) + 4 * (labels == "dog")[:, None]
        >>> labels[[3, 70]] = "dog", "cat"
        >>> errors = aekit.find_label_errors(vectors, labels)
        >>> errors.count, sorted(errors.ids[:2])
        (2, ['3', '70'])
    """
    progress = open_progress(progress)
    check_least("folds", folds, 2)
    embeddings = open_or_embed(embeddings, progress, device)
    rows, codes, names = labeled_classes(embeddings, labels)
    missing = len(embeddings) - len(rows)
    notes = [f"{missing:,} samples without a label were not assessed"] if missing else []
    units = sample_groups(embeddings, groups, progress)[rows]
    if (units == units[0]).all():
        raise DataError(f"all {len(rows)} labeled samples are in one group or identical: expected at least two groups")
    held_out = assign_unit_folds(units, codes, folds, seed)
    assessed = others_of_class(codes, held_out) >= MIN_OTHERS
    if not assessed.any():
        raise DataError(f"{len(rows)} labeled samples of {len(names)} classes: expected at least 3 of a class")
    if not assessed.all():
        left_out = np.unique(codes[~assessed])
        warn(
            f"label errors: {int((~assessed).sum())} labels cannot be assessed, as too few other samples share them, "
            f"e.g. {str(names[left_out[0]])!r}"
        )
        notes.append(f"{int((~assessed).sum()):,} labels of rare classes were not assessed")
    with optional_folder(out) as folder:
        vectors = np.asarray(embeddings.vectors, np.float32)[rows]
        probabilities = held_out_probabilities(vectors, codes, held_out, len(names), progress)[assessed]
        scores, suggested = wrong_label_probabilities(probabilities, codes[assessed])
        order = np.argsort(-scores, kind="stable")
        kept = rows[assessed][order]
        labels, suggested = names[codes[assessed][order]], names[suggested[order]]
        result = LabelErrors(
            digest=embeddings.digest,
            ids=[embeddings.ids[int(row)] for row in kept],
            labels=labels,
            suggested=suggested,
            scores=scores[order],
            accuracy=float((probabilities.argmax(1) == codes[assessed]).mean()),
            notes=notes,
            image=_image(embeddings, kept, labels, suggested, scores[order]),
        )
        result = replace(result, page=_page(embeddings, kept, result))
        if folder is not None:
            result.save(folder)
    return result


def _image(
    embeddings: Embeddings, rows: np.ndarray, labels: Sequence[Any], suggested: Sequence[Any], scores: np.ndarray
) -> Image.Image | None:
    """Draw the most suspicious samples with their label and the suggested one."""
    count = min(int((scores > PROBABLY).sum()), IMAGE_COLUMNS * IMAGE_ROWS)
    if not count:
        return None
    starts = range(0, count, IMAGE_COLUMNS)
    shown = [slice(start, min(start + IMAGE_COLUMNS, count)) for start in starts]
    captions = [[f"{a} > {b}" for a, b in zip(labels[part], suggested[part])] for part in shown]
    title = "probably wrong labels, the most suspicious first: label > suggested label"
    return draw_embedded(embeddings, [rows[part] for part in shown], captions=captions, title=title)


def _page(embeddings: Embeddings, rows: np.ndarray, result: LabelErrors) -> SamplePage:
    """Show the probably wrong labels, and those that come next."""
    wrong, count = min(result.count, PAGE_WRONG), min(len(rows), min(result.count, PAGE_WRONG) + PAGE_NEXT)
    titles = [f"{a} → {b}" if str(a) != str(b) else str(a) for a, b in zip(result.labels, result.suggested)]
    captions = [f"{score:.2f}" for score in result.scores[:count]]
    shown = shown_samples(embeddings, rows[:count].tolist(), titles, captions)
    meaning = "The label, the suggested one, and the probability that the label is wrong."
    more = f" All {result.count:,} are in {result.stem}.csv." if wrong < result.count else ""
    sections = [Section(title="Probably wrong", remark=meaning + more, samples=shown[:wrong])] if wrong else []
    sections.append(Section(title="Next in the order of suspicion", remark=meaning, samples=shown[wrong:]))
    if len(confusions := result.confusions()[:SHOWN]) > 1:
        sections.append(Section(title="Labels that are confused", table=confusions))
    return SamplePage(
        title="Label errors",
        conclusion=f"{result.conclusion()}.",
        severity="notice" if wrong else "good",
        notes=result.notes,
        encoder=result.digest,
        sections=sections,
        thumbnails=embedded_thumbnails((embeddings, rows[:count])),
    )
