"""Choose samples to label next or to represent a data set, and show its sparse and its over-represented regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis._results import AnalysisResult, write_columns
from aekit.analysis._sample_selection import (
    cover,
    covering_distance,
    densities,
    represent,
    select_typical,
    select_uncertain,
)
from aekit.analysis._samples_image import draw_embedded, embedded_thumbnails, shown_samples
from aekit.analysis.inputs import check_least, open_or_embed
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError, RecipeError, closest_name
from aekit.evaluation.clusterers import choose_kmeans, order_by_size
from aekit.evaluation.labels import TARGET_DESCRIPTIONS, labels_of, make_targets
from aekit.io.remote import optional_folder
from aekit.io.text_table import format_columns, format_names
from aekit.nn.low_rank import project_to_span
from aekit.progress_display import ProgressOption, open_progress
from aekit.visualization.sample_page import SamplePage, Section

Strategy = Literal["representative", "typical", "coverage", "uncertain"]
NEIGHBORS = 10
RARE, DENSE = 0.5, 2.0
"""Densities below which a sample is rare, and above which it is in an over-represented region."""
RANDOM_DRAWS, MAX_REGIONS, SHOWN, IMAGE_COLUMNS, IMAGE_ROWS = 5, 20, 10, 10, 6
PAGE_SELECTED, PAGE_ENDS = 240, 24
"""Most selected samples on the page, and its rarest and densest ones."""


@dataclass(frozen=True, eq=False)
class Curation(AnalysisResult):
    """Selected samples, and how densely each region of the embeddings is populated.

    Attributes:
        digest: digest of the encoder.
        strategy: how samples were selected.
        ids: (N,) names of all samples.
        selected: (n,) rows of the selected samples, in order.
        density: (N,) typical distance to the 10 nearest samples, divided by that of the sample: 1 is typical, below 0.5 rare.
        regions: (N,) cluster numbers from 0, the largest first.
        margins: (N,) difference between the two largest probabilities of a linear probe, NaN for labeled samples; or None.
        labels: (N,) labels, or None.
        distance: mean distance of all samples to the nearest selected or labeled one.
        random_distance: the same for as many random samples, the mean of 5 draws.
        notes: remarks.
        image: the selected, the rarest and the most typical samples, or None if they are not available.
        page: the same samples, and the regions.
    """

    digest: str
    strategy: str
    ids: Sequence[str]
    selected: np.ndarray
    density: np.ndarray
    regions: np.ndarray
    margins: np.ndarray | None
    labels: np.ndarray | None
    distance: float
    random_distance: float
    notes: list[str] = field(default_factory=list)
    image: Image.Image | None = None
    page: SamplePage | None = None

    stem = "curation"

    @property
    def selected_ids(self) -> list[str]:
        """The ids of the selected samples, in order."""
        return [self.ids[int(row)] for row in self.selected]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per region: samples, selected ones, median density, and the sample of median density."""
        rows = []
        for region in range(int(self.regions.max()) + 1):
            members = np.flatnonzero(self.regions == region)
            order = members[np.argsort(self.density[members], kind="stable")]
            density = float(np.median(self.density[members]))
            kind = "rare" if density < RARE else "over-represented" if density > DENSE else ""
            row = {"region": region, "samples": len(members), "selected": int(np.isin(self.selected, members).sum())}
            rows.append(row | {"density": density, "kind": kind, "example": self.ids[int(order[len(order) // 2])]})
        return rows

    def conclusion(self) -> str:
        """Return what was selected and how the data is distributed, as sentences without the last full stop."""
        rare, dense = int((self.density < RARE).sum()), int((self.density > DENSE).sum())
        ratio = self.distance / self.random_distance if self.random_distance > 0 else 1.0
        return (
            f"{len(self.selected):,} of {len(self.ids):,} samples selected ({self.strategy}): the mean distance to the nearest "
            f"one is {ratio:.2f} times that of a random selection. {rare:,} samples are rare (density below {RARE}), "
            f"{dense:,} are in over-represented regions (density above {DENSE:g})"
        )

    def details(self) -> list[str]:
        first = format_names(self.selected_ids[:SHOWN])
        more = ", ..." if len(self.selected) > SHOWN else ""
        return [f"selected: {first}{more}", format_columns(self.rows()[:SHOWN])]

    def table(self) -> list[dict[str, Any]]:
        return self.rows()

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table: the place among the selected from 0 or -1, density, region, margin, label."""
        rank = np.full(len(self.ids), -1)
        rank[self.selected] = np.arange(len(self.selected))
        columns: dict[str, Any] = {"id": list(self.ids), "selected": rank, "density": self.density}
        columns |= {"region": self.regions}
        columns |= {} if self.margins is None else {"margin": self.margins}
        return columns | ({} if self.labels is None else {"label": self.labels})

    def save(self, folder: Path) -> None:
        """Write ``selected.csv``, ``curation.csv``, ``curation.json``, ``image.png`` and the page into an existing folder."""
        super().save(folder)
        regions = {"density": self.density[self.selected], "region": self.regions[self.selected]}
        write_columns(folder / "selected.csv", {"id": self.selected_ids, **regions})

    def __repr__(self) -> str:
        return f"<Curation: {len(self.selected):,} of {len(self.ids):,} samples selected ({self.strategy})>"

    def summary(self) -> dict[str, Any]:
        return {
            "strategy": self.strategy,
            "samples": len(self.ids),
            "selected": self.selected_ids,
            "distance": self.distance,
            "random_distance": self.random_distance,
            "rare": [self.ids[int(row)] for row in np.argsort(self.density, kind="stable") if self.density[row] < RARE],
            "regions": self.rows(),
        }


@checked_arguments
def curate(
    embeddings: Any,
    n: int = 100,
    *,
    strategy: Strategy = "representative",
    labels: Any = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: ProgressOption = None,
) -> Curation:
    """Select samples to label next, or a representative subset, and find rare and over-represented regions.

    Args:
        embeddings: `aekit.Embeddings`, their folder or vectors (N, D); or a run or its encoder, whose training data is embedded.
        n: number of samples to select.
        strategy: ``representative`` selects the samples nearest to the centers of n clusters; ``typical`` the most typical
            samples of clusters without labels (TypiClust; Hacohen et al., 2022); ``coverage`` the sample farthest from all
            others, again and again (k-center; Sener and Savarese, 2018); ``uncertain`` those of which a linear probe on the
            labels is least sure.
        labels: (N,) classes, or as `aekit.evaluate` takes them; None, NaN and "" stand for a sample without a label, and only
            these are selected. Default: the stored labels, where some samples have none.
        out: new folder for the tables, the summary, the image and the page.
        seed: seed of the clusters and of the random selection for comparison.
        device: device that the encoder of a run computes on; default: the CPU.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        The selected samples, and the density and region of every sample.

    Raises:
        DataError: too few samples, or labels that the strategy cannot use.
        RecipeError: another strategy, or n below 1.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> vectors = np.random.default_rng(0).normal(size=(200, 4)) + 9 * np.eye(4)[np.arange(200) % 4]
        >>> chosen = aekit.curate(vectors, 4)
        >>> sorted(int(name) % 4 for name in chosen.selected_ids)  # one of each group
        [0, 1, 2, 3]
    """
    progress = open_progress(progress)
    if strategy not in get_args(Strategy):
        near = closest_name(strategy, get_args(Strategy))
        raise RecipeError([f"strategy = {strategy!r}: expected {', '.join(get_args(Strategy))}{near}"])
    check_least("n", n, 1)
    embeddings = open_or_embed(embeddings, progress, device)
    vectors = np.asarray(embeddings.vectors, np.float32)
    codes, covered, notes = _labeled(embeddings, labels, strategy)
    free = np.setdiff1d(np.arange(len(vectors)), covered)
    if len(free) <= n or len(vectors) < 5:
        kind = "samples" if len(free) == len(vectors) else "samples without a label"
        raise DataError(f"n = {n}: expected fewer than the {len(free)} {kind}, and at least 5 samples in all")
    margins = None
    with optional_folder(out) as folder:
        with progress.task("select", n) as task:
            match strategy:
                case "coverage":
                    selected = cover(vectors, covered, free, n)
                case "typical":
                    selected = select_typical(vectors, covered, free, n, seed)
                case "representative":
                    selected = represent(vectors, free, n, seed)
                case "uncertain":
                    selected, margins = select_uncertain(vectors, codes, covered, free, n, seed)
            task.advance(n)
        density = densities(vectors, NEIGHBORS)
        regions, _ = order_by_size(vectors, choose_kmeans(project_to_span(vectors), _regions(len(vectors)), seed)[0])
        result = Curation(
            digest=embeddings.digest,
            strategy=strategy,
            ids=embeddings.ids,
            selected=selected,
            density=density,
            regions=regions,
            margins=margins,
            labels=embeddings.labels,
            distance=covering_distance(vectors, np.concatenate([covered, selected])),
            random_distance=_random_distance(vectors, covered, free, n, seed),
            notes=notes,
            image=_image(embeddings, selected, density),
        )
        result = replace(result, page=_page(embeddings, result))
        if folder is not None:
            result.save(folder)
    return result


def _random_distance(vectors: np.ndarray, covered: np.ndarray, free: np.ndarray, n: int, seed: int) -> float:
    """Return the mean distance of all samples to the nearest of n random ones or a labeled one."""
    generator = np.random.default_rng(seed)
    draws = [generator.choice(free, n, replace=False) for _ in range(RANDOM_DRAWS)]
    return float(np.mean([covering_distance(vectors, np.concatenate([covered, draw])) for draw in draws]))


def _regions(count: int) -> int:
    """Return the number of regions that N samples are divided into."""
    return int(min(MAX_REGIONS, max(2, count // 20)))


def _labeled(embeddings: Embeddings, labels: Any, strategy: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return (N,) class numbers, the rows with a label, and remarks."""
    count = len(embeddings)
    targets, _ = make_targets(labels_of(embeddings, labels), count, what="embeddings")
    covered, codes, notes = np.empty(0, np.intp), np.zeros(count, np.intp), []
    if targets is not None and targets.has_target.all() and labels is None and strategy != "uncertain":
        notes.append(
            "every sample has a label already: samples were selected as if none had; pass labels to change that"
        )
    elif targets is not None:
        covered = np.flatnonzero(targets.has_target)
    if strategy != "uncertain":
        return codes, covered, notes
    if targets is None:
        raise DataError(
            "strategy 'uncertain' needs labels for some samples: pass labels (--labels), or choose another strategy"
        )
    if targets.kind != "classes":
        raise DataError(f"the labels are {TARGET_DESCRIPTIONS[targets.kind]}: 'uncertain' expects one class per sample")
    if len(covered) == count:
        raise DataError("every sample has a label: there is nothing to label next")
    codes[covered] = np.unique(targets.values[covered], return_inverse=True)[1]
    return codes, covered, notes


def _image(embeddings: Embeddings, selected: np.ndarray, density: np.ndarray) -> Image.Image | None:
    """Draw the first selected samples, the rarest, and those in the densest places."""
    order = np.argsort(density, kind="stable")
    shown = selected[: IMAGE_COLUMNS * (IMAGE_ROWS - 2)]
    rows = [shown[start : start + IMAGE_COLUMNS] for start in range(0, len(shown), IMAGE_COLUMNS)]
    titles = ["selected" if not number else "" for number in range(len(rows))] + ["rarest", "densest"]
    rows += [order[:IMAGE_COLUMNS], order[::-1][:IMAGE_COLUMNS]]
    return draw_embedded(embeddings, rows, row_titles=titles, title="selected, rare and over-represented samples")


def _page(embeddings: Embeddings, result: Curation) -> SamplePage:
    """Show the selected samples, the rarest, those in the densest places, and the regions."""
    order = np.argsort(result.density, kind="stable")
    parts = [result.selected[:PAGE_SELECTED], order[:PAGE_ENDS], order[::-1][:PAGE_ENDS]]
    labels = [""] * len(order) if result.labels is None else [str(label) for label in result.labels.tolist()]
    samples = [
        shown_samples(
            embeddings,
            rows.tolist(),
            [labels[row] for row in rows.tolist()],
            [f"density {density:.2f}" for density in result.density[rows]],
        )
        for rows in parts
    ]
    more = f" The first {PAGE_SELECTED}; all are in selected.csv." if len(result.selected) > PAGE_SELECTED else ""
    dense = "They resemble many others; duplicates lie here."
    return SamplePage(
        title="What to label next",
        conclusion=f"{result.conclusion()}.",
        severity="good",
        notes=result.notes,
        encoder=result.digest,
        sections=[
            Section(title=f"Selected ({result.strategy})", remark=f"In order.{more}", samples=samples[0]),
            Section(title="Rarest", remark="They resemble few others: new kinds, or mistakes.", samples=samples[1]),
            Section(title="Densest", remark=dense, samples=samples[2]),
            Section(title="Regions", table=result.rows()),
        ],
        thumbnails=embedded_thumbnails(*((embeddings, rows) for rows in parts)),
    )
