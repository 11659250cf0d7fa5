"""Reconstruct samples from their codes: errors and bytes, compared with PCA of the same dimension, JPEG and PNG."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import chunk_size
from aekit.data.stream import BATCH, readable_batches
from aekit.errors import DataError
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors
from aekit.evaluation.splits import evenly_spaced
from aekit.nn.pca import PCA, fit_pca
from aekit.objectives.losses import ssim
from aekit.registry.options import Field
from aekit.training.training_data import training_samples
from aekit.workflows.applying._compression import MAX_COMPARED, Uint8Quantizer, measure_file_sizes, supports_jpeg
from aekit.workflows.applying._context import SHOWN, Context, TaskResult
from aekit.workflows.applying._references import image_files
from aekit.workflows.applying._sharing import Applied, Step, applied_to_all, show

RANGE_SAMPLES = 4096
"""Number of samples that set the ranges of the 8-bit code."""


class Reconstruction(Step):
    """Reconstruct samples from their codes, and from the components of PCA.

    Attributes:
        shown, compared: positions of samples that are shown, and of those that are compared with files.
    """

    def __init__(self, context: Context, pca: PCA | None, quantizer: Uint8Quantizer) -> None:
        self.context, self.pca, self.quantizer = context, pca, quantizer
        self.source, self.rows, self.batch = context.source, context.rows, chunk_size(context.spec, BATCH)
        self.shown, self.compared = (set(evenly_spaced(self.rows, n).tolist()) for n in (SHOWN, MAX_COMPARED))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what `from_state` needs."""
        tensors = {"low": self.quantizer.low, "high": self.quantizer.high}
        if self.pca is not None:
            tensors |= {"pca.mean": self.pca.mean, "pca.directions": self.pca.directions}
        return {"explained": self.pca and self.pca.explained}, tensors

    @classmethod
    def from_state(cls, context: Context, tensors: Mapping[str, Tensor], explained: float | None) -> Reconstruction:
        pca = None if explained is None else PCA(tensors["pca.mean"], tensors["pca.directions"], explained)
        return cls(context, pca, Uint8Quantizer(tensors["low"], tensors["high"]))

    def apply(self, positions: np.ndarray) -> Iterator[tuple[int, Applied | None]]:
        for asked, readable, raw in readable_batches(self.source, positions, self.context.encoder.device):
            yield asked, self._reconstruct(readable, raw) if len(readable) else None

    def _reconstruct(self, positions: np.ndarray, raw: Tensor) -> Applied:
        context, quantizer = self.context, self.quantizer
        x, code = context.encoder.preprocess(raw), context.encode(raw)
        decoded = {
            "float32": context.decode(code),
            "float16": context.decode(code.half().float()),
            "8 bit": context.decode(quantizer.unpack(quantizer.pack(code))),
        }
        if self.pca is not None:
            decoded["pca"] = self.pca.reconstruct(x)
        written = {name: context.denormalize(values) for name, values in decoded.items()}
        metrics = {
            name: {
                metric: np.asarray(values)
                for metric, values in _metrics(context, x, raw, output, written[name]).items()
            }
            for name, output in decoded.items()
        }
        outputs, samples = written["float32"], dict[int, dict[str, np.ndarray]]()
        for number, position in enumerate(positions.tolist()):
            if position in self.shown or position in self.compared:
                samples[position] = {"sample": raw[number].cpu().numpy()}
            if position in self.shown:
                samples[position]["network"] = outputs[number]
                samples[position] |= {"pca": written["pca"][number]} if self.pca is not None else {}
        return Applied(positions, outputs, metrics, samples)


@torch.inference_mode()
def reconstruct(
    context: Context,
    *,
    baselines: Annotated[bool, Field(description="compare with PCA of the same dimension")] = True,
) -> TaskResult:
    """Reconstruct samples, and measure their errors and the bytes of their codes.

    The mean squared error is on the scale of the network, on which the network and PCA were fitted. PSNR and SSIM are of the
    written values: rounded, in the units and range of the data.
    """
    notes: list[str] = []
    pca = _fit_pca(context, notes) if baselines else None
    quantizer = Uint8Quantizer.fit(
        context.encode(raw)
        for _, raw in context.batches("encode", context.rows[:: -(-len(context.rows) // RANGE_SAMPLES)])
    )
    step = Reconstruction(context, pca, quantizer)
    outputs = context.outputs(_names(context), image_files=bool(image_files(context.source)))
    kept = _Kept()
    for applied in applied_to_all(context, step, *step.state()):
        ids = [context.source.ids[int(row)] for row in applied.positions]
        kept.add(ids, applied, step.compared)
        outputs.add(ids, np.asarray(applied.outputs))
    if not kept.shown and kept.first is not None:
        kept.shown = [show(step, kept.first)]
    means = kept.means()
    dim = context.encoder.dim
    rows = [
        {"method": f"code, {name}", "bytes": dim * size, **means[name]}
        for name, size in {"float32": 4, "float16": 2, "8 bit": 1}.items()
    ]
    if pca is not None:
        rows.append({"method": f"pca-{pca.dim}", "bytes": 4 * pca.dim, **means["pca"]})
    rows += _file_rows(context, kept.compared, kept.metrics["float32"], notes)
    rows.append({"method": "raw", "bytes": context.spec.nbytes})
    samples = [
        {"id": name, **{metric: values[number] for metric, values in kept.metrics["float32"].items()}}
        for number, name in enumerate(kept.names)
    ]
    titles = {"sample": "sample", "network": "network", **({"pca": f"pca-{pca.dim}"} if pca else {})}
    image = context.grid(
        [[sample[name] for sample in kept.shown] for name in titles],
        row_titles=list(titles.values()),
        title=f"{dim} dimensions per sample: {_image_title(means)}",
    )
    return TaskResult(image, rows, samples, {"dim": dim}, notes)


@dataclass
class _Kept:
    """What is kept of reconstructed samples.

    Attributes:
        names: (N,) ids.
        metrics: method -> metric -> (N,) values.
        shown: samples to show, each with its reconstructions.
        compared: numbers, from 0, of the samples to compare with files, and these samples.
        first: position of the first sample in the source, or None.
    """

    names: list[str] = field(default_factory=list)
    metrics: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    shown: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    compared: list[tuple[int, np.ndarray]] = field(default_factory=list)
    first: int | None = None

    def add(self, ids: list[str], applied: Applied, compared: Container[int]) -> None:
        """Add (B,) reconstructed samples, of which those at positions in `compared` are compared with files."""
        positions = applied.positions.tolist()
        self.first = positions[0] if self.first is None else self.first
        for number, position in enumerate(positions):
            sample = applied.shown.get(position, {})
            self.shown += [sample] if "network" in sample else []
            self.compared += [(len(self.names) + number, sample["sample"])] if position in compared else []
        for method, metrics in applied.metrics.items():
            for metric, values in metrics.items():
                self.metrics.setdefault(method, {}).setdefault(metric, []).extend(values.tolist())
        self.names += ids

    def means(self) -> dict[str, dict[str, float]]:
        """Return method -> metric -> mean."""
        return {
            method: {metric: float(np.mean(values)) for metric, values in metrics.items()}
            for method, metrics in self.metrics.items()
        }


def _fit_pca(context: Context, notes: list[str]) -> PCA | None:
    """Fit PCA on the training data of the network; None and a note if that is not possible."""
    if context.encoder.dim >= context.spec.size:
        notes.append(
            f"no PCA: {context.encoder.dim} dimensions hold samples of {context.spec.size} values without loss"
        )
        return None
    try:
        samples = training_samples(context.run, context.encoder, progress=context.progress)
    except DataError as error:
        notes.append(f"no PCA: {error}")
        return None
    return fit_pca(samples, context.encoder.preprocess, context.encoder.dim)


def _metrics(
    context: Context, x: Tensor, raw: Tensor, reconstruction: Tensor, written: np.ndarray
) -> dict[str, Tensor]:
    """Compute (B,) values of each metric."""
    metrics = {"mse": squared_errors(reconstruction, x)}
    output, clean = torch.from_numpy(written), raw.cpu()
    if context.are_images:
        metrics["psnr"] = psnr_from_mse(squared_errors(output, clean), context.peak)
    if context.spec.is_image:
        metrics["ssim"] = ssim(output.double() - context.black, clean.double() - context.black, context.peak)
    return metrics


def _file_rows(
    context: Context, compared: list[tuple[int, np.ndarray]], metrics: dict[str, list[float]], notes: list[str]
) -> list[dict[str, Any]]:
    """Return the rows of JPEG and PNG, if they support such images; `compared` are numbers of samples, and these samples."""
    if not supports_jpeg(context.spec):
        if context.are_images:
            notes.append(f"no JPEG or PNG: they support 8-bit images of one or three channels, not {context.spec}")
        return []
    if not compared:
        notes.append("no JPEG or PNG: none of the images to compare with them can be read")
        return []
    psnr = float(np.mean([metrics["psnr"][number] for number, _ in compared]))
    sizes = measure_file_sizes(np.stack([sample for _, sample in compared]), psnr)
    notes.append(f"files: mean of {len(compared)} images; {sizes.header:.0f} bytes of a JPEG are its header and tables")
    if sizes.quality is None:
        notes.append(f"JPEG of quality 95 has a lower PSNR than the network ({psnr:.1f} dB)")
    quality = f"jpeg, quality {95 if sizes.quality is None else sizes.quality}"
    return [
        {"method": quality, "bytes": round(sizes.jpeg), "psnr": sizes.psnr},
        {"method": "png", "bytes": round(sizes.png)},
    ]


def _names(context: Context) -> list[str]:
    return [context.source.ids[int(row)] for row in context.rows]


def _image_title(means: dict[str, dict[str, float]]) -> str:
    name, unit = ("psnr", " dB") if "psnr" in means["float32"] else ("mse", "")
    methods = {"network": means["float32"], **({"PCA": means["pca"]} if "pca" in means else {})}
    return f"{name.upper()} " + ", ".join(f"{title} {metrics[name]:.3g}{unit}" for title, metrics in methods.items())
