"""Find exact and near duplicates, and say which sample of each group to keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis._duplicate_groups import Collection, group_pairs, near_embeddings, open_collection
from aekit.analysis._results import AnalysisResult
from aekit.analysis._samples_image import embedded_thumbnails
from aekit.data.readers.folders import warn_if_inside
from aekit.data.source import read_valid
from aekit.io.remote import optional_folder
from aekit.io.summaries import data_frame
from aekit.io.text_table import format_columns
from aekit.progress_display import ProgressOption, open_progress
from aekit.version import __version__
from aekit.visualization.image_grid import draw_grid
from aekit.visualization.sample_page import SamplePage, Section, ShownSample, Thumbnails, thumbnails_of
from aekit.visualization.sprite_sheets import LARGEST, image_sprite_sheet
from aekit.visualization.thumbnails import to_pixels

if TYPE_CHECKING:
    from aekit.analysis._duplicate_pairs import Pair

SHOWN, IMAGE_COLUMNS, IMAGE_ROWS = 10, 6, 20
PAGE_GROUPS, PAGE_MEMBERS = 60, 6
"""Most groups on the page, and samples of each."""
COLUMNS = ("group", "keep", "data", "id", "kind", "similarity", "reason")


@dataclass(frozen=True, eq=False)
class Duplicates(AnalysisResult):
    """Groups of samples that are equal or nearly so.

    Attributes:
        samples: number of samples that were compared.
        rows: a row per sample of each group, the one to keep first: group, keep, data (1 or 2), id, kind, similarity, reason.
            The kind relates a sample to the one to keep: equal, re-encoded, resized, cropped, mirrored, near, ...
        notes: remarks on what was compared.
        image: the largest groups, the image to keep first; or None.
        page: the same groups.
    """

    samples: int
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    image: Image.Image | None = None
    page: SamplePage | None = None

    stem = "duplicates"

    @property
    def groups(self) -> list[list[str]]:
        """The ids of each group, the one to keep first."""
        numbers: dict[int, list[str]] = {}
        for row in self.rows:
            numbers.setdefault(row["group"], []).append(row["id"])
        return list(numbers.values())

    def conclusion(self) -> str:
        """Return how many duplicates there are, as a sentence without its full stop."""
        groups = self.groups
        if not groups:
            return f"No duplicates among {self.samples:,} samples"
        extra = sum(not row["keep"] for row in self.rows)
        equal = sum(row["kind"] == "equal" for row in self.rows)
        return (
            f"{extra:,} of {self.samples:,} samples are duplicates of others, {equal:,} of them exact; keeping one of each of "
            f"{len(groups):,} groups leaves {self.samples - extra:,} samples. Nothing was deleted"
        )

    def details(self) -> list[str]:
        shown = [{name: row[name] for name in COLUMNS if name != "data"} for row in self.rows[:SHOWN]]
        shown = [row | {"keep": "yes" if row["keep"] else ""} for row in shown]
        return [format_columns(shown)] if shown else []

    def table(self) -> list[dict[str, Any]]:
        return self.rows

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table, with a row per sample of each group."""
        columns: dict[str, Any] = {name: [row[name] for row in self.rows] for name in COLUMNS}
        return columns | {"keep": ["yes" if keep else "no" for keep in columns["keep"]]}

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row per sample of each group."""
        return data_frame(self.columns() | {"keep": [row["keep"] for row in self.rows]})

    def __repr__(self) -> str:
        return f"<Duplicates: {len(self.groups):,} group{'s' if len(self.groups) != 1 else ''} among {self.samples:,} samples>"

    def summary(self) -> dict[str, Any]:
        counts = {"aekit": __version__, "samples": self.samples, "groups": len(self.groups)}
        return counts | {"duplicates": self.rows}


@checked_arguments
def find_duplicates(
    data: Any,
    other: Any = None,
    *,
    options: dict[str, Any] | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    progress: ProgressOption = None,
) -> Duplicates:
    """Find exact and near duplicates in data, or between two data sets. Nothing is deleted.

    Samples with equal content are exact duplicates. Images are near duplicates if they look alike after being rotated by a
    multiple of 90 degrees, mirrored, resized, cropped by up to 30%, or encoded again: candidates are found by a perceptual hash
    (and in embeddings among the nearest neighbors), aligned, and compared pixel by pixel. Other samples need embeddings: near
    duplicates lie at a tenth of the typical distance between neighbors.

    Args:
        data: `aekit.Embeddings` or their folder, or a run or its encoder, whose training data is embedded; or the samples
            themselves, anything that `aekit.open_data` takes.
        other: a second data set, as `data`: only duplicates between both are searched, and samples of `data` are kept.
        options: options of the sources that open the data, by source name.
        out: new folder for the table, the summary, the image and the page.
        device: device that the encoder of a run computes on; default: the CPU.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        The groups. The sample to keep has the most pixels, then the largest file, then the first place.

    Raises:
        DataError: unusable data, or samples of two kinds.
        IdentityError: embeddings of two encoders.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> images = np.random.default_rng(0).integers(0, 255, (6, 3, 32, 32), dtype=np.uint8)
        >>> images[4], images[5] = images[1], images[2, :, :, ::-1]
        >>> duplicates = aekit.find_duplicates(images)
        >>> duplicates.groups, [row["kind"] for row in duplicates.rows]
        ([['1', '4'], ['2', '5']], ['', 'equal', '', 'mirrored'])
    """
    progress = open_progress(progress)
    warn_if_inside(out, data)
    with optional_folder(out) as folder:
        collection = open_collection(data, other, options, device, progress)
        equal = collection.equal_pairs()
        pairs: list[Pair] = []
        notes = list(collection.notes)
        neighbors, near = near_embeddings(collection)
        if collection.images:
            from aekit.analysis._duplicate_pairs import join_looks, look_at, similar_pairs  # imports FAISS

            looks = join_looks([look_at(*part, progress) for part in collection.images])
            if unusable := int((~looks.usable).sum()):
                notes.append(
                    f"{unusable:,} images cannot be read or have a single color: compared by their content only"
                )
            pairs, near = similar_pairs(looks, collection.is_other, neighbors, progress), []
        rows, members = _rows(collection, equal, pairs, near)
        result = Duplicates(len(collection.ids), rows, notes, _image(collection, members))
        result = replace(result, page=_page(collection, members, result))
        if folder is not None:
            result.save(folder)
    return result


def _rows(
    collection: Collection, equal: list[tuple[int, int]], pairs: list[Pair], near: list[tuple[int, int, float]]
) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Return a row for each sample of each group, and the samples of each group, the one to keep first."""
    links = [*equal, *((p.first, p.second) for p in pairs), *((a, b) for a, b, _ in near)]
    by_link: dict[tuple[int, int], tuple[str, float]] = {(min(a, b), max(a, b)): ("near", 1 - f) for a, b, f in near}
    for pair in sorted(pairs, key=lambda pair: (not pair.cropped, pair.correlation)):
        key = (min(pair.first, pair.second), max(pair.first, pair.second))
        by_link[key] = (_kind(pair, collection), pair.correlation)
    by_link |= {(min(a, b), max(a, b)): ("equal", 1.0) for a, b in equal}
    rows, groups = [], []
    for number, members in enumerate(group_pairs(links, len(collection.ids))):
        members = sorted(members, key=collection.preference)
        kept = members[0]
        groups.append(members)
        for row in members:
            # In a group of three, the kept sample and another one may be linked through the third only.
            unlinked = "equal" if collection.hashes[row] == collection.hashes[kept] else "near"
            link = by_link.get((min(row, kept), max(row, kept)), (unlinked, None if unlinked == "near" else 1.0))
            rows.append(
                {
                    "group": number,
                    "keep": row == kept,
                    "data": 2 if collection.is_other is not None and collection.is_other[row] else 1,
                    "id": collection.ids[row],
                    "kind": "" if row == kept else link[0],
                    "similarity": None if row == kept else link[1],
                    "reason": collection.reason(members) if row == kept else "",
                }
            )
    return rows, groups


def _kind(pair: Pair, collection: Collection) -> str:
    sizes = [collection.size(row) for row in (pair.first, pair.second)]
    words = pair.changes()
    if not words and None not in sizes and sizes[0] != sizes[1]:
        words.append("resized")
    return ", ".join(words) or "re-encoded"


def _image(collection: Collection, groups: list[list[int]]) -> Image.Image | None:
    """Draw the largest groups, the image to keep first."""
    largest = sorted(groups, key=len, reverse=True)[:IMAGE_ROWS]
    if not collection.images or not largest:
        return None
    cells = []
    for members in largest:
        located = [collection.locate(row) for row in members[:IMAGE_COLUMNS]]
        cells.append([read_valid(source, np.array([place]))[0][0] for source, place in located])
    title = "duplicates, the largest groups first; in each row, the image to keep and its duplicates"
    return draw_grid(cells, collection.images[0][0].spec, row_titles=[str(len(g)) for g in largest], title=title)


def _page(collection: Collection, groups: list[list[int]], result: Duplicates) -> SamplePage:
    """Show the largest groups, the sample to keep first."""
    lines: dict[int, list[dict[str, Any]]] = {}
    for line in result.rows:
        lines.setdefault(line["group"], []).append(line)
    sections, shown = [], list[int]()
    for number, members in enumerate(groups[:PAGE_GROUPS]):
        samples = []
        for row, line in list(zip(members, lines[number]))[:PAGE_MEMBERS]:
            alike = "" if line["similarity"] is None else f"{line['kind']}, {line['similarity']:.2f}"
            title = "keep" if line["keep"] else alike or line["kind"]
            named = {"id": line["id"], "hash": collection.hashes[row], "title": title}
            samples.append(ShownSample(**named, kind="keep" if line["keep"] else ""))
            shown.append(row)
        more = "" if len(samples) == len(members) else f"; the first {len(samples)} are shown"
        remark = f"Keep: {lines[number][0]['reason']}{more}"
        title = f"Group {number + 1}: {len(members)} samples"
        sections.append(Section(title=title, remark=remark, samples=samples, narrow=True))
    notes = list(result.notes)
    if len(groups) > PAGE_GROUPS:
        notes.append(f"the {PAGE_GROUPS} largest of {len(groups):,} groups are shown; all are in {result.stem}.csv")
    return SamplePage(
        title="Duplicates",
        conclusion=f"{result.conclusion()}.",
        severity="notice" if groups else "good",
        notes=notes,
        sections=sections,
        thumbnails=_thumbnails(collection, shown),
    )


def _thumbnails(collection: Collection, rows: list[int]) -> Thumbnails | None:
    """Draw whole images in their proportions, or other samples that are embedded; return None if they are not available."""
    if collection.images and rows:
        return _image_thumbnails(collection, rows)
    if not collection.embedded or not rows:
        return None
    first = len(collection.embedded[0])
    sides = groupby(rows, key=lambda row: row >= first)
    return embedded_thumbnails(
        *((collection.embedded[side], np.array(list(part)) - first * side) for side, part in sides)
    )


def _image_thumbnails(collection: Collection, rows: list[int]) -> Thumbnails:
    """Draw whole images in their proportions, on a transparent ground."""
    cells = np.zeros((len(rows), LARGEST, LARGEST, 4), np.uint8)
    for cell, row in zip(cells, rows):
        source, place = collection.locate(row)
        image = Image.fromarray(to_pixels(read_valid(source, np.array([place]))[0][0], source.spec))
        width, height = collection.size(row) or image.size
        scale = LARGEST / max(width, height)
        size = max(1, round(scale * width)), max(1, round(scale * height))
        left, top = (LARGEST - size[0]) // 2, (LARGEST - size[1]) // 2
        inside = cell[top : top + size[1], left : left + size[0]]
        inside[..., :3], inside[..., 3] = np.asarray(image.resize(size)), 255
    return thumbnails_of(image_sprite_sheet(cells))
