"""Hold heat maps of images, draw them, and write them to files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit.analysis._patch_memory import PatchMemory
from aekit.evaluation.results import Metric
from aekit.io.text_table import format_columns
from aekit.visualization.heat_maps import HeatScale, draw_heat_maps, overlay

_LONGEST_NAME = 80


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """Heat maps of the most anomalous images.

    Attributes:
        ids: n names, the most anomalous image first.
        maps: name -> (n, H, W) float32, higher for more anomalous pixels, at the size at which the encoder sees the images.
        units: name -> unit of the values.
        scales: name -> color scale, the same for all images: from their median pixel to the median of their maxima.
        pixels: (n, H, W, 3) uint8 images.
        masks: n masks (H, W) bool of the anomalous pixels, None where they are not known.
        metrics: name -> ``pixel_auroc`` and ``pro`` over all images with known pixels; {} without masks.
        memory: memory of normal patches, or None.
    """

    ids: list[str]
    maps: dict[str, np.ndarray]
    units: dict[str, str]
    scales: dict[str, HeatScale]
    pixels: np.ndarray
    masks: Sequence[np.ndarray | None]
    metrics: dict[str, dict[str, Metric]]
    memory: PatchMemory | None = None

    @classmethod
    def build(
        cls, maps: dict[str, np.ndarray], units: dict[str, str], levels: dict[str, float], **values: Any
    ) -> HeatMaps:
        """Choose the color scales, and mark on each the level below which 99.9% of the pixels of normal images lie."""
        scales = {}
        for name, heat in maps.items():
            low, level = float(np.median(heat)), levels.get(name)
            high = max(float(np.median(heat.max((1, 2)))), level or 0.0)
            scales[name] = HeatScale(low, high if high > low else low + 1e-12, level, units[name])
        return cls(maps=maps, units=units, scales=scales, **values)

    @property
    def shown(self) -> str:
        """Name of the map to show where there is room for one only."""
        return list(self.maps)[-1]

    def overlay(self, rank: int, name: str = "") -> np.ndarray:
        """Return a map drawn over its image, (H, W, 3) uint8.

        Args:
            rank: of the image, from 0.
            name: of the map; default: `shown`.
        """
        name = name or self.shown
        return overlay(self.pixels[rank], self.scales[name].to_unit(self.maps[name][rank]))

    def draw(self, rank: int) -> Image.Image:
        """Draw an image next to its heat maps with their color scales; `rank` counts from 0."""
        maps = {name: heat[rank] for name, heat in self.maps.items()}
        title = f"{rank + 1}: {self.ids[rank]}"
        return draw_heat_maps(self.pixels[rank], maps, self.scales, title=title, mask=self.masks[rank])

    def conclusion(self) -> str:
        """Return how well the maps find anomalous pixels, in a sentence; "" without masks."""
        if not self.metrics:
            return ""
        auroc = {name: by_name["pixel_auroc"] for name, by_name in self.metrics.items()}
        best_map = max((name for name in auroc if name in self.maps), key=lambda name: auroc[name].value)
        baselines = [name for name in auroc if name not in self.maps]
        sentence = f"The heat map of {best_map} finds anomalous pixels with an AUROC of {auroc[best_map]}"
        if not baselines:
            return f"{sentence}."
        best = max(baselines, key=lambda name: auroc[name].value)
        return f"{sentence}; the best baseline is {best}, with {auroc[best]}."

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of metrics for each kind of heat map."""
        return [
            {"heat map": name, **{metric.replace("_", " "): str(value) for metric, value in by_name.items()}}
            for name, by_name in self.metrics.items()
        ]

    def text(self) -> str:
        """Return the conclusion and a table of the metrics; "" without masks."""
        return "\n".join([self.conclusion(), format_columns(self.rows())]) if self.metrics else ""

    def to_dict(self) -> dict[str, Any]:
        """Return units, color scales and metrics as plain JSON."""
        return {
            name: {
                **({} if name not in self.scales else self.scales[name]._asdict()),
                **{key: asdict(metric) for key, metric in self.metrics.get(name, {}).items()},
            }
            for name in dict.fromkeys([*self.maps, *self.metrics])
        }

    def save(self, folder: Path) -> None:
        """Write an image for each sample, ``RANK-ID.png``, and ``maps.npz`` with ids and maps, into a new folder."""
        folder.mkdir()
        for rank, name in enumerate(self.ids):
            self.draw(rank).save(folder / f"{rank + 1:03}-{_file_name(name)}.png", optimize=True)
        with (folder / "maps.npz").open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{"ids": np.array(self.ids, dtype=np.str_), **self.maps})


def _file_name(sample: str) -> str:
    """Return the end of an id as a name of a file that every system takes."""
    return re.sub(r"[^\w.-]+", "_", sample.rsplit(".", 1)[0] if "/" in sample else sample)[-_LONGEST_NAME:] or "sample"
