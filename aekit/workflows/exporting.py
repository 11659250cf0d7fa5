"""Export an encoder to ONNX or torch.export, and check that the exported model gives the same embeddings.

The exported graph takes raw samples and includes the preprocessing. The file is written only if its outputs match those of the
encoder on real samples, for several batch sizes.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit._arguments import checked_arguments
from aekit.data.opening import open_data, reopen
from aekit.data.samples import CHUNK, to_tensor
from aekit.data.source import read_valid
from aekit.encoder.encoder import Encoder
from aekit.encoder.identity import find_encoder_folder, read_description
from aekit.encoder.loading import open_encoder
from aekit.encoder.model_card import model_card
from aekit.encoder.programs import write_program
from aekit.errors import AekitError, DataError, IdentityError, importing
from aekit.evaluation.card_record import read_card_fields
from aekit.io.atomic import atomic_file, write_text
from aekit.io.manifests import write_manifest
from aekit.io.remote import refuse_remote
from aekit.io.remote_urls import is_remote
from aekit.progress_display import ProgressOption, open_progress
from aekit.shared_settings import SharedSetting, standard_output, warning_rules

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest entry of the embeddings."""

SAMPLES = 64
BATCHES = (1, 7, SAMPLES)
FORMATS = {".onnx": "ONNX", ".pt2": "torch.export"}


@checked_arguments
def export_encoder(
    encoder: Encoder | str | Path,
    out: str | Path,
    *,
    data: Any = None,
    options: dict[str, Any] | None = None,
    folder: str | Path | None = None,
    tolerance: float = TOLERANCE,
    progress: ProgressOption = None,
) -> dict[str, Any]:
    """Export an encoder, and compare the exported model with it on real samples before the file is written.

    Args:
        encoder: an encoder, or the path of an encoder, a run, embeddings or an index.
        out: file to write; its suffix selects the format: ``.onnx`` or ``.pt2``.
        data: samples to compare on, as `aekit.open_data` takes them; by default the data that the encoder was trained on.
        options: options of that source, by source name.
        folder: encoder folder whose model card will list the export; by default the one at the path `encoder`.
        tolerance: largest difference, relative to the largest entry of the embeddings.
        progress: shows messages, as in `aekit.fit`.

    Returns:
        a record with ``file``, ``format``, ``digest``, ``samples``, ``difference`` and ``tolerance``.

    Raises:
        DataError: there are no samples to compare on, or the suffix is unknown.
        IdentityError: the exported model gives other embeddings; nothing is written.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp")
        >>> record = aekit.export_encoder(encoder, "model.pt2")
        >>> record["format"], record["difference"] < record["tolerance"]
        ('torch.export', True)
    """
    progress = open_progress(progress)
    refuse_remote(out, "an exported encoder")
    if is_remote(folder if folder is not None else encoder):
        encoder, folder = open_encoder(encoder), None  # nothing is recorded in remote folders
    out = Path(out)
    if out.suffix not in FORMATS:
        raise DataError(f"{out}: suffix {out.suffix or 'missing'!r}; expected one of {', '.join(FORMATS)}")
    if folder is None and isinstance(encoder, (str, Path)):
        folder = find_encoder_folder(encoder)
    encoder = open_encoder(encoder).cpu().eval()
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
        _record_export(Path(folder), record)
    return record


def _real_samples(encoder: Encoder, data: Any, options: dict[str, Any] | None) -> Tensor:
    """Read (N, *shape) raw samples, N at most 64, evenly spaced over the data."""
    origin = encoder.record.get("data", {})
    try:
        if data is None and "source" not in origin:
            raise DataError("the encoder was trained on data in memory")
        source = (
            reopen(origin, like=encoder.spec, near=encoder.folder)
            if data is None
            else open_data(data, options, like=encoder.spec)
        )
    except DataError as error:
        if data is not None:
            raise
        raise DataError(f"no samples to compare the export on; pass some as data (--data): {error}") from None
    batches = []
    for start in range(0, len(source), CHUNK):
        step = max(1, len(source) // SAMPLES)
        rows, ok = read_valid(source, np.arange(start, min(start + CHUNK, len(source)), step))
        batches.append(rows[ok])
        if sum(map(len, batches)) >= SAMPLES:
            break
    usable = np.concatenate(batches)[:SAMPLES]
    if not len(usable):
        raise DataError("no sample to compare the export on can be read")
    return to_tensor(usable)


def _write_onnx(encoder: Encoder, example: Tensor, path: Path, identity: dict[str, str]) -> None:
    with importing("ONNX export needs the packages of the extra 'onnx'", "pip install 'aekit[onnx]'", AekitError):
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
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
    for graph in (program.model.graph, *program.model.functions.values()):
        for node in graph:
            node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)  # names folders of this machine
    program.save(path)


def _read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # its newer versions count uses, and may send them
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda raw: torch.from_numpy(session.run(None, {"raw": raw.numpy()})[0])


def _write_pt2(encoder: Encoder, example: Tensor, path: Path, identity: dict[str, str]) -> None:
    write_program(encoder, example, path, extra_files=identity)


def _read_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(io.BytesIO(path.read_bytes())).module()


def _difference(encoder: Encoder, run: Callable[[Tensor], Tensor], raw: Tensor) -> float:
    with torch.no_grad():
        expected, exported = encoder(raw), run(raw)
    if expected.shape != exported.shape:
        return float("inf")
    return ((expected - exported).abs().max() / expected.abs().max().clamp(min=1e-12)).item()


def _record_export(folder: Path, record: dict[str, Any]) -> None:
    description = read_description(folder)
    others = [export for export in description.get("exports", []) if export["file"] != record["file"]]
    description["exports"] = [*others, record]
    write_manifest(folder / "encoder.json", description)
    write_text(folder / "README.md", model_card(description | read_card_fields(folder, description["digest"])))


@contextlib.contextmanager
def _quiet() -> Any:
    """Silence the warnings and prints of the exporters, which are for their developers."""
    silence = standard_output.changed_to(io.StringIO())
    with warning_rules(("ignore", "", Warning)), silence, _level_of_log.changed_to(logging.ERROR):
        yield


_log = logging.getLogger("torch.onnx")
_level_of_log: SharedSetting[int] = SharedSetting(lambda: _log.level, _log.setLevel)
