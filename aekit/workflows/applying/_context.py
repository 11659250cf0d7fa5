"""Hold a run and the data it is applied to: batches, encoding, decoding to the units of the data, and results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from torch import Tensor

from aekit.data.opening import open_data
from aekit.data.source import Source, skipped_samples
from aekit.data.stream import stream
from aekit.encoder.encoder import Encoder
from aekit.encoder.engines.engine import Engine
from aekit.encoder.loading import load
from aekit.encoder.stored_scaling import value_range
from aekit.errors import DataError
from aekit.io.remote import local_path
from aekit.objectives.autoencoder import NO_DECODER, Autoencoder, load_autoencoder
from aekit.objectives.base import Pretext
from aekit.objectives.saved_pretexts import load_pretexts
from aekit.progress import SILENT, Progress
from aekit.registry.options import Field
from aekit.visualization.image_grid import draw_grid
from aekit.visualization.rendering import DisplayScale
from aekit.workflows.applying._outputs import SampleWriter

SHOWN = 10
"""Number of samples in an image."""


CleanOption = Annotated[
    Any, Field(description="the clean samples: data, a folder of the same names, or a column of DATA")
]
TileOption = Annotated[int, Field(ge=0, description="side of the tiles that large images are split into; 0: no tiles")]
"""Options of tasks that restore samples."""


@dataclass(eq=False)
class TaskResult:
    """Result of a task.

    Attributes:
        image: an image grid.
        rows: a table of metrics, those of the network first.
        samples: metrics of each sample, by its id.
        details: further values.
        notes: what was skipped, and why.
    """

    image: Image.Image
    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Context:
    """A run and the data that it is applied to.

    Args:
        run: run folder.
        task: name of the task.
        data: data as `aekit.open_data` takes it, or None.
        options: options of the source that opens it.
        split: use only this split.
        progress: receives bars.
        device: device to compute on.
        engine: whose workers compute, or None for this process.

    Attributes:
        folder: folder for outputs, or None to keep them in memory.
        outputs_written: writer of the outputs, once the task has asked for it.
        are_images: whether samples are images or clips, whose values share one range.
        black: the lowest value of that range, in the units of the data.
        peak: size of that range, the peak value of PSNR.
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
        engine: Engine | None = None,
    ) -> None:
        self.engine = engine
        self.run, self.task, self.data, self.options, self.split = local_path(run), task, data, options, split
        self.folder: Path | None = None
        self.progress, self.device = progress, device
        self.outputs_written: SampleWriter
        self.spec = self.encoder.spec
        self.are_images = self.spec.is_visual
        black, white = (
            (0.0, 65535.0) if self.spec.dtype == "uint16" else value_range(self.spec, self.encoder.preprocess)
        )
        self.black, self.peak = black, max(white - black, 1e-12)

    @cached_property
    def encoder(self) -> Encoder:
        return self._loaded_autoencoder.encoder if self._loaded_autoencoder else load(self.run, device=self.device)

    @cached_property
    def _loaded_autoencoder(self) -> Autoencoder | None:
        return load_autoencoder(self.run, device=self.device) if (self.run / "decoder").is_dir() else None

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """The autoencoder of the run; raises DataError if the run has no decoder of samples."""
        autoencoder = self._loaded_autoencoder
        if autoencoder is not None and autoencoder.reconstructs_samples:
            return autoencoder
        problem = NO_DECODER
        if autoencoder is not None:
            problem = "its decoder reconstructs the output of the frozen stages (encoder.frozen), not samples"
        hint = f"; this one was trained for the task {' or '.join(self.pretext_tasks)}" if self.pretext_tasks else ""
        raise DataError(f"{self.run}: {problem}{hint}")

    @cached_property
    def pretext_tasks(self) -> dict[str, Pretext]:
        """The trained pretext tasks of the run that can be applied, by task name."""
        return load_pretexts(self.run, self.encoder)

    @cached_property
    def source(self) -> Source:
        """The data, converted to the samples that the encoder takes."""
        return open_data(self.data, self.options, like=self.spec)

    @cached_property
    def original_size_source(self) -> Source:
        """The data at its original size."""
        return open_data(self.data, self.options)

    @cached_property
    def rows(self) -> np.ndarray:
        """(N,) positions in the source."""
        return self.source.rows_of(self.split)

    def batches(self, title: str, rows: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield positions (B,) in the source and raw samples (B, *shape), without unreadable ones.

        Args:
            title: title of the progress bar.
            rows: positions to read; by default all of the split.

        Raises:
            DataError: no sample can be read.
        """
        positions = self.rows if rows is None else rows
        return stream(self.source, positions, self.encoder.device, title=title, progress=self.progress)

    def grid(self, rows: Sequence[Sequence[np.ndarray]], **titles: Any) -> Image.Image:
        """Draw a grid of samples in the units of the data; titles as in `aekit.visualization.image_grid.draw_grid`."""
        scale = DisplayScale(self.spec, self.encoder.preprocess)
        cells = [[scale.to_display(sample) for sample in row] for row in rows]
        return draw_grid(cells, self.spec, value_range=scale.value_range, **titles)

    def encode(self, raw: Tensor) -> Tensor:
        """Encode (B, *shape) raw samples as (B, D) codes for the decoder."""
        return self.encoder.encode(self.encoder.preprocess(raw)).float()

    def decode(self, code: Tensor) -> Tensor:
        """Decode (B, D) codes to (B, *shape) on the scale of the network."""
        return self.autoencoder.likelihood.activate(self.autoencoder.decoder(code).float())

    def denormalize(self, x: Tensor) -> np.ndarray:
        """Convert (B, *shape) from the scale of the network to the units and dtype of the data."""
        raw = self.encoder.preprocess.inverse(x).cpu().numpy()
        dtype = np.dtype(self.spec.dtype)
        if dtype.kind in "ui":
            limits = np.iinfo(dtype)
            raw = raw.astype(np.float64).round().clip(limits.min, limits.max)
        return raw.astype(dtype)

    def outputs(self, names: Sequence[str], *, image_files: bool = False) -> SampleWriter:
        """Open the writer of the outputs, for samples of these names, read from image files or not. A task has one writer."""
        self.outputs_written = SampleWriter(self.folder, self.spec, names, image_files=image_files)
        return self.outputs_written

    def skipped(self) -> dict[str, str]:
        """Return id -> reason of the samples that were skipped."""
        opened = [self.__dict__[name].skipped for name in ("source", "original_size_source") if name in self.__dict__]
        return {name: reason for skipped in opened for name, reason in skipped.items()}

    def skipped_notes(self) -> list[str]:
        """Return a line on the skipped samples, if there are any."""
        skipped = self.skipped()
        name, reason = next(iter(skipped.items()), ("", ""))
        return [f"{skipped_samples(len(skipped))}, e.g. {name}: {reason}"] if skipped else []
