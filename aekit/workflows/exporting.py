"""Handing the frozen encoder to people who do not have aekit: ONNX or torch.export, behind a parity gate.

The exported graph takes raw samples and has the preprocessing inside. The file gets its name only after it has given, on real
samples and for several batch sizes, what the encoder gives.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit.data.opening import open_data, reopen
from aekit.data.samples import CHUNK, to_tensor
from aekit.data.source import read_valid
from aekit.encoder.encoder import Encoder
from aekit.encoder.model_card import model_card
from aekit.errors import AekitError, DataError, IdentityError
from aekit.evaluation.card_record import read_card_fields
from aekit.io.atomic import atomic_file, read_json, write_json, write_text
from aekit.progress import SILENT, Progress

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the largest embedding entry."""

SAMPLES = 64
BATCHES = (1, 7, SAMPLES)
FORMATS = {".onnx": "ONNX", ".pt2": "torch.export"}


def export_encoder(
    encoder: Encoder,
    out: str | Path,
    *,
    data: Any = None,
    options: dict[str, Any] | None = None,
    folder: str | Path | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Exports an encoder and compares it with itself on real samples before the file gets its name.

    Args:
        encoder: frozen.
        out: file to write; its ending chooses the format: ``.onnx`` or ``.pt2``.
        data: what `aekit.open_data` takes, to compare on; by default the data that the encoder was trained on.
        options: of that source, by source name.
        folder: encoder folder whose model card is to record the export.
        tolerance: largest difference, as a share of the largest entry of the embeddings.

    Returns:
        ``file, format, digest, samples, difference, tolerance``.

    Raises:
        DataError: no samples to compare on, or an unknown ending.
        IdentityError: the exported encoder gives other embeddings; nothing is written.
    """
    out = Path(out)
    if out.suffix not in FORMATS:
        raise DataError(f"{out}: ending {out.suffix or 'missing'!r}; expected one of {', '.join(FORMATS)}")
    encoder = encoder.cpu().eval()
    raw = _real_samples(encoder, data, options)
    identity = {"aekit.digest": encoder.digest, "aekit.spec": json.dumps(encoder.spec.to_dict())}
    with atomic_file(out) as part:
        progress.say(f"exporting to {FORMATS[out.suffix]} and comparing on {len(raw)} samples")
        write, read = (_write_onnx, _read_onnx) if out.suffix == ".onnx" else (_write_pt2, _read_pt2)
        with _quiet():
            write(encoder, raw[:2] if len(raw) > 1 else raw.repeat(2, *[1] * (raw.ndim - 1)), part, identity)
            run = read(part)
        difference = max(_difference(encoder, run, raw[:size]) for size in BATCHES)
        if not difference <= tolerance:
            raise IdentityError(
                f"{out}: not written: the exported encoder differs by {difference:.2g} of the largest entry, "
                f"tolerance {tolerance:.2g}"
            )
    record = {
        "file": out.name,
        "format": FORMATS[out.suffix],
        "digest": encoder.digest,
        "samples": len(raw),
        "difference": difference,
        "tolerance": tolerance,
    }
    if folder is not None:
        _note_in_card(Path(folder), record)
    return record


def _real_samples(encoder: Encoder, data: Any, options: dict[str, Any] | None) -> Tensor:
    """(N, *shape) raw, N at most 64, evenly spaced over the data."""
    origin = encoder.record.get("data", {})
    try:
        if data is None and "source" not in origin:
            raise DataError("the encoder was trained on data in memory")
        source = reopen(origin, like=encoder.spec) if data is None else open_data(data, options, like=encoder.spec)
    except DataError as error:
        if data is not None:
            raise
        raise DataError(f"no samples to compare the export on; give some with --data ({error})") from None
    found = []
    for start in range(0, len(source), CHUNK):
        step = max(1, len(source) // SAMPLES)
        rows, ok = read_valid(source, np.arange(start, min(start + CHUNK, len(source)), step))
        found.append(rows[ok])
        if sum(map(len, found)) >= SAMPLES:
            break
    usable = np.concatenate(found)[:SAMPLES]
    if not len(usable):
        raise DataError("none of the samples to compare the export on can be read")
    return to_tensor(usable)


def _write_onnx(encoder: Encoder, example: Tensor, path: Path, identity: dict[str, str]) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise AekitError("ONNX export needs the packages of the extra 'onnx': pip install 'aekit[onnx]'") from None
    program = torch.onnx.export(
        encoder,
        (example,),
        dynamo=True,
        input_names=["raw"],
        output_names=["embedding"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update(identity)
    program.save(path)


def _read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda raw: torch.from_numpy(session.run(None, {"raw": raw.numpy()})[0])


def _write_pt2(encoder: Encoder, example: Tensor, path: Path, identity: dict[str, str]) -> None:
    program = torch.export.export(encoder, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    program.example_inputs = None  # they would be stored by pickle, and are somebody's data
    stored = io.BytesIO()
    torch.export.save(program, stored, extra_files=identity)
    path.write_bytes(stored.getvalue())


def _read_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(io.BytesIO(path.read_bytes())).module()


def _difference(encoder: Encoder, run: Callable[[Tensor], Tensor], raw: Tensor) -> float:
    with torch.no_grad():
        ours, theirs = encoder(raw), run(raw)
    if ours.shape != theirs.shape:
        return float("inf")
    return ((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-12)).item()


def _note_in_card(folder: Path, record: dict[str, Any]) -> None:
    description = read_json(folder / "encoder.json")
    others = [export for export in description.get("exports", []) if export["file"] != record["file"]]
    description["exports"] = [*others, record]
    write_json(folder / "encoder.json", description)
    write_text(folder / "README.md", model_card(description | read_card_fields(folder, description["digest"])))


@contextlib.contextmanager
def _quiet() -> Any:
    """Exporters talk to their own developers: warnings and prints that say nothing to the person exporting."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
