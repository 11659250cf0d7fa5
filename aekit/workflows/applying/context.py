"""A trained run at work: its data by the batch, the way from codes back to the data's own units, and what a task found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from aekit.data.opening import open_data
from aekit.data.source import Source
from aekit.data.stream import stream
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import load
from aekit.errors import DataError
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.objectives.base import Pretext
from aekit.objectives.saved_pretexts import load_pretexts
from aekit.progress import SILENT, Progress
from aekit.visualization.image_grid import draw_grid
from aekit.visualization.rendering import DisplayScale
from aekit.workflows.applying.outputs import SampleWriter

SHOWN = 10
"""Samples in an image."""


@dataclass
class TaskResult:
    """What a task found.

    Attributes:
        image: to look at.
        rows: a table of figures, the network's own first.
        samples: a row of figures for each sample, by its id.
        facts: further figures.
        notes: what was left out, and why.
    """

    image: Image.Image
    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Context:
    """A run and the data that it is applied to.

    Args:
        run: folder of a run.
        task: what it is applied for.
        data: what `aekit.open_data` takes, or None.
        options: of the source that opens it.
        split: only these samples.
        device: to compute on.

    Attributes:
        folder: that outputs go to, or None for memory.
        made: where the outputs of the task are, once it has asked for that.
        images: whether samples are images or clips, whose values share one range.
        peak: that range: what a ratio of signal to noise counts from.
    """

    def __init__(
        self,
        run: str | Path,
        task: str,
        data: Any,
        options: dict[str, Any] | None = None,
        split: str | None = None,
        progress: Progress = SILENT,
        device: str = "cpu",
    ) -> None:
        self.run, self.task, self.data, self.options, self.split = Path(run), task, data, options, split
        self.folder: Path | None = None
        self.progress, self.device = progress, device
        self.outputs_written: SampleWriter
        self.spec = self.encoder.spec
        self.are_images = self.spec.is_visual
        low, high = self.encoder.preprocess.raw_range()
        whole = {"uint8": 255.0, "uint16": 65535.0}
        self.peak = whole.get(self.spec.dtype) or max(float(high.max()) - float(low.min()), 1e-12)

    @cached_property
    def encoder(self) -> Encoder:
        return self._decoding.encoder if self._decoding else load(self.run, device=self.device)

    @cached_property
    def _decoding(self) -> Autoencoder | None:
        return load_autoencoder(self.run, device=self.device) if (self.run / "decoder").is_dir() else None

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """Raises DataError where the run has no decoder of samples."""
        found = self._decoding
        if found is not None and found.reconstructs_samples:
            return found
        problem = "has no decoder; only runs with an autoencoder objective have one"
        if found is not None:
            problem = "its decoder ends at the output of the frozen stages (encoder.frozen), and not at samples"
        own = f"; this one was trained for --task {' or '.join(self.pretext_tasks)}" if self.pretext_tasks else ""
        raise DataError(f"{self.run}: {problem}{own}")

    @cached_property
    def pretext_tasks(self) -> dict[str, Pretext]:
        """Pretext tasks that the run was trained for and that are applications of their own, by what they are called."""
        return load_pretexts(self.run, self.encoder)

    @cached_property
    def source(self) -> Source:
        """The data, brought to what the encoder takes."""
        return open_data(self.data, self.options, like=self.spec)

    @cached_property
    def original_size_source(self) -> Source:
        """The data at its own size."""
        return open_data(self.data, self.options)

    @cached_property
    def rows(self) -> np.ndarray:
        """(N,) positions in the source."""
        return self.source.rows_of(self.split)

    def batches(self, title: str, rows: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Positions (B,) in the source and raw samples (B, *shape), without those that cannot be read.

        Raises:
            DataError: none can be read.
        """
        wanted = self.rows if rows is None else rows
        return stream(self.source, wanted, self.encoder.device, title=title, progress=self.progress)

    def grid(self, rows: Sequence[Sequence[np.ndarray]], **titles: Any) -> Image.Image:
        """An image of samples in the data's units; titles as in `aekit.visualization.image_grid.draw_grid`."""
        drawn = DisplayScale(self.spec, self.encoder.preprocess)
        cells = [[drawn.to_display(sample) for sample in row] for row in rows]
        return draw_grid(cells, self.spec, value_range=drawn.value_range, **titles)

    def encode(self, raw: Tensor) -> Tensor:
        """(B, *shape) raw -> (B, D), what the decoder takes."""
        return self.encoder.encode(self.encoder.preprocess(raw)).float()

    def decode(self, code: Tensor) -> Tensor:
        """(B, D) -> (B, *shape) on the network's scale."""
        return self.autoencoder.likelihood.activate(self.autoencoder.decoder(code).float())

    def denormalize(self, x: Tensor) -> np.ndarray:
        """(B, *shape) on the network's scale -> (B, *shape) in the data's units and dtype."""
        raw = self.encoder.preprocess.inverse(x).cpu().numpy()
        dtype = np.dtype(self.spec.dtype)
        if dtype.kind in "ui":
            limits = np.iinfo(dtype)
            raw = raw.astype(np.float64).round().clip(limits.min, limits.max)
        return raw.astype(dtype)

    def outputs(self, names: Sequence[str]) -> SampleWriter:
        """Where samples of these names are put; a task has one such place."""
        self.outputs_written = SampleWriter(self.folder, self.spec, names)
        return self.outputs_written

    def skipped(self) -> dict[str, str]:
        """Id -> reason, of samples that could not be used."""
        opened = [self.__dict__[name].skipped for name in ("source", "original_size_source") if name in self.__dict__]
        return {name: why for one in opened for name, why in one.items()}

    def skipped_notes(self) -> list[str]:
        """A line on the samples that could not be used, if there are any."""
        found = self.skipped()
        name, why = next(iter(found.items()), ("", ""))
        return [f"{len(found)} samples skipped, such as {name}: {why}"] if found else []
