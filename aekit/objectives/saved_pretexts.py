"""Save trained pretext tasks in the folder of their run, and load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aekit.encoder.encoder import Encoder, temporary_seed
from aekit.encoder.identity import check_same_encoder
from aekit.errors import IdentityError, PluginError
from aekit.io.atomic import atomic_folder
from aekit.io.manifest_models import PluginRecord, Sha256, TensorsManifest
from aekit.io.manifests import TensorsFormat, explain_read_errors, read_manifest
from aekit.io.weights import load_weights, save_weights
from aekit.objectives.base import Objective, Pretext, PretextObjective
from aekit.registry.discovery import registry
from aekit.registry.options import validate_options

RECORD = "pretext.json"
FOLDER = "pretexts"
SHOWN = "heads"
"""Folder of tasks without an application, saved only for the run's page."""


class PretextManifest(TensorsManifest):
    """Entries of ``pretext.json``."""

    encoder: Sha256
    plugin: PluginRecord
    options: dict[str, Any]


FORMAT = TensorsFormat("pretext", 2, PretextManifest, RECORD, "weights.safetensors", "fit the run again")


def save_pretexts(objective: Objective, run: str | Path) -> list[Path]:
    """Write each task of an objective that has a `transform` to ``pretexts/NAME``, with the digest of its encoder.

    Returns:
        the folders; empty if no task can be applied.
    """
    return [_save(part, Path(run) / FOLDER) for part in _tasks(objective) if _has_application(part.pretext)]


def save_shown(objective: Objective, run: str | Path) -> list[Path]:
    """Write each task that has something to show but no `transform` to ``heads/NAME``.

    Returns:
        the folders.
    """
    shows = [part for part in _tasks(objective) if type(part.pretext).visualize is not Pretext.visualize]
    return [_save(part, Path(run) / SHOWN) for part in shows if not _has_application(part.pretext)]


def _tasks(objective: Objective) -> list[PretextObjective]:
    return [part for part in objective.modules() if isinstance(part, PretextObjective) and part.plugin]


def _has_application(pretext: Pretext) -> bool:
    return callable(getattr(pretext, "transform", None))


def _save(part: PretextObjective, parent: Path) -> Path:
    assert part.plugin is not None
    folder = parent / part.plugin.name
    with atomic_folder(folder) as half:
        save_weights(part.pretext, half / FORMAT.tensors)
        record = {"plugin": part.plugin.to_dict(), "options": part.options}
        FORMAT.write(half, {"encoder": part.encoder.digest, **record})
    return folder


def load_pretexts(run: str | Path, encoder: Encoder) -> dict[str, Pretext]:
    """Load the tasks of a run, frozen, by their `task` or the name of their plugin.

    Args:
        run: folder of a run.
        encoder: the encoder of that run.

    Raises:
        PluginError: a plugin is missing, or its version does not fit.
        IdentityError: a task belongs to another encoder, or is damaged.
    """
    pretexts: dict[str, Pretext] = {}
    for folder in sorted((Path(run) / FOLDER).glob("*")):
        if (folder / RECORD).is_file():
            name, pretext = folder.name, load_pretext(folder, encoder)
            task = str(getattr(pretext, "task", name))
            pretexts[name if task in pretexts else task] = pretext
    return pretexts


def read_pretext_record(folder: Path) -> dict[str, Any]:
    """Read ``pretext.json`` in the folder of a task.

    Raises:
        IdentityError: it is damaged, or of another format.
    """
    return read_manifest(folder / RECORD, PretextManifest, kind="pretext", version=FORMAT.version)


def load_pretext(folder: Path, encoder: Encoder) -> Pretext:
    """Load one task from its folder; raises as `load_pretexts`."""
    described = FORMAT.read(folder)
    check_same_encoder(described["encoder"], encoder.digest, what=str(folder), maker="the encoder next to it is")
    record = described["plugin"]
    if record["kind"] != "pretext":
        raise IdentityError(f"{folder / RECORD}: is damaged: plugin.kind: {record['kind']!r}; expected 'pretext'")
    plugin = registry().require(record, required_by=str(folder))
    options = validate_options(plugin, described["options"], str(folder))
    try:
        with explain_read_errors(folder), temporary_seed(0):
            pretext: Pretext = plugin.load()(encoder, **options)
        load_weights(pretext, folder / FORMAT.tensors)
    except IdentityError as error:
        if (plugin.distribution, plugin.version) == (record["distribution"], record["version"]):
            raise
        requirement = f"{record['distribution']}=={record['version']}"
        raise PluginError(
            f"{error} (saved with {requirement}, installed is {plugin.version}: pip install {requirement!r})"
        ) from error
    return pretext.to(encoder.device).eval()
