"""Score samples in this process, or in the workers of an engine, which load the scorer from a folder."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from aekit.analysis._anomaly_baselines import BaselineDetectors
from aekit.analysis._anomaly_detector import Detector
from aekit.analysis._anomaly_maps import HeatMapper, Pixels
from aekit.data.opening import reopen
from aekit.data.samples import Samples, chunk_size
from aekit.data.source import Source
from aekit.data.stream import check_any_usable, readable_batches
from aekit.encoder.encoder import Encoder
from aekit.encoder.engines.engine import Engine, Work
from aekit.encoder.engines.units import Column, MessageError, Result, Setup, array_from_bytes, array_to_bytes
from aekit.encoder.engines.worker import Batch, WorkerBase, serve
from aekit.encoder.loading import load
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.progress import Progress

BATCH = 1024
_SCORE, _PIXELS = "score ", "pixels "


@dataclass
class Scorer:
    """An encoder with everything that scores its samples.

    Attributes:
        encoder: trained encoder.
        autoencoder: the encoder with its decoder, or None.
        detector: fitted to normal samples.
        mapper: of heat maps, or None.
        baselines: or None.
    """

    encoder: Encoder
    autoencoder: Autoencoder | None
    detector: Detector
    mapper: HeatMapper | None = None
    baselines: BaselineDetectors | None = None

    @classmethod
    def fit(
        cls,
        encoder: Encoder,
        autoencoder: Autoencoder | None,
        samples: Samples,
        seed: int,
        *,
        contaminated: bool,
        baselines: bool,
        heat_maps: bool,
        pixel_baselines: bool,
    ) -> Scorer:
        """Fit it to normal samples.

        Args:
            encoder: trained encoder.
            autoencoder: the encoder with its decoder, or None.
            samples: normal samples.
            seed: seed of the isolation forest and the patch memory.
            contaminated: anomalies may be among the samples.
            baselines: fit the baseline detectors too.
            heat_maps: fit what draws heat maps too.
            pixel_baselines: with heat maps, also the baselines of their pixels.
        """
        scorer = cls(encoder, autoencoder, Detector.fit(encoder, autoencoder, samples, contaminated))
        if baselines:
            scorer.baselines = BaselineDetectors(encoder, samples, seed)
        if heat_maps:
            scorer.mapper = HeatMapper.fit(encoder, autoencoder, samples, seed, baselines=pixel_baselines)
        return scorer

    def score(self, positions: np.ndarray, raw: Tensor) -> tuple[dict[str, np.ndarray], Pixels]:
        """Score raw samples (B, *shape) at (B,) positions: name -> (B,), and pixel counts as in `HeatMapper.score`."""
        scores = self.detector.scores(self.encoder, self.autoencoder, raw)
        of_patches, pixels = ({}, Pixels()) if self.mapper is None else self.mapper.score(positions, raw)
        return scores | of_patches | (self.baselines.scores(raw) if self.baselines else {}), pixels

    def save(self, folder: Path) -> dict[str, Any]:
        """Write it into an empty folder; return what `load` needs besides, as plain JSON."""
        self.encoder.copy_to(folder / "encoder")
        if self.autoencoder is not None:
            self.autoencoder.save_decoder(folder / "decoder")
        self.detector.save(folder)
        tensors: dict[str, Tensor] = {}
        settings: dict[str, Any] = {"decodes": self.autoencoder is not None}
        for name, part in (("mapper", self.mapper), ("baselines", self.baselines)):
            settings[name], of_part = (None, {}) if part is None else part.state()
            tensors |= {f"{name}.{key}": tensor.contiguous() for key, tensor in of_part.items()}
        save_file(tensors, folder / "beside.safetensors")
        return settings

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any], device: str) -> Scorer:
        """Load what `save` wrote."""
        autoencoder = load_autoencoder(folder, device=device) if settings["decodes"] else None
        encoder = load(folder, device=device) if autoencoder is None else autoencoder.encoder
        tensors = load_file(folder / "beside.safetensors", device=device)
        mapper, baselines = (
            {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
            for name in ("mapper", "baselines")
        )
        return cls(
            encoder,
            autoencoder,
            Detector.load(folder, encoder),
            settings["mapper"] and HeatMapper.from_state(encoder, autoencoder, settings["mapper"], mapper),
            settings["baselines"] and BaselineDetectors.from_state(encoder, settings["baselines"], baselines),
        )


def score_samples(
    scorer: Scorer, source: Source, rows: np.ndarray, engine: Engine | None, progress: Progress
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Score the samples at (N,) positions, and count their pixels in the scorer's mapper.

    Returns:
        the positions (M,) of the samples that could be read, by descending combined score, and name -> (M,) scores.

    Raises:
        DataError: none can be read.
    """
    batches, parts = [], dict[str, list[np.ndarray]]()
    with progress.task("score", len(rows)) as task:
        scored = (
            _in_this_process(scorer, source, rows) if engine is None else _by(engine, scorer, source, rows, progress)
        )
        with closing(scored):
            for asked, positions, scores, pixels in scored:
                task.advance(asked)
                if len(positions):
                    batches.append(positions)
                    for name, values in scores.items():
                        parts.setdefault(name, []).append(values)
                    if scorer.mapper is not None:
                        scorer.mapper.add_pixels(pixels)
    check_any_usable(source, len(batches), len(rows))
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    order = np.argsort(-joined["combined"], kind="stable")
    return np.concatenate(batches)[order], {name: values[order] for name, values in joined.items()}


Scored = tuple[int, np.ndarray, dict[str, np.ndarray], Pixels]
"""How many samples were to be read, positions of those that could be, their scores, and counts of their pixels."""


def _in_this_process(scorer: Scorer, source: Source, rows: np.ndarray) -> Generator[Scored, None, None]:
    for asked, positions, raw in readable_batches(source, rows, scorer.encoder.device, BATCH):
        yield (asked, positions, *(scorer.score(positions, raw) if len(positions) else ({}, {})))


def _by(
    engine: Engine, scorer: Scorer, source: Source, rows: np.ndarray, progress: Progress
) -> Generator[Scored, None, None]:
    with TemporaryDirectory() as temporary:
        folder, size = Path(temporary), chunk_size(source.spec, BATCH)
        device = scorer.encoder.device
        work = Work("scoring", __name__, source, device, size, folder, lambda: scorer.save(folder), progress)
        with closing(engine.run(work, rows)) as results:
            for unit, result in results:
                yield len(unit), result.positions, _scores_of(result), _pixels_of(result)


def _scores_of(result: Result) -> dict[str, np.ndarray]:
    """Return name -> (M,) scores.

    Raises:
        MessageError: they are not scores.
    """
    columns = {n.removeprefix(_SCORE): column for n, column in result.columns.items() if n.startswith(_SCORE)}
    if len(result.positions) and "combined" not in columns:
        raise MessageError("a worker sent no scores")
    scores: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        if not isinstance(values, np.ndarray) or values.dtype != np.float64 or values.ndim != 1:
            raise MessageError(f"a worker sent invalid scores: {name}")
        scores[name] = values
    return scores


def _pixels_of(result: Result) -> Pixels:
    """Return name of a map -> (M,) counts of pixels, as `count_pixels` returns them, or None.

    Raises:
        MessageError: they are not counts.
    """
    pixels = Pixels()
    for name, column in result.columns.items():
        if name.startswith(_PIXELS):
            counts = [array_from_bytes(value) if len(value) else None for value in column]
            if any(c is not None and (c.dtype != np.float64 or c.ndim != 2 or len(c) != 4) for c in counts):
                raise MessageError(f"a worker sent invalid pixel counts: {name}")
            pixels[name.removeprefix(_PIXELS)] = counts
    return pixels


class Worker(WorkerBase):
    """Score units of samples."""

    def open(self, setup: Setup) -> Source:
        self._scorer = Scorer.load(Path(setup.folder), setup.settings, setup.device)
        return reopen(setup.origin, like=self._scorer.encoder.spec)

    def compute(self, positions: np.ndarray) -> Iterator[Batch]:
        device = self._scorer.encoder.device
        for _, readable, raw in readable_batches(self._source, positions, device, BATCH):
            if len(readable):
                scores, pixels = self._scorer.score(readable, raw)
                columns: dict[str, Column] = {f"{_SCORE}{n}": values.astype(np.float64) for n, values in scores.items()}
                for name, counts in pixels.items():
                    columns[f"{_PIXELS}{name}"] = [b"" if c is None else array_to_bytes(c) for c in counts]
                yield readable, columns


if __name__ == "__main__":
    serve(Worker)
