"""Find pairs of images that look alike, in any of the eight symmetries and also where one is a part of the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import faiss
import numpy as np
from PIL import Image

from aekit.analysis._perceptual_hash import (
    COLOR_SIDE,
    SIDE,
    SYMMETRIES,
    WINDOWS,
    color_thumbnails,
    gray_thumbnails,
    lay,
    window_hashes,
)
from aekit.data.source import Source, read_valid
from aekit.progress import Progress

MAX_BITS = 14
"""Differing bits, of 64, up to which the hashes of two images make them candidates."""
MAX_BITS_OF_NEIGHBORS = 24
"""The same for images whose embeddings are near each other."""
SAME = 0.95
"""Correlation of two aligned images from which they are near duplicates."""
PROMISING, HOPEFUL, CERTAIN = 0.4, 0.7, 0.985
"""Correlations below which alignment is not tried, below which it ends after coarse steps, and above which it is not needed."""
GRAY = 0.05
"""Deviation of colors, in units of that of gray, up to which an image counts as gray: it may be a gray copy of one in colors."""
SAME_COLORS = 0.7
"""The same for the colors alone, which change more with brightness; those of other things have .6 and less, hearts in red and
orange .86."""
CANDIDATES = 5
"""Most candidates of an image that are aligned."""
_BATCH, _QUERIES, _COMPARED = 64, 4096, 32
_COLORS, _COLOR_SCALE = 8, SIDE // COLOR_SIDE
_MOVES = (
    (1, 0, 1, 0), (-1, 0, -1, 0), (0, 1, 0, 1), (0, -1, 0, -1),
    (1, 0, 0, 0), (-1, 0, 0, 0), (0, 1, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, -1, 0), (0, 0, 0, 1), (0, 0, 0, -1),
)  # fmt: skip
"""Moves of the left, top, right and bottom edge: of the whole part, then of each edge."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a part of an image."""


@dataclass(frozen=True)
class Pair:
    """Two images that show the same.

    Attributes:
        first: row of the image, a part or all of which looks like the second.
        second: row of the other image.
        symmetry: number of the symmetry that lays the first onto the second.
        cropped: whether only a part of the first is in the second.
        correlation: of the aligned images, up to 1.
    """

    first: int
    second: int
    symmetry: int
    cropped: bool
    correlation: float

    def changes(self) -> list[str]:
        """Return by what the first image differs from the second, in words."""
        return [*([SYMMETRIES[self.symmetry]] if self.symmetry else []), *(["cropped"] if self.cropped else [])]


@dataclass(frozen=True)
class Looks:
    """How N images look: about 8 KiB for each.

    Attributes:
        thumbnails: (N, SIDE, SIDE) uint8.
        colors: (N, 2, COLOR_SIDE, COLOR_SIDE) float32.
        hashes: (N, W, 8, 8) uint8 of the windows in all symmetries.
        usable: (N,) bool; False for images that cannot be read or have a single color.
    """

    thumbnails: np.ndarray
    colors: np.ndarray
    hashes: np.ndarray
    usable: np.ndarray


def join_looks(parts: list[Looks]) -> Looks:
    """Return how the images of several data sets look, one after the other."""
    names = ("thumbnails", "colors", "hashes", "usable")
    return Looks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def look_at(source: Source, positions: np.ndarray, progress: Progress) -> Looks:
    """Read images batch by batch, and hash them.

    Args:
        source: a source of images.
        positions: (N,) in the source.
        progress: shows a bar.
    """
    looks = Looks(
        np.zeros((len(positions), SIDE, SIDE), np.uint8),
        np.zeros((len(positions), 2, COLOR_SIDE, COLOR_SIDE), np.float32),
        np.zeros((len(positions), len(WINDOWS), len(SYMMETRIES), 8), np.uint8),
        np.zeros(len(positions), bool),
    )
    with progress.task("hash", len(positions)) as task:
        for start in range(0, len(positions), _BATCH):
            batch = slice(start, start + _BATCH)
            images, ok = read_valid(source, positions[batch])
            looks.thumbnails[batch] = gray_thumbnails(images)
            looks.colors[batch] = color_thumbnails(images)
            looks.hashes[batch] = window_hashes(looks.thumbnails[batch])
            looks.usable[batch] = ok & looks.thumbnails[batch].any(axis=(1, 2))
            task.advance(len(images))
    return looks


def similar_pairs(
    looks: Looks, other: np.ndarray | None, neighbors: np.ndarray | None, progress: Progress
) -> list[Pair]:
    """Find the pairs of near duplicates.

    Args:
        looks: of N images.
        other: (N,) bool, whether an image is of the second of two data sets, between which pairs are searched; None: all pairs.
        neighbors: (N, K) rows of images with near embeddings, or None.
        progress: shows a bar.
    """
    rows = np.flatnonzero(looks.usable)
    sides = [(rows, rows)]
    if other is not None:
        ours, theirs = rows[~other[rows]], rows[other[rows]]
        sides = [(ours, theirs), (theirs, ours)]
    pairs: list[Pair] = []
    with progress.task("compare", sum(len(queries) for queries, _ in sides)) as task:
        for queries, searched in sides:
            is_searched = np.zeros(len(looks.usable), bool)
            is_searched[searched] = True
            for batch, candidates in _candidates(looks, queries, searched):
                for row, similar in zip(batch.tolist(), candidates):
                    pairs += _verified(looks, row, similar, MAX_BITS)
                    if neighbors is not None:
                        near = [one for one in neighbors[row].tolist() if one >= 0 and is_searched[one]]
                        more = sorted(set(near) - {row, *similar})
                        pairs += _verified(looks, row, more, MAX_BITS_OF_NEIGHBORS)
                task.advance(len(batch))
    return pairs


def _candidates(
    looks: Looks, queries: np.ndarray, searched: np.ndarray
) -> Iterator[tuple[np.ndarray, list[list[int]]]]:
    """Yield rows of queries (B,), and for each of them the rows with similar hashes among the searched ones, nearest first."""
    if not len(searched):
        return
    index = faiss.IndexBinaryFlat(64)
    index.add(np.ascontiguousarray(looks.hashes[searched, 0, 0]))
    step = max(1, _QUERIES // (len(WINDOWS) * len(SYMMETRIES)))
    for start in range(0, len(queries), step):
        batch = queries[start : start + step]
        bits, hits = index.search(looks.hashes[batch].reshape(-1, 8), min(CANDIDATES + 1, len(searched)))
        candidates = []
        for row, differing, places in zip(batch.tolist(), bits.reshape(len(batch), -1), hits.reshape(len(batch), -1)):
            close = searched[places[differing <= MAX_BITS]]
            order = np.argsort(differing[differing <= MAX_BITS], kind="stable")
            candidates.append([one for one in dict.fromkeys(close[order].tolist()) if one != row][:CANDIDATES])
        yield batch, candidates


def _verified(looks: Looks, row: int, candidates: Iterable[int], max_bits: int) -> list[Pair]:
    """Return the candidates that look like a part or all of an image once they are aligned."""
    pairs = []
    for candidate in candidates:
        differing = np.unpackbits(looks.hashes[row] ^ looks.hashes[candidate, 0, 0], axis=-1).sum(-1)
        window, symmetry = np.unravel_index(int(differing.argmin()), differing.shape)
        if differing.min() > max_bits:
            continue
        top, left, side = WINDOWS[window]
        box = (float(left), float(top), float(left + side), float(top + side))
        correlation, box = _align(looks.thumbnails[row], looks.thumbnails[candidate], int(symmetry), box)
        cropped = (box[2] - box[0]) * (box[3] - box[1]) < 0.97 * SIDE**2
        pair = Pair(row, candidate, int(symmetry), cropped, correlation)
        if correlation >= SAME and _color_correlation(looks, pair, box) >= SAME_COLORS:
            pairs.append(pair)
    return pairs


def _align(first: np.ndarray, second: np.ndarray, symmetry: int, box: Box) -> tuple[float, Box]:
    """Move the edges of a part of the first image until it correlates most with the second; return both."""
    image = Image.fromarray(first)
    target = _standardized(np.asarray(Image.fromarray(second).resize((_COMPARED, _COMPARED), Image.Resampling.BOX)))

    def correlation(part: Box) -> float:
        seen = np.asarray(image.resize((_COMPARED, _COMPARED), Image.Resampling.BILINEAR, box=part))
        return float((_standardized(lay(seen, symmetry)) * target).sum())

    best = correlation(box)
    if best < PROMISING:
        return best, box
    for step in (4.0, 2.0, 1.0):
        improved = step == 4.0 or best >= HOPEFUL
        while improved and best < CERTAIN:
            improved = False
            for moves in _MOVES:
                left, top, right, bottom = (
                    min(max(edge + step * move, 0.0), float(SIDE)) for edge, move in zip(box, moves)
                )
                moved = (left, top, right, bottom)
                if min(right - left, bottom - top) < SIDE / 2 or moved == box:
                    continue
                if (value := correlation(moved)) > best + 1e-4:
                    best, box, improved = value, moved, True
    return best, box


def _color_correlation(looks: Looks, pair: Pair, box: Box) -> float:
    """Return the correlation of the colors of two aligned images; 1 if one of them is gray."""
    part: Box = (box[0] / _COLOR_SCALE, box[1] / _COLOR_SCALE, box[2] / _COLOR_SCALE, box[3] / _COLOR_SCALE)
    seen = [lay(_reduced(plane, part), pair.symmetry) for plane in looks.colors[pair.first]]
    target = [_reduced(plane) for plane in looks.colors[pair.second]]
    first, second = (np.stack([plane - plane.mean() for plane in colors]) for colors in (seen, target))
    strengths = _strength(first), _strength(second)
    if min(strengths) < GRAY:
        return 1.0
    return float((first * second).mean()) / (strengths[0] * strengths[1])


def _strength(colors: np.ndarray) -> float:
    return float(np.square(colors).mean()) ** 0.5


def _reduced(plane: np.ndarray, part: Box | None = None) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).resize((_COLORS, _COLORS), Image.Resampling.BILINEAR, box=part))


def _standardized(values: np.ndarray) -> np.ndarray:
    centered = values.astype(np.float32) - values.mean()
    return centered / max(float(np.linalg.norm(centered)), 1e-6)
