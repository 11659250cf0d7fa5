"""Metrics of heat maps against masks of the anomalies, with intervals: AUROC of the pixels, and per-region overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from aekit.evaluation.metrics.intervals import RESAMPLES, stratified_weights
from aekit.evaluation.results import Metric

MAX_FALSE_POSITIVE_RATE = 0.3
"""Largest rate of false positive pixels over which the per-region overlap is averaged."""
_DROPPED_BITS = 13
"""Last bits of a float32 that are dropped, so that values are counted rather than sorted; 10 bits of the mantissa are kept."""
_LEVELS = 2048
"""Most distinct values that are resampled; neighboring ones are joined."""
_CONNECTED = np.ones((3, 3), int)
_AT_ONCE = 64


@dataclass
class PixelCounts:
    """Counts of the values of heat maps inside and outside of masks, image by image, so that no map needs to be kept.

    Values are counted to three significant digits (10 bits); those of one count are ties.
    """

    _keys: list[np.ndarray] = field(default_factory=list)
    _counts: list[np.ndarray] = field(default_factory=list)
    _regions: list[int] = field(default_factory=list)

    def add(self, counts: np.ndarray) -> None:
        """Add an image, of which `count_pixels` returned counts (4, K)."""
        self._keys.append(counts[0].astype(np.uint32))
        self._counts.append(counts[1:])
        self._regions.append(round(counts[3].sum()))

    def metrics(self, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Metric]:
        """Compute metrics with percentile intervals by the bootstrap over images, as pixels of one are not independent.

        Args:
            seed: seed of the resampling; images with anomalies and without are resampled separately.
            resamples: number of resampled data sets.

        Returns:
            ``pixel_auroc``, the probability that an anomalous pixel has a higher value than a normal one, ties counting half;
            ``pro``, the mean fraction of a connected region that is found, averaged over rates of false positive pixels up to
            0.3 and divided by it (Bergmann, Fauser, Sattlegger and Steger, Uninformed students, 2020). Both in 0..1; {} if no
            pixel, or every pixel, is anomalous.
        """
        keys = np.unique(np.concatenate(self._keys)) if self._keys else np.zeros(0, np.uint32)
        whole = np.zeros((3, len(keys)))
        for image_keys, counts in zip(self._keys, self._counts):
            whole[:, np.searchsorted(keys, image_keys)] += counts
        if not whole[:2].sum(1).all():
            return {}
        values = _curves(whole[None], np.array([sum(self._regions)]))[:, 0]
        # Resampling needs the counts of all images at once: values are joined into levels of about equally many pixels.
        cumulated = np.cumsum(whole[:2].sum(0))
        level_of = np.minimum((_LEVELS * (cumulated - 1) / cumulated[-1]).astype(int), _LEVELS - 1)
        by_image = np.zeros((len(self._keys), 3, _LEVELS), np.float32)
        for image, (image_keys, counts) in enumerate(zip(self._keys, self._counts)):
            for row in range(3):
                by_image[image, row] = np.bincount(
                    level_of[np.searchsorted(keys, image_keys)], counts[row], minlength=_LEVELS
                )
        regions = np.array(self._regions)
        resampled = np.concatenate(
            [
                _curves(
                    (weights.astype(np.float32) @ by_image.reshape(len(regions), -1)).reshape(-1, 3, _LEVELS),
                    weights @ regions,
                )
                for weights in stratified_weights(regions > 0, seed, resamples, _AT_ONCE)
            ],
            axis=1,
        )
        resampled = np.concatenate([resampled, values[:, None]], axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
        low, high = np.minimum(low, values), np.maximum(high, values)
        names = ("pixel_auroc", "pro")
        return {name: Metric(float(values[n]), float(low[n]), float(high[n])) for n, name in enumerate(names)}


def count_pixels(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count the values of a heat map inside and outside of a mask.

    Args:
        heat: (h, w) finite values of at least 0, higher for more anomalous pixels.
        mask: (h, w) bool, the anomalous pixels.

    Returns:
        (4, K) float64: K values, as whole numbers in their order, and of each the number of normal pixels, that of anomalous
        ones, and the sum of the fractions of their regions that these are, so that each region counts 1 in all.
    """
    from scipy.ndimage import label  # slow to import, and only data with masks needs it

    bits = np.ascontiguousarray(np.maximum(heat, 0), np.float32).view(np.uint32) >> _DROPPED_BITS
    keys, places = np.unique(bits, return_inverse=True)
    places, inside = places.reshape(-1), mask.reshape(-1)
    normal = np.bincount(places[~inside], minlength=len(keys))
    anomalous = np.bincount(places[inside], minlength=len(keys))
    regions, count = label(mask, _CONNECTED)
    sizes = np.bincount(regions.reshape(-1), minlength=count + 1)
    weights = 1 / np.maximum(sizes[regions.reshape(-1)[inside]], 1)
    overlap = np.bincount(places[inside], weights, minlength=len(keys))
    return np.stack([keys, normal, anomalous, overlap]).astype(np.float64)


def _curves(counts: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return the AUROC and the per-region overlap (2, R) of R data sets.

    Args:
        counts: (R, 3, K) normal pixels, anomalous ones, and fractions of regions, by ascending value.
        regions: (R,) number of regions.
    """
    below = np.cumsum(counts[:, :, ::-1], axis=2)  # pixels of at least each value, by descending value
    start = np.zeros((len(counts), 1))
    false_positive, recall = (
        np.concatenate([start, below[:, row] / np.maximum(below[:, row, -1:], 1)], axis=1) for row in (0, 1)
    )
    overlap = np.concatenate([start, below[:, 2] / np.maximum(regions, 1)[:, None]], axis=1)
    auroc = (np.diff(false_positive, axis=1) * (recall[:, 1:] + recall[:, :-1]) / 2).sum(1)
    pro = [
        _area_up_to(rates, regions_found, MAX_FALSE_POSITIVE_RATE) / MAX_FALSE_POSITIVE_RATE
        for rates, regions_found in zip(false_positive, overlap)
    ]
    return np.stack([auroc, np.array(pro)])


def _area_up_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Return the area under a line through (K,) ascending x and y, from 0 to a limit of x."""
    last = int(np.searchsorted(x, limit, side="right"))
    end = np.interp(limit, x[last - 1 : last + 1], y[last - 1 : last + 1]) if last < len(x) else y[-1]
    return float(np.trapezoid(np.append(y[:last], end), np.append(x[:last], limit)))
