"""Load encoders from folders."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from aekit._arguments import checked_arguments
from aekit.data.locations import resolved_origin
from aekit.data.spec import SampleSpec
from aekit.encoder._digest import check_values
from aekit.encoder.encoder import Encoder, build_encoder
from aekit.encoder.identity import (
    CHECK_TOLERANCE,
    WEIGHTS,
    EncoderManifest,
    find_encoder_folder,
    read_description,
    version_changes,
)
from aekit.encoder.preprocessing import Preprocess
from aekit.encoder.programs import program_plugin
from aekit.errors import (
    AekitError,
    DataError,
    IdentityError,
    PluginError,
    PluginWarning,
    RecipeError,
    out_of_memory,
    print_traceback,
)
from aekit.io.manifests import check_files, explain_read_errors, path_inside
from aekit.io.weights import load_error, sized_by
from aekit.progress import warn
from aekit.registry.discovery import SESSION, Plugin, registry


@checked_arguments
def load(path: str | Path, *, device: str | torch.device = "cpu") -> Encoder:
    """Load an encoder, and check that it is unchanged since it was saved.

    Args:
        path: folder of an encoder, a run, embeddings or an index.
        device: device to load it onto.

    Returns:
        the encoder, in eval mode.

    Raises:
        DataError: there is no encoder at `path`.
        PluginError: a plugin that it needs is missing, disabled or broken, or its version computes other embeddings.
        IdentityError: the weights are damaged, or do not match ``encoder.json``.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp")
        >>> folder = encoder.save("saved-encoder")
        >>> aekit.load(folder).digest == encoder.digest
        True
    """
    folder = find_encoder_folder(path)
    saved = read_description(folder)
    check_files(folder, saved.get("sha256", {}), "save the encoder again", manifest="encoder.json")
    programs = saved.get("programs", {})
    plugins = [_plugin(record, folder, programs) for record in saved["plugins"]]
    try:
        return _restored(folder, saved, plugins, device)
    except (IdentityError, PluginError):
        kept = [_kept(plugin, record, folder, programs) for plugin, record in zip(plugins, saved["plugins"])]
        if kept == plugins:
            raise
        encoder = _restored(folder, saved, kept, device)
    changed = " and ".join(f"{new.kind} {new.name!r}" for new, old in zip(kept, plugins) if new is not old)
    warn(f"{folder}: {changed} of this session has changed since; what was kept of it is used", PluginWarning)
    return encoder


def _restored(folder: Path, saved: dict[str, Any], plugins: list[Plugin], device: str | torch.device) -> Encoder:
    """Build the encoder that a folder describes with these plugins, and check that it computes what it did; raises as `load`."""
    moved = version_changes(saved["plugins"], plugins)
    spec = SampleSpec.from_dict(saved["spec"])
    try:
        weights = load_file(path_inside(folder, WEIGHTS))
        preprocess = Preprocess.from_dict(saved["preprocess"], spec)
        with sized_by(weights):
            encoder = build_encoder(spec, preprocess, saved["architecture"], seed=0, plugins=plugins)
        encoder.load_state_dict(weights, strict=True)
    except FileNotFoundError:
        raise IdentityError(f"{folder}: weights.safetensors is missing") from None
    except Exception as error:  # damaged bytes, and options that do not fit together, can raise anything
        if isinstance(error, AekitError) and not isinstance(error, (RecipeError, IdentityError)):
            raise
        print_traceback(error)
        if short := out_of_memory(error):
            raise short from None
        raise (PluginError if moved else IdentityError)(
            f"{folder}: weights do not load{moved}: {load_error(error)}"
        ) from error
    encoder.eval()
    if encoder.digest != saved["digest"]:
        raise IdentityError(
            f"{folder}: digest {encoder.digest[:12]}, expected {saved['digest'][:12]}: it has been changed"
        )
    with explain_read_errors(folder):
        values = check_values(encoder, spec, encoder.preprocess)
    same_length = len(values) == len(saved["check"])
    drift = (torch.tensor(values) - torch.tensor(saved["check"])).abs().max().item() if same_length else math.inf
    if not drift <= CHECK_TOLERANCE:
        raise PluginError(f"{folder}: computes other embeddings than when it was saved (off by {drift:.2g}){moved}")
    encoder.record = {key: value for key, value in saved.items() if key not in _OF_THE_ENCODER}
    encoder.folder = folder.absolute()  # the working directory may change
    if "data" in encoder.record:
        encoder.record["data"] = resolved_origin(encoder.record["data"], folder)
    return encoder.to(device)


_OF_THE_ENCODER = {"format", "aekit", "sha256"} | {
    name for name, field in EncoderManifest.model_fields.items() if field.is_required() or name == "programs"
}
"""Entries of ``encoder.json`` that say what the encoder is; the others are the record of its training."""


def _plugin(record: dict[str, str], folder: Path, programs: dict[str, Any]) -> Plugin:
    """Return the plugin that a saved encoder names; for code of another session, the program that is kept of it."""
    same = [p for p in registry().named(record["kind"], record["name"]) if p.to_dict() == record]
    if not same and (kept := _program(record, folder, programs)) is not None:
        return kept
    return registry().require(record, required_by=str(folder))


def _kept(plugin: Plugin, record: dict[str, str], folder: Path, programs: dict[str, Any]) -> Plugin:
    """Return what was kept of a plugin that is registered in this session; other plugins as they are."""
    is_registered = plugin in registry().named(plugin.kind, plugin.name)
    return (is_registered and _program(record, folder, programs)) or plugin


def _program(record: dict[str, str], folder: Path, programs: dict[str, Any]) -> Plugin | None:
    """Return the program that is kept of code of a session; None for other plugins, and if there is none."""
    return program_plugin(record, folder, programs) if record["distribution"] == SESSION else None


def open_encoder(encoder: Encoder | str | Path, *, device: str | torch.device | None = None) -> Encoder:
    """Open an encoder given as an object or a path: the rule for every function that takes an encoder.

    Args:
        encoder: an `Encoder`, or the path of an encoder, a run, embeddings or an index.
        device: device to move it to; None keeps an `Encoder` where it is and loads from a path onto the CPU.

    Raises:
        DataError: another type, or no encoder at the path.
        PluginError, IdentityError: as `load`.
    """
    if isinstance(encoder, (str, Path)):
        return load(encoder, device=device or "cpu")
    if isinstance(encoder, Encoder):
        return encoder if device is None else encoder.to(device)
    expected = "an Encoder or the path of an encoder, a run, embeddings or an index"
    raise DataError(f"encoder of type {type(encoder).__name__}: expected {expected}")
