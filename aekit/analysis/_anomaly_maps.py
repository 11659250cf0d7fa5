"""Map how anomalous each pixel of an image is: by its reconstruction, and by a memory of normal patches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.analysis._anomaly_heatmaps import HeatMaps
from aekit.analysis._anomaly_masks import Masks
from aekit.analysis._anomaly_text import PATCHES
from aekit.analysis._patch_features import PatchFeatures, RawPatches
from aekit.analysis._patch_memory import PatchMemory
from aekit.data.samples import Samples
from aekit.data.source import Source, read_valid
from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder
from aekit.errors import DataError
from aekit.evaluation.metrics.localization import PixelCounts, count_pixels
from aekit.objectives.autoencoder import Autoencoder
from aekit.visualization.rendering import DisplayScale
from aekit.visualization.thumbnails import to_pixels

RAW_PATCHES, MEAN_IMAGE, RECONSTRUCTION = "raw patches", "mean image", "reconstruction"
UNITS = {
    RECONSTRUCTION: "squared error of scaled pixels",
    PATCHES: "distance to the nearest normal patch",
    MEAN_IMAGE: "squared deviation of scaled pixels",
    RAW_PATCHES: "distance to the nearest normal patch of pixels",
}
SMOOTHING = 1 / 56
"""Standard deviation of the Gaussian that smooths a map, as a fraction of its shorter side: 4 pixels of 224, as in PatchCore."""
DEFAULT_COUNT = 24
MAX_IMAGES = 512
"""Most reference images that patches are drawn from."""
MAX_PATCHES = 2**18
"""Most patches that are compared with the memory without being asked to: seconds to a minute on one core."""
LEVEL = 0.999
_EACH_TENTH, _MIN_FOR_LEVEL = 10, 20
_BATCH = 64
Pixels = dict[str, list[np.ndarray | None]]
"""Name of a map -> counts of the pixels of each image."""


class HeatMapper:
    """Compute heat maps of images, (H, W) at the size at which the encoder sees them.

    - ``reconstruction``: squared error of the reconstruction, averaged over the channels.
    - ``patches``: distance of the patch around a pixel to the nearest of a memory of normal patches, see `PatchMemory`.
    - ``mean image`` and ``raw patches``: baselines without a network, the squared deviation from the mean of the reference
      images, and a memory of pixels instead of features.

    All are smoothed by the same Gaussian.

    Args:
        encoder: trained encoder of images.
        autoencoder: the encoder with its decoder, or None.
        memories: name -> memory of patches.
        mean: mean of the preprocessed reference images, (C, H, W); None: no such map.
        levels: name -> value below which 99.9% of the pixels of normal images lie.

    Attributes:
        notes: which maps are missing, and why.
        masks: which pixels are anomalous, to evaluate the maps by; None: not known.
        scores_all: whether all images are scored by ``patches``, rather than only those that are shown.
    """

    def __init__(
        self,
        encoder: Encoder,
        autoencoder: Autoencoder | None,
        memories: dict[str, PatchMemory],
        mean: Tensor | None,
        levels: dict[str, float],
    ) -> None:
        self.encoder, self.memories, self.mean, self.levels = encoder, memories, mean, levels
        self.autoencoder = autoencoder if autoencoder is not None and autoencoder.reconstructs_samples else None
        self.notes: list[str] = []
        self.masks: Masks | None = None
        self.scores_all = False
        self._counts: dict[str, PixelCounts] = {}

    @classmethod
    def fit(
        cls, encoder: Encoder, autoencoder: Autoencoder | None, samples: Samples, seed: int, *, baselines: bool
    ) -> HeatMapper:
        """Fit memories of patches and the mean image to reference images.

        Args:
            encoder: trained encoder.
            autoencoder: the encoder with its decoder, or None.
            samples: normal images; of many, 512 are used. Of 20 or more, every tenth gives the levels and no patches.
            seed: seed of the memories.
            baselines: whether to fit the baselines too.
        """
        count = len(range(0, len(samples), max(1, -(-len(samples) // MAX_IMAGES))))
        apart = np.arange(count) % _EACH_TENTH == _EACH_TENTH - 1 if count >= _MIN_FOR_LEVEL else np.zeros(count, bool)
        memories, notes = {}, []
        try:
            features = PatchFeatures(encoder)
        except NotImplementedError as error:
            notes.append(f"no heat maps of patches: {error}")
        else:
            memories[PATCHES] = PatchMemory.fit(features, _images(samples, ~apart), int((~apart).sum()), seed)
        mean = None
        if baselines:
            memories[RAW_PATCHES] = PatchMemory.fit(
                RawPatches(encoder), _images(samples, ~apart), int((~apart).sum()), seed
            )
            sums = [encoder.preprocess(raw).double().sum(0) for raw in _images(samples, ~apart)]
            mean = (torch.stack(sums).sum(0) / int((~apart).sum())).float()
        mapper = cls(encoder, autoencoder, memories, mean, {})
        mapper.notes = notes
        if apart.any():
            maps = [mapper.maps(raw)[0] for raw in _images(samples, apart)]
            mapper.levels = {
                name: float(np.quantile(np.concatenate([part[name] for part in maps]), LEVEL)) for name in maps[0]
            }
        return mapper

    @classmethod
    def load(cls, folder: Path | None, encoder: Encoder, autoencoder: Autoencoder | None) -> HeatMapper:
        """Load the memory of an earlier run, without baselines; without a folder that has one, only reconstructions give maps.

        Raises:
            IdentityError: the memory belongs to another encoder, or is damaged.
        """
        if folder is None:
            mapper = cls(encoder, autoencoder, {}, None, {})
            mapper.notes.append("no heat maps of patches: the detector was saved without a patch memory")
            return mapper
        memory, levels = PatchMemory.load(folder, encoder)
        return cls(encoder, autoencoder, {PATCHES: memory}, None, levels)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what `from_state` needs: values that JSON can express, and tensors."""
        tensors = {} if self.mean is None else {"mean": self.mean}
        for name, memory in self.memories.items():
            tensors |= {
                f"{name}.patches": torch.from_numpy(memory.patches),
                f"{name}.scale": torch.from_numpy(memory.scale),
            }
        settings: dict[str, Any] = {"memories": list(self.memories), "scores_all": self.scores_all, "unknown": None}
        if self.masks is not None:
            settings["unknown"] = sorted(self.masks.unknown)
            tensors |= {f"mask.{row}": torch.from_numpy(mask) for row, mask in self.masks.pixels.items()}
        return settings, tensors

    @classmethod
    def from_state(
        cls,
        encoder: Encoder,
        autoencoder: Autoencoder | None,
        settings: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> HeatMapper:
        """Build a mapper that scores images as the one does whose `state` this is; it has no levels."""
        memories = {}
        for name in settings["memories"]:
            patches, scale = (tensors[f"{name}.{part}"].cpu().numpy() for part in ("patches", "scale"))
            features = PatchFeatures(encoder) if name == PATCHES else RawPatches(encoder)
            memories[name] = PatchMemory(features, patches, scale)
        mapper = cls(encoder, autoencoder, memories, tensors.get("mean"), {})
        mapper.scores_all = settings["scores_all"]
        if settings["unknown"] is not None:
            marked = {name: tensor for name, tensor in tensors.items() if name.startswith("mask.")}
            pixels = {int(name.removeprefix("mask.")): tensor.cpu().numpy() for name, tensor in marked.items()}
            mapper.masks = Masks(pixels, set(settings["unknown"]))
        return mapper

    @property
    def names(self) -> list[str]:
        """Names of the maps, those of the encoder first."""
        names = [RECONSTRUCTION] if self.autoencoder is not None else []
        names += [PATCHES] if PATCHES in self.memories else []
        return names + ([] if self.mean is None else [MEAN_IMAGE]) + [n for n in self.memories if n == RAW_PATCHES]

    def evaluate_with(self, masks: Masks | None, patches: bool | None, count: int) -> None:
        """Set the masks to evaluate the maps by, and whether to score all images.

        Args:
            masks: which pixels are anomalous, or None.
            patches: whether all images are scored by patches; None: if there are masks, or few enough patches.
            count: number of images.
        """
        self.masks = masks
        if PATCHES not in self.memories or patches is False:
            return
        grid = self.memories[PATCHES].features.grid
        self.scores_all = bool(patches) or masks is not None or count * grid[0] * grid[1] <= MAX_PATCHES
        if not self.scores_all:
            self.notes.append(
                f"no score of patches: {count:,} images of {grid[1]} x {grid[0]} patches; patches=True (--patches) computes it"
            )

    def score(self, positions: np.ndarray, raw: Tensor) -> tuple[dict[str, np.ndarray], Pixels]:
        """Score images by their most anomalous patch, and count their pixels if masks are known.

        Args:
            positions: (B,) positions in the source.
            raw: (B, C, H, W) raw images.

        Returns:
            ``patches`` -> (B,) float64; {} if not all images are scored. And for `add_pixels`: name of a map -> counts of each
            image, None where its mask is unknown; {} without masks.
        """
        if self.masks is None and not self.scores_all:
            return {}, {}
        scores, pixels = [], Pixels()
        for start in range(0, len(raw), _BATCH):
            maps, distances = self.maps(raw[start : start + _BATCH], only_scores=self.masks is None)
            scores.append(distances)
            for number, row in enumerate(positions[start : start + _BATCH].tolist()):
                mask = None if self.masks is None else self.masks.mask(row, self.encoder.spec.shape[1:])
                for name, heat in maps.items():
                    counts = None if mask is None else count_pixels(heat[number], mask)
                    pixels.setdefault(name, []).append(counts)
        return {PATCHES: np.concatenate(scores).astype(np.float64)} if self.scores_all else {}, pixels

    def add_pixels(self, pixels: Pixels) -> None:
        """Add the counts of pixels that `score` returned to those that evaluate the maps."""
        for name, by_image in pixels.items():
            for counts in by_image:
                if counts is not None:
                    self._counts.setdefault(name, PixelCounts()).add(counts)

    def maps(self, raw: Tensor, *, only_scores: bool = False) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return name -> (B, H, W) float32 maps of raw images (B, C, H, W), and (B,) the distance of their farthest patch."""
        maps, farthest, size = {}, np.zeros(len(raw)), self.encoder.spec.shape[1:]
        with torch.inference_mode():
            for name, memory in self.memories.items() if not only_scores else [(PATCHES, self.memories[PATCHES])]:
                distances = memory.distances(raw)
                farthest = distances.max((1, 2)) if name == PATCHES else farthest
                if not only_scores:
                    grid = torch.from_numpy(distances)[:, None]
                    maps[name] = F.interpolate(grid, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
            if not only_scores:
                x = self.encoder.preprocess(raw)
                if self.autoencoder is not None:
                    maps[RECONSTRUCTION] = _squared(self.autoencoder.reconstruct(raw) - x)
                if self.mean is not None:
                    maps[MEAN_IMAGE] = _squared(x - self.mean)
        from scipy.ndimage import gaussian_filter  # slow to import, and vectors have no heat maps

        sigma = SMOOTHING * min(size)
        smooth = {
            name: gaussian_filter(maps[name], (0, sigma, sigma), truncate=3) for name in self.names if name in maps
        }
        return smooth, farthest

    def top(self, source: Source, rows: np.ndarray, seed: int) -> HeatMaps | None:
        """Compute the maps of images, and the metrics of the pixels that were counted; None without maps or images.

        Args:
            source: source of the images.
            rows: (n,) positions in it, the most anomalous image first.
            seed: seed of the bootstrap.
        """
        names = [name for name in self.names if name in (RECONSTRUCTION, PATCHES)]
        if not names or not len(rows):
            return None
        parts = dict[str, list[np.ndarray]]({name: [] for name in names})
        pixels, shown = [], DisplayScale(self.encoder.spec, self.encoder.preprocess)
        for start in range(0, len(rows), _BATCH):
            raw, _ = read_valid(source, rows[start : start + _BATCH])
            maps, _ = self.maps(torch.from_numpy(np.ascontiguousarray(raw)).to(self.encoder.device))
            for name, heat in parts.items():
                heat.append(maps[name])
            pixels += [to_pixels(image, self.encoder.spec, shown.value_range) for image in raw]
        size = self.encoder.spec.shape[1:]
        metrics = {name: counts.metrics(seed=seed) for name, counts in self._counts.items()}
        return HeatMaps.build(
            ids=[source.ids[row] for row in rows.tolist()],
            maps={name: np.concatenate(heat) for name, heat in parts.items()},
            units={name: UNITS[name] for name in names},
            levels=self.levels,
            pixels=np.stack(pixels),
            masks=[None if self.masks is None else self.masks.mask(row, size) for row in rows.tolist()],
            metrics={name: metrics[name] for name in self.names if metrics.get(name)},
            memory=self.memories.get(PATCHES),
        )


def check_heat_maps(spec: SampleSpec, count: int | None, patches: bool | None, masks: Any) -> bool:
    """Return whether heat maps, or a score of patches, can be made of samples and are wanted.

    Args:
        spec: of the samples.
        count: number of heat maps; None: the default.
        patches: whether a score of patches is wanted; None: if it costs little.
        masks: masks that were given, or None.

    Raises:
        DataError: the samples are not images, and something was asked for that needs them; masks without heat maps; a negative
            count.
    """
    if count is not None and count < 0:
        raise DataError(f"heatmaps = {count}: expected the number of images with heat maps, 0 or more")
    if not spec.is_image:
        asked = {"heatmaps": count, "patches": patches, "masks": masks is not None}
        if wanted := [name for name, value in asked.items() if value]:
            raise DataError(f"{wanted[0]}: needs images; the encoder takes {spec}")
        return False
    if count == 0 and masks is not None:
        raise DataError("masks: need heat maps, but heatmaps = 0 draws none; leave one of them out")
    return count != 0 or bool(patches)


def _images(samples: Samples, chosen: np.ndarray) -> Iterator[Tensor]:
    """Yield batches of up to 512 evenly spaced images among those that are chosen, (N,) bool."""
    start = 0
    for raw in samples.chunks(size=_BATCH, max_samples=MAX_IMAGES):
        part = chosen[start : start + len(raw)]
        start += len(raw)
        if part.any():
            yield raw[torch.from_numpy(np.flatnonzero(part)).to(raw.device)]


def _squared(difference: Tensor) -> np.ndarray:
    return difference.float().square().mean(1).cpu().numpy()
