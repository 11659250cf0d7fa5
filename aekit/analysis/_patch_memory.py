"""Detect anomalous patches by their distance to a memory of normal patches (PatchCore)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from aekit.analysis._anomaly_vectors import EQUAL
from aekit.analysis._patch_features import PatchFeatures, RawPatches
from aekit.analysis._sample_selection import cover
from aekit.encoder.encoder import Encoder
from aekit.encoder.identity import check_same_encoder
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.io.manifest_models import Sha256, TensorsManifest
from aekit.io.manifests import TensorsFormat, explain_read_errors

CANDIDATES = 20_000
"""Normal patches that are drawn, equally many of each image."""
FRACTION, MIN_MEMORY = 0.1, 1000
"""Fraction of the candidates that is kept, and the fewest that are kept, where there are as many."""
_PROJECTED = 32
"""Dimensions in which the kept patches are chosen."""
_FOLDER_NAME = "patches"


class PatchMemoryManifest(TensorsManifest):
    """Entries of ``patches.json``."""

    encoder: Sha256
    levels: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    """Name of a map -> value below which 99.9% of normal pixels lie."""


FORMAT = TensorsFormat(
    "patch memory",
    1,
    PatchMemoryManifest,
    f"{_FOLDER_NAME}.json",
    f"{_FOLDER_NAME}.safetensors",
    "fit it again with aekit anomalies",
)


class PatchMemory:
    """Distance of patches to the nearest of a memory of normal patches, and of images by their most distant patch.

    The memory is a core set of a random draw of the normal patches: patches are added that are farthest from those in it, by
    random projections of their features (Roth, Pemula, Zepeda, Schölkopf, Brox and Gehler, Towards total recall in industrial
    anomaly detection, 2022). The features of each map are divided by the mean distance of the candidates from their mean in
    it, so that both maps count alike.

    Args:
        features: describes patches.
        patches: (M, C) float32 scaled features of the memory.
        scale: (C,) float32 factors of the features.
    """

    def __init__(self, features: PatchFeatures | RawPatches, patches: np.ndarray, scale: np.ndarray) -> None:
        self.features, self.patches, self.scale = features, patches, scale

    @classmethod
    def fit(cls, features: PatchFeatures | RawPatches, images: Iterable[Tensor], count: int, seed: int) -> PatchMemory:
        """Fit a memory to normal images.

        Args:
            features: describes patches.
            images: batches of raw images (B, C, H, W).
            count: number of images.
            seed: seed of the draw of patches and of the projections.
        """
        generator = np.random.default_rng(seed)
        positions = features.grid[0] * features.grid[1]
        of_each = min(positions, -(-CANDIDATES // count))
        drawn = []
        for raw in images:
            patches = features(raw).flatten(2).transpose(1, 2).cpu().numpy()  # (B, positions, C)
            rows = np.stack([generator.choice(positions, of_each, replace=False) for _ in range(len(patches))])
            drawn.append(np.take_along_axis(patches, rows[:, :, None], axis=1).reshape(-1, features.dim))
        candidates = np.concatenate(drawn)
        ends = np.cumsum(features.channels)
        spreads = [
            np.linalg.norm(part - part.mean(0), axis=1).mean() for part in np.split(candidates, ends[:-1], axis=1)
        ]
        scale = np.repeat([1 / max(float(spread), 1e-30) for spread in spreads], features.channels).astype(np.float32)
        candidates *= scale
        return cls(features, candidates[np.sort(core_set(candidates, generator))], scale)

    def distances(self, raw: Tensor) -> np.ndarray:
        """Return the distance (B, h, w) float32 of each patch of (B, C, H, W) raw images to the nearest patch of the memory.

        A patch that equals one of the memory is compared with the second nearest: it may be from the image itself.
        """
        patches = self.features(raw)
        rows = patches.flatten(2).transpose(1, 2).reshape(-1, self.features.dim).cpu().numpy() * self.scale
        _, positions = nearest_neighbors(rows, self.patches, 2, metric="l2", device=patches.device)
        # Differences are exact where float32 products cannot tell equal rows from almost equal ones.
        distances = np.stack([np.linalg.norm(rows - self.patches[column], axis=1) for column in positions.T], axis=1)
        nearest = np.where(distances[:, 0] <= EQUAL, distances[:, -1], distances.min(axis=1))
        return nearest.reshape(len(raw), *self.features.grid).astype(np.float32)

    def save(self, folder: Path, digest: str, levels: dict[str, float]) -> None:
        """Write ``patches.json`` and ``patches.safetensors`` into an existing folder.

        Args:
            folder: where to.
            digest: of the encoder.
            levels: name of a map -> value below which 99.9% of normal pixels lie.
        """
        tensors = {"patches": self.patches, "scale": self.scale}
        save_file(
            {name: torch.from_numpy(np.ascontiguousarray(t)) for name, t in tensors.items()}, folder / FORMAT.tensors
        )
        FORMAT.write(folder, {"encoder": digest, "levels": levels})

    @classmethod
    def load(cls, folder: Path, encoder: Encoder) -> tuple[PatchMemory, dict[str, float]]:
        """Load the memory that `save` wrote, and the levels.

        Raises:
            IdentityError: it is missing or damaged, or belongs to another encoder.
        """
        record = FORMAT.read(folder)
        check_same_encoder(encoder.digest, record["encoder"], what="the run", maker="the patch memory was fitted")
        with explain_read_errors(folder / FORMAT.tensors, FORMAT.remedy):
            features = PatchFeatures(encoder)
            tensors = load_file(folder / FORMAT.tensors)
            if tensors.keys() != {"patches", "scale"}:
                raise ValueError(f"holds {', '.join(sorted(tensors))}; expected patches, scale")
            for name, axes in {"patches": 2, "scale": 1}.items():
                tensor = tensors[name]
                same = tensor.ndim == axes and tensor.shape[-1] == features.dim and len(tensor)
                if not same or tensor.dtype != torch.float32 or not torch.isfinite(tensor).all():
                    raise ValueError(
                        f"{name} is {tuple(tensor.shape)} {tensor.dtype}; expected finite float32 of {features.dim}"
                    )
        return cls(features, tensors["patches"].numpy(), tensors["scale"].numpy()), record["levels"]


def core_set(candidates: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Choose a tenth of (N, C) candidates, at least 1,000 of them if there are as many, that cover all -> rows (M,)."""
    count = min(len(candidates), max(MIN_MEMORY, round(FRACTION * len(candidates))))
    if count == len(candidates):
        return np.arange(count)
    projected = candidates
    if candidates.shape[1] > _PROJECTED:
        directions = generator.normal(size=(candidates.shape[1], _PROJECTED)) / np.sqrt(_PROJECTED)
        projected = candidates @ directions.astype(np.float32)
    return cover(projected, np.zeros(0, np.int64), np.arange(len(candidates)), count)
