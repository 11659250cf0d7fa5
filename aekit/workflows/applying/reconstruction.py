"""Samples through the code and back: how much of them it keeps, beside PCA of the same width, and what it costs."""

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
from aekit.workflows.applying.compression import MAX_COMPARED, Uint8Quantizer, measure_file_sizes, supports_jpeg
from aekit.workflows.applying.context import SHOWN, Context, TaskResult

RANGED = 4096
"""Samples whose codes set the ranges of the 8-bit code."""


@torch.inference_mode()
def reconstruct(
    context: Context,
    *,
    baselines: Annotated[bool, Field(description="PCA of the same width beside it")] = True,
) -> TaskResult:
    """Writes the reconstructions, with their errors and the bytes that their codes take.

    The mean squared error is on the network's scale, where the network and PCA were fitted. PSNR and SSIM are those of the
    values as they are written: rounded, in the data's units and range.
    """
    notes: list[str] = []
    principal = _principal(context, notes) if baselines else None
    eight = Uint8Quantizer.fit(
        context.encode(raw) for _, raw in context.batches("encode", context.rows[:: -(-len(context.rows) // RANGED)])
    )
    kept = _Kept(len(context.rows))
    outputs = context.outputs(_names(context))
    table: dict[str, dict[str, list[float]]] = {}
    names: list[str] = []
    for positions, raw in context.batches("apply"):
        known = [context.source.ids[int(row)] for row in positions]
        x, code = context.encoder.preprocess(raw), context.encode(raw)
        ways = {
            "float32": context.decode(code),
            "float16": context.decode(code.half().float()),
            "8 bit": context.decode(eight.unpack(eight.pack(code))),
        }
        if principal is not None:
            ways["pca"] = principal.reconstruct(x)
        written = {name: context.denormalize(back) for name, back in ways.items()}
        for name, back in ways.items():
            for figure, values in _figures(context, x, raw, back, written[name]).items():
                table.setdefault(name, {}).setdefault(figure, []).extend(values.tolist())
        outputs.add(known, written["float32"])
        names += known
        kept.add(raw.cpu().numpy(), written["float32"], written.get("pca"))
    means = {name: {figure: float(np.mean(values)) for figure, values in own.items()} for name, own in table.items()}
    dim = context.encoder.dim
    rows = [
        {"what": f"code, {name}", "bytes": dim * size, **means[name]}
        for name, size in {"float32": 4, "float16": 2, "8 bit": 1}.items()
    ]
    if principal is not None:
        rows.append({"what": f"pca-{principal.dim}", "bytes": 4 * principal.dim, **means["pca"]})
    rows += _files(context, kept, table["float32"], notes)
    rows.append({"what": "raw", "bytes": context.spec.nbytes})
    samples = [
        {"id": name, **{figure: values[number] for figure, values in table["float32"].items()}}
        for number, name in enumerate(names)
    ]
    image = context.grid(
        [row for row in (kept.given, kept.back, kept.linear) if row],
        row_titles=["sample", "network", *([f"pca-{principal.dim}"] if principal else [])],
        title=f"{dim} numbers a sample: {_said(means)}",
    )
    return TaskResult(image, rows, samples, {"width": dim}, notes)


def _principal(context: Context, notes: list[str]) -> PCA | None:
    """PCA fitted on what the network was fitted on."""
    if context.encoder.dim >= context.spec.size:
        notes.append(
            f"no PCA: a code of {context.encoder.dim} numbers for samples of {context.spec.size} would lose nothing"
        )
        return None
    try:
        samples = training_samples(context.run, context.encoder, progress=context.progress)
    except DataError as error:
        notes.append(f"no PCA: {error}")
        return None
    return fit_pca(samples, context.encoder.preprocess, context.encoder.dim)


def _figures(context: Context, x: Tensor, raw: Tensor, back: Tensor, written: np.ndarray) -> dict[str, Tensor]:
    """(B,) of each figure."""
    found = {"mse": squared_errors(back, x)}
    given, true = torch.from_numpy(written), raw.cpu()
    if context.are_images:
        found["psnr"] = psnr_from_mse(squared_errors(given, true), context.peak)
    if context.spec.is_image:
        found["ssim"] = ssim(given.double(), true.double(), context.peak)
    return found


def _files(context: Context, kept: _Kept, figures: dict[str, list[float]], notes: list[str]) -> list[dict[str, Any]]:
    """JPEG and PNG, where they hold such images."""
    if not supports_jpeg(context.spec):
        if context.are_images:
            notes.append(f"no JPEG or PNG: they hold 8-bit images of one or three channels, not {context.spec}")
        return []
    wanted = float(np.mean([figures["psnr"][place] for place in kept.places]))
    found = measure_file_sizes(np.stack(kept.compared), wanted)
    notes.append(
        f"files: the mean of {len(kept.compared)} images; {found.header:.0f} bytes of a JPEG are its header and tables, "
        "which an image of one color takes too"
    )
    if found.quality is None:
        notes.append(f"JPEG of quality 95 stays below the network's PSNR of {wanted:.1f} dB")
    quality = f"jpeg, quality {95 if found.quality is None else found.quality}"
    return [
        {"what": quality, "bytes": round(found.jpeg), "psnr": found.psnr},
        {"what": "png", "bytes": round(found.png)},
    ]


class _Kept:
    """What is held of the samples that pass by: a few to be shown, and some for the comparison with files."""

    def __init__(self, total: int) -> None:
        self.show = set(np.linspace(0, total - 1, min(total, SHOWN)).astype(int).tolist())
        self.compare = set(np.linspace(0, total - 1, min(total, MAX_COMPARED)).astype(int).tolist())
        self.seen = 0
        self.given: list[np.ndarray] = []
        self.back: list[np.ndarray] = []
        self.linear: list[np.ndarray] = []
        self.compared: list[np.ndarray] = []
        self.places: list[int] = []

    def add(self, raw: np.ndarray, back: np.ndarray, linear: np.ndarray | None) -> None:
        for number in range(len(raw)):
            if self.seen in self.show:
                self.given.append(raw[number])
                self.back.append(back[number])
                self.linear += [] if linear is None else [linear[number]]
            if self.seen in self.compare:
                self.compared.append(raw[number])
                self.places.append(self.seen)
            self.seen += 1


def _names(context: Context) -> list[str]:
    return [context.source.ids[int(row)] for row in context.rows]


def _said(means: dict[str, dict[str, float]]) -> str:
    name, unit = ("psnr", " dB") if "psnr" in means["float32"] else ("mse", "")
    figures = {"network": means["float32"], **({"PCA": means["pca"]} if "pca" in means else {})}
    return f"{name.upper()} " + ", ".join(f"{title} {found[name]:.3g}{unit}" for title, found in figures.items())
