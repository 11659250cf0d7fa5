"""Test whether new data still looks like the data that an encoder knows, and show what differs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis._groups import sample_groups
from aekit.analysis._results import AnalysisResult
from aekit.analysis._samples_image import draw_embedded, embedded_thumbnails, shown_samples
from aekit.analysis._two_sample import TwoSampleTest, dimension_shifts, energy_test, separate
from aekit.analysis.inputs import check_comparable, check_least, open_or_embed
from aekit.data.readers.folders import warn_if_inside
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.makers import encoder_of
from aekit.errors import DataError, RecipeError
from aekit.evaluation.clusterers import fit_kmeans
from aekit.evaluation.id_groups import groups_from_ids
from aekit.evaluation.neighbors import nearest_neighbors, nearest_other_neighbors, to_distances
from aekit.io.remote import is_artifact, optional_folder
from aekit.io.text_table import format_columns, format_names
from aekit.progress import Progress
from aekit.progress_display import ProgressOption, open_progress
from aekit.visualization.sample_page import SamplePage, Section

LEAST, MAX_CLUSTERS, PER_CLUSTER = 10, 10, 20
EFFECTS = {0.9: "very strongly", 0.75: "strongly", 0.6: "moderately", 0.0: "slightly"}
"""Least AUROC of a classifier between old and new data -> a word for the difference."""
OUTSIDE = 0.95
"""Quantile of the distances within the reference beyond which a new sample lies outside of it."""
SHOWN, IMAGE_COLUMNS, PAGE_SAMPLES = 5, 10, 48


@dataclass(frozen=True, eq=False)
class Drift(AnalysisResult):
    """How new data differs from a reference.

    Attributes:
        digest: digest of the encoder.
        alpha: probability of an alarm without drift.
        test: energy distance, its interval, and the p-value of the permutation test.
        auroc: how well a classifier separates the two, 0.5 if not at all.
        outside: fraction of the new samples that lie outside of the reference; 0.05 without drift.
        ids: (N,) new samples, those that differ most first.
        scores: (N,) log odds that a sample is new rather than of the reference.
        dimensions: (D,) difference of the means in standard deviations of the reference.
        clusters: a row per cluster of the reference: its fraction of the reference and of the new data.
        counts: number of reference and new samples that were compared.
        notes: remarks.
        image: the new samples that differ most, above typical ones of the reference; or None.
        page: the same samples, and what differs.
    """

    digest: str
    alpha: float
    test: TwoSampleTest
    auroc: float
    outside: float
    ids: list[str]
    scores: np.ndarray
    dimensions: np.ndarray
    clusters: list[dict[str, Any]]
    counts: tuple[int, int]
    notes: list[str] = field(default_factory=list)
    image: Image.Image | None = None
    page: SamplePage | None = None

    stem = "drift"

    @property
    def has_drifted(self) -> bool:
        """Whether the p-value is at most alpha."""
        return self.test.p_value <= self.alpha

    def conclusion(self) -> str:
        """Return whether the data has drifted, and how far, as sentences without the last full stop."""
        test = self.test
        measured = (
            f"energy distance {test.statistic:.3f} [{test.low:.3f}, {test.high:.3f}], p = {test.p_value:.3g}; "
            f"without drift it stays below {test.null_high:.3f} 19 times out of 20"
        )
        if not self.has_drifted:
            return f"No drift found ({measured}). A smaller drift than this test can see is possible"
        word = next(word for least, word in EFFECTS.items() if self.auroc >= least)
        return (
            f"The new data differs {word} from the reference ({measured}). A classifier recognizes new samples with an AUROC of "
            f"{self.auroc:.3f}; {100 * self.outside:.0f}% of them lie outside of the reference, where 5% would"
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each of the dimensions that differ most."""
        order = np.argsort(-np.abs(self.dimensions), kind="stable")[:SHOWN]
        return [{"dimension": int(one), "shift in standard deviations": float(self.dimensions[one])} for one in order]

    def details(self) -> list[str]:
        if not self.has_drifted:
            return []
        different = f"most different samples: {format_names(self.ids[:SHOWN])}"
        return [format_columns(self.clusters[:SHOWN]), format_columns(self.rows()), different]

    def table(self) -> list[dict[str, Any]]:
        return self.clusters

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table: the new samples, those that differ most first."""
        return {"id": self.ids, "score": self.scores}

    def __repr__(self) -> str:
        return f"<Drift: {'yes' if self.has_drifted else 'no'}, p = {self.test.p_value:.3g}>"

    def summary(self) -> dict[str, Any]:
        test = self.test
        return {
            "drift": self.has_drifted,
            "alpha": self.alpha,
            "p_value": test.p_value,
            "energy_distance": {"value": test.statistic, "low": test.low, "high": test.high, "null_95": test.null_high},
            "auroc": self.auroc,
            "outside": self.outside,
            "samples": {"reference": self.counts[0], "new": self.counts[1]},
            "clusters": self.clusters,
            "dimensions": self.rows(),
            "most_different": self.ids[:SHOWN],
        }


@checked_arguments
def measure_drift(
    reference: Any,
    new: Any,
    *,
    groups: str | None = None,
    alpha: float = 0.05,
    permutations: int = 500,
    max_samples: int = 1500,
    out: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: ProgressOption = None,
) -> Drift:
    """Test whether new data comes from the same distribution as a reference, by their embeddings.

    The energy distance (Szekely and Rizzo, 2013) is compared with its values after samples were exchanged at random.

    Args:
        reference: `aekit.Embeddings`, their folder or vectors (N, D); or a run or its encoder, whose training data is embedded.
        new: embeddings of the same encoder, as `reference`; where that has an encoder, also data, which is embedded with it.
        groups: a regular expression: samples whose ids share its match are exchanged together, such as those of one patient.
            Samples with equal embeddings, and the windows of a recording, are exchanged together in any case.
        alpha: probability of finding drift where there is none.
        permutations: number P of random exchanges; the smallest p-value is 1 / (P + 1).
        max_samples: most samples of each side that are compared, drawn by the seed.
        out: new folder for the table, the summary, the image and the page.
        seed: seed of the drawing and the exchanges.
        device: device that an encoder computes on; default: the CPU.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        The test, and the samples, dimensions and clusters that differ most.

    Raises:
        DataError: fewer than 10 samples, or vectors of different lengths.
        IdentityError: embeddings of two encoders.
        RecipeError: alpha outside of 0 to 1, too few permutations for it, or `max_samples` below 10.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> rng = np.random.default_rng(0)
        >>> known = rng.normal(size=(200, 4))
        >>> aekit.measure_drift(known, rng.normal(size=(100, 4))).has_drifted
        False
        >>> aekit.measure_drift(known, 0.5 + rng.normal(size=(100, 4))).has_drifted
        True
    """
    progress = open_progress(progress)
    if not 0 < alpha < 1:
        raise RecipeError([f"alpha = {alpha}: expected a probability between 0 and 1"])
    if permutations < 1 / alpha:
        raise RecipeError([f"permutations = {permutations}: alpha = {alpha} needs at least {int(np.ceil(1 / alpha))}"])
    check_least("max_samples", max_samples, LEAST)
    warn_if_inside(out, new)
    with optional_folder(out) as folder:
        known = open_or_embed(reference, progress, device)
        recent = _open_new(new, known, progress, device)
        check_comparable(known, recent)
        notes: list[str] = []
        sides = [_draw(part, max_samples, seed, name, notes) for part, name in ((known, "reference"), (recent, "new"))]
        known, recent = sides
        units = [sample_groups(part, groups_from_ids(part.ids, groups) if groups else None, progress) for part in sides]
        unit = np.concatenate([units[0], units[0].max() + 1 + units[1]])
        before, after = (np.asarray(part.vectors, np.float32) for part in sides)
        test = energy_test(before, after, unit, permutations, seed, progress)
        if test.unit_count < len(unit) // 2:
            notes.append(
                f"{test.unit_count:,} groups of samples were exchanged: so few groups can only show large drift"
            )
        auroc, scores = separate(before, after, unit, seed)
        order = np.argsort(-scores[len(before) :], kind="stable")
        result = Drift(
            digest=known.digest,
            alpha=alpha,
            test=test,
            auroc=auroc,
            outside=_outside(before, after),
            ids=[recent.ids[int(row)] for row in order],
            scores=scores[len(before) :][order],
            dimensions=dimension_shifts(before, after),
            clusters=_clusters(known, before, after, seed),
            counts=(len(before), len(after)),
            notes=notes,
            image=_image(known, recent, scores),
        )
        result = replace(result, page=_page(known, recent, scores, result))
        if folder is not None:
            result.save(folder)
    return result


def _open_new(new: Any, known: Embeddings, progress: Progress, device: str | None) -> Embeddings:
    """Open the new embeddings, or embed new data with the encoder of the reference."""
    is_folder = is_artifact(new)
    encoder = None if is_folder or isinstance(new, Embeddings) else encoder_of(known)
    if encoder is None:
        return open_or_embed(new, progress, device)
    from aekit.encoder.embedding import embed_samples

    return embed_samples(encoder, new, metadata="none", progress=progress)


def _draw(embeddings: Embeddings, count: int, seed: int, name: str, notes: list[str]) -> Embeddings:
    if len(embeddings) < LEAST:
        raise DataError(f"{len(embeddings)} {name} samples: expected at least {LEAST}")
    if len(embeddings) <= count:
        return embeddings
    notes.append(f"{count:,} of {len(embeddings):,} {name} samples were compared, drawn with seed {seed}")
    return embeddings[np.sort(np.random.default_rng(seed).choice(len(embeddings), count, replace=False))]


def _outside(before: np.ndarray, after: np.ndarray) -> float:
    """Return the fraction of the new samples that are farther from the reference than 95% of its own samples."""
    within, _ = nearest_other_neighbors(before, 1, metric="l2")
    across, _ = nearest_neighbors(after, before, 1, metric="l2")
    limit = np.quantile(to_distances(within[:, 0]), OUTSIDE)
    return float((to_distances(across[:, 0]) > limit).mean())


def _clusters(known: Embeddings, before: np.ndarray, after: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Return a row per cluster of the reference, that whose fraction changed most first."""
    number = int(min(MAX_CLUSTERS, max(2, len(before) // PER_CLUSTER)))
    model = fit_kmeans(before, number, 1, seed)
    old, recent = model.labels_, model.predict(after)
    rows = []
    for cluster in range(number):
        members = np.flatnonzero(old == cluster)
        distances = np.linalg.norm(before[members] - model.cluster_centers_[cluster], axis=1)
        a, b = len(members) / len(before), float((recent == cluster).mean())
        typical = known.ids[int(members[distances.argmin()])] if len(members) else ""
        rows.append({"reference": a, "new": b, "change": b - a, "typical sample": typical})
    return sorted(rows, key=lambda row: -abs(row["change"]))


def _ends(known: Embeddings, scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the new samples that differ most from the reference, and of its samples that do from the new."""
    new_scores, old_scores = scores[len(known) :], scores[: len(known)]
    return np.argsort(-new_scores, kind="stable")[:count], np.argsort(old_scores, kind="stable")[:count]


def _image(known: Embeddings, recent: Embeddings, scores: np.ndarray) -> Image.Image | None:
    differing, typical = _ends(known, scores, IMAGE_COLUMNS)
    title = "new samples that differ most from the reference"
    above = draw_embedded(recent, [differing], title=title)
    below = draw_embedded(known, [typical], title="reference samples that differ most from the new data")
    if above is None or below is None:
        return above or below
    joined = Image.new("RGB", (max(above.width, below.width), above.height + below.height), "white")
    joined.paste(above, (0, 0))
    joined.paste(below, (0, above.height))
    return joined


def _page(known: Embeddings, recent: Embeddings, scores: np.ndarray, result: Drift) -> SamplePage:
    """Show the samples of both sides that differ most, and what differs."""
    new_rows, old_rows = _ends(known, scores, PAGE_SAMPLES)
    sides = [(recent, new_rows, scores[len(known) :], "New"), (known, old_rows, scores, "Reference")]
    sections = []
    for part, rows, log_odds, title in sides:
        captions = [f"log odds {log_odds[row]:.2f}" for row in rows]
        samples = shown_samples(part, rows.tolist(), [""] * len(rows), captions)
        remark = (
            f"{_some(len(rows), len(part), 'samples')}Log odds above 0 speak for new data, below 0 for the reference."
        )
        sections.append(Section(title=f"{title} samples that differ most", remark=remark, samples=samples))
    return SamplePage(
        title="Drift",
        conclusion=f"{result.conclusion()}.",
        severity="bad" if result.has_drifted else "good",
        notes=result.notes,
        encoder=result.digest,
        sections=[
            *sections,
            Section(
                title="Clusters of the reference",
                remark=f"{_some(SHOWN, len(result.clusters), 'clusters')}Fractions of each side.",
                table=result.clusters[:SHOWN],
            ),
            Section(
                title="Dimensions whose mean moved most",
                remark=_some(SHOWN, len(result.dimensions), "dimensions"),
                table=result.rows(),
            ),
        ],
        thumbnails=embedded_thumbnails((recent, new_rows), (known, old_rows)),
    )


def _some(shown: int, total: int, what: str) -> str:
    """Return a sentence on how many of these are shown, unless all are."""
    return f"{shown:,} of {total:,} {what}. " if shown < total else ""
