"""Samples through the code and back: how much of them it keeps, beside PCA of the same width, and what it costs."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from aekit.applying.compressing import COMPARED, EightBit, as_files, has_files
from aekit.applying.job import SHOWN, Job, Outcome
from aekit.errors import DataError
from aekit.evaluation.fidelity import decibels, squared_errors
from aekit.fitting.trained_on import training_samples
from aekit.mathematics.principal import Principal, fit_principal
from aekit.options import Field
from aekit.reconstruction import ssim

RANGED = 4096
"""Samples whose codes set the ranges of the 8-bit code."""


@torch.inference_mode()
def reconstruct(
    job: Job,
    *,
    controls: Annotated[bool, Field(description="PCA of the same width beside it")] = True,
) -> Outcome:
    """Writes the reconstructions, with their errors and the bytes that their codes take.

    The mean squared error is on the network's scale, where the network and PCA were fitted. PSNR and SSIM are those of the
    values as they are written: rounded, in the data's units and range.
    """
    notes: list[str] = []
    principal = _principal(job, notes) if controls else None
    eight = EightBit.of(job.encode(raw) for _, raw in job.batches("encode", job.rows[:: -(-len(job.rows) // RANGED)]))
    kept = _Kept(len(job.rows))
    outputs = job.outputs(_names(job))
    table: dict[str, dict[str, list[float]]] = {}
    names: list[str] = []
    for positions, raw in job.batches("apply"):
        known = [job.source.ids[int(row)] for row in positions]
        x, code = job.encoder.preprocess(raw), job.encode(raw)
        ways = {
            "float32": job.decode(code),
            "float16": job.decode(code.half().float()),
            "8 bit": job.decode(eight.unpack(eight.pack(code))),
        }
        if principal is not None:
            ways["pca"] = principal.reconstruct(x)
        written = {name: job.in_units(back) for name, back in ways.items()}
        for name, back in ways.items():
            for figure, values in _figures(job, x, raw, back, written[name]).items():
                table.setdefault(name, {}).setdefault(figure, []).extend(values.tolist())
        outputs.add(known, written["float32"])
        names += known
        kept.add(raw.cpu().numpy(), written["float32"], written.get("pca"))
    means = {name: {figure: float(np.mean(values)) for figure, values in own.items()} for name, own in table.items()}
    dim = job.encoder.dim
    rows = [
        {"what": f"code, {name}", "bytes": dim * size, **means[name]}
        for name, size in {"float32": 4, "float16": 2, "8 bit": 1}.items()
    ]
    if principal is not None:
        rows.append({"what": f"pca-{principal.dim}", "bytes": 4 * principal.dim, **means["pca"]})
    rows += _files(job, kept, table["float32"], notes)
    rows.append({"what": "raw", "bytes": job.spec.nbytes})
    samples = [
        {"id": name, **{figure: values[number] for figure, values in table["float32"].items()}}
        for number, name in enumerate(names)
    ]
    picture = job.grid(
        [row for row in (kept.given, kept.back, kept.linear) if row],
        row_titles=["sample", "network", *([f"pca-{principal.dim}"] if principal else [])],
        title=f"{dim} numbers a sample: {_said(means)}",
    )
    return Outcome(picture, rows, samples, {"width": dim}, notes)


def _principal(job: Job, notes: list[str]) -> Principal | None:
    """PCA fitted on what the network was fitted on."""
    if job.encoder.dim >= job.spec.size:
        notes.append(f"no PCA: a code of {job.encoder.dim} numbers for samples of {job.spec.size} would lose nothing")
        return None
    try:
        samples = training_samples(job.run, job.encoder, progress=job.progress)
    except DataError as error:
        notes.append(f"no PCA: {error}")
        return None
    return fit_principal(samples, job.encoder.preprocess, job.encoder.dim)


def _figures(job: Job, x: Tensor, raw: Tensor, back: Tensor, written: np.ndarray) -> dict[str, Tensor]:
    """(B,) of each figure."""
    found = {"mse": squared_errors(back, x)}
    given, true = torch.from_numpy(written), raw.cpu()
    if job.pictures:
        found["psnr"] = decibels(squared_errors(given, true), job.peak)
    if job.spec.kind == "image":
        found["ssim"] = ssim(given.double(), true.double(), job.peak)
    return found


def _files(job: Job, kept: _Kept, figures: dict[str, list[float]], notes: list[str]) -> list[dict[str, Any]]:
    """JPEG and PNG, where they hold such pictures."""
    if not has_files(job.spec):
        if job.pictures:
            notes.append(f"no JPEG or PNG: they hold 8-bit pictures of one or three channels, not {job.spec}")
        return []
    wanted = float(np.mean([figures["psnr"][place] for place in kept.places]))
    found = as_files(np.stack(kept.compared), wanted)
    notes.append(
        f"files: the mean of {len(kept.compared)} pictures; {found.header:.0f} bytes of a JPEG are its header and tables, "
        "which a picture of one colour takes too"
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
        self.compare = set(np.linspace(0, total - 1, min(total, COMPARED)).astype(int).tolist())
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


def _names(job: Job) -> list[str]:
    return [job.source.ids[int(row)] for row in job.rows]


def _said(means: dict[str, dict[str, float]]) -> str:
    name, unit = ("psnr", " dB") if "psnr" in means["float32"] else ("mse", "")
    figures = {"network": means["float32"], **({"PCA": means["pca"]} if "pca" in means else {})}
    return f"{name.upper()} " + ", ".join(f"{title} {found[name]:.3g}{unit}" for title, found in figures.items())
