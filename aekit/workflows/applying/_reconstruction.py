"""Reconstruct samples from their codes: errors and bytes, compared with PCA of the same dimension, JPEG and PNG."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from aekit.errors import DataError
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors
from aekit.nn.pca import PCA, fit_pca
from aekit.objectives.losses import ssim
from aekit.registry.options import Field
from aekit.training.training_data import training_samples
from aekit.workflows.applying._compression import MAX_COMPARED, Uint8Quantizer, measure_file_sizes, supports_jpeg
from aekit.workflows.applying._context import SHOWN, Context, TaskResult
from aekit.workflows.applying._references import image_files

RANGE_SAMPLES = 4096
"""Number of samples that set the ranges of the 8-bit code."""


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
    selection = _Selection(len(context.rows))
    outputs = context.outputs(_names(context), image_files=bool(image_files(context.source)))
    table: dict[str, dict[str, list[float]]] = {}
    names: list[str] = []
    for positions, raw in context.batches("apply"):
        ids = [context.source.ids[int(row)] for row in positions]
        x, code = context.encoder.preprocess(raw), context.encode(raw)
        decoded = {
            "float32": context.decode(code),
            "float16": context.decode(code.half().float()),
            "8 bit": context.decode(quantizer.unpack(quantizer.pack(code))),
        }
        if pca is not None:
            decoded["pca"] = pca.reconstruct(x)
        written = {name: context.denormalize(values) for name, values in decoded.items()}
        for name, reconstruction in decoded.items():
            for metric, values in _metrics(context, x, raw, reconstruction, written[name]).items():
                table.setdefault(name, {}).setdefault(metric, []).extend(values.tolist())
        outputs.add(ids, written["float32"])
        names += ids
        selection.add(raw.cpu().numpy(), written["float32"], written.get("pca"))
    means = {
        name: {metric: float(np.mean(values)) for metric, values in metrics.items()} for name, metrics in table.items()
    }
    dim = context.encoder.dim
    rows = [
        {"method": f"code, {name}", "bytes": dim * size, **means[name]}
        for name, size in {"float32": 4, "float16": 2, "8 bit": 1}.items()
    ]
    if pca is not None:
        rows.append({"method": f"pca-{pca.dim}", "bytes": 4 * pca.dim, **means["pca"]})
    rows += _file_rows(context, selection, table["float32"], notes)
    rows.append({"method": "raw", "bytes": context.spec.nbytes})
    samples = [
        {"id": name, **{metric: values[number] for metric, values in table["float32"].items()}}
        for number, name in enumerate(names)
    ]
    image = context.grid(
        [row for row in (selection.inputs, selection.outputs, selection.pca) if row],
        row_titles=["sample", "network", *([f"pca-{pca.dim}"] if pca else [])],
        title=f"{dim} dimensions per sample: {_image_title(means)}",
    )
    return TaskResult(image, rows, samples, {"dim": dim}, notes)


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
        metrics["ssim"] = ssim(output.double(), clean.double(), context.peak)
    return metrics


def _file_rows(
    context: Context, selection: _Selection, metrics: dict[str, list[float]], notes: list[str]
) -> list[dict[str, Any]]:
    """Return the rows of JPEG and PNG, if they support such images."""
    if not supports_jpeg(context.spec):
        if context.are_images:
            notes.append(f"no JPEG or PNG: they support 8-bit images of one or three channels, not {context.spec}")
        return []
    psnr = float(np.mean([metrics["psnr"][position] for position in selection.positions]))
    sizes = measure_file_sizes(np.stack(selection.compared), psnr)
    notes.append(
        f"files: mean of {len(selection.compared)} images; {sizes.header:.0f} bytes of a JPEG are its header and tables"
    )
    if sizes.quality is None:
        notes.append(f"JPEG of quality 95 has a lower PSNR than the network ({psnr:.1f} dB)")
    quality = f"jpeg, quality {95 if sizes.quality is None else sizes.quality}"
    return [
        {"method": quality, "bytes": round(sizes.jpeg), "psnr": sizes.psnr},
        {"method": "png", "bytes": round(sizes.png)},
    ]


class _Selection:
    """Collect some of the samples: a few to show, and more to compare with files."""

    def __init__(self, total: int) -> None:
        self.show = set(np.linspace(0, total - 1, min(total, SHOWN)).astype(int).tolist())
        self.compare = set(np.linspace(0, total - 1, min(total, MAX_COMPARED)).astype(int).tolist())
        self.count = 0
        self.inputs: list[np.ndarray] = []
        self.outputs: list[np.ndarray] = []
        self.pca: list[np.ndarray] = []
        self.compared: list[np.ndarray] = []
        self.positions: list[int] = []

    def add(self, raw: np.ndarray, output: np.ndarray, pca: np.ndarray | None) -> None:
        for number in range(len(raw)):
            if self.count in self.show:
                self.inputs.append(raw[number])
                self.outputs.append(output[number])
                self.pca += [] if pca is None else [pca[number]]
            if self.count in self.compare:
                self.compared.append(raw[number])
                self.positions.append(self.count)
            self.count += 1


def _names(context: Context) -> list[str]:
    return [context.source.ids[int(row)] for row in context.rows]


def _image_title(means: dict[str, dict[str, float]]) -> str:
    name, unit = ("psnr", " dB") if "psnr" in means["float32"] else ("mse", "")
    methods = {"network": means["float32"], **({"PCA": means["pca"]} if "pca" in means else {})}
    return f"{name.upper()} " + ", ".join(f"{title} {metrics[name]:.3g}{unit}" for title, metrics in methods.items())
