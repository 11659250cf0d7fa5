"""Check that a resumed run has the recipe and the data that it was started with."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import StringConstraints

from aekit.data.samples import Samples
from aekit.data.source import Source, first_of_blocks
from aekit.data.spec import SpecRecord
from aekit.data.streamed_samples import StreamedSamples
from aekit.errors import OutputError, TrainingError
from aekit.io.atomic import explain_write_errors, holds_only, write_text
from aekit.io.manifest_models import Count, Manifest
from aekit.io.manifests import read_manifest, write_manifest
from aekit.io.remote import refuse_remote
from aekit.registry.overrides import describe_changes
from aekit.training.recipe import Recipe, read_recipe
from aekit.training.run_recipe import portable_recipe, recipe_text
from aekit.training.settings import MACHINE_SETTINGS

MAX_FINGERPRINTS = 64
"""Training samples, evenly spaced, by whose content a resumed run recognizes its data."""


class DataFacts(Manifest):
    """Entries of ``checkpoint/data.json``, as `data_facts` returns them."""

    samples: Count
    spec: SpecRecord
    content: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


def resumes_unfinished(folder: Path, resume: bool) -> bool:
    """Return whether a run continues an unfinished one in its folder.

    Args:
        folder: of the run, without a trained encoder; it may not exist.
        resume: whether the user asks for it.

    Raises:
        OutputError: the folder holds something else, an unfinished run that is not to be resumed, or none that is.
    """
    refuse_remote(folder, "a run")
    if _barely_begun(folder):
        return False
    begun = (folder / "recipe.toml").exists()
    if resume and not begun:
        raise OutputError(f"{folder}: no run to resume; leave out resume=True (--resume) to start one")
    if folder.is_dir() and not resume:
        state = "holds an unfinished run; resume=True (--resume) continues it, or" if begun else "is not empty;"
        raise OutputError(f"{folder}: {state} choose another folder as out (-o)")
    return resume


def _barely_begun(folder: Path) -> bool:
    """Return whether a folder holds only what a run writes before its recipe, so that there is nothing to resume or to lose."""
    checkpoint, skipped = folder / "checkpoint", folder / "skipped.csv"
    if skipped.is_file() and skipped.read_bytes()[:10] != b"id,reason\n":
        return False
    return holds_only(folder, ("skipped.csv", "checkpoint")) and (
        not checkpoint.exists() or holds_only(checkpoint, ("data.json",))
    )


def begin(folder: Path, recipe: Recipe, facts: dict[str, Any], resume: bool) -> None:
    """Write the resolved recipe of a new run into its folder; for a resumed run, check that recipe and data are unchanged.

    Raises:
        TrainingError: they are not.
    """
    path, checkpoint = folder / "recipe.toml", folder / "checkpoint"
    recipe = portable_recipe(recipe, folder)
    if resume:
        check_unfinished_recipe(path, recipe)
        if (checkpoint / "data.json").exists():
            check_same_data(folder, read_manifest(checkpoint / "data.json", DataFacts), facts)
        if (checkpoint / "state.safetensors").exists():
            return
    with explain_write_errors(folder):
        checkpoint.mkdir(exist_ok=True)
        write_manifest(checkpoint / "data.json", facts)
        write_text(path, recipe_text(recipe))


def data_facts(source: Source, samples: Samples) -> dict[str, Any]:
    """Return the facts by which a resumed run recognizes its data."""
    places = np.unique(np.linspace(0, len(samples) - 1, min(MAX_FINGERPRINTS, len(samples))).astype(int))
    if isinstance(samples, StreamedSamples) and source.blocks is not None:
        places = first_of_blocks(samples.starts, MAX_FINGERPRINTS)
    rows = samples.rows[places]
    digest = hashlib.blake2b(digest_size=8)
    for row, content in zip(rows.tolist(), source.fingerprints(rows)):
        digest.update(f"{source.ids[row]}\0{content}\0".encode("utf-8", "surrogateescape"))
    return {"samples": len(samples), "spec": samples.spec.to_dict(), "content": digest.hexdigest()}


def check_unfinished_recipe(path: Path, recipe: Recipe) -> None:
    """Check that an unfinished run, whose recipe is at `path`, was started with the same recipe, as `portable_recipe` returns it.

    Raises:
        TrainingError: it was not.
    """
    changed = describe_changes(read_recipe(path).to_dict(), recipe.to_dict())
    if changed:
        raise TrainingError(f"{path}: cannot resume with other settings: {'; '.join(changed)}")


def check_finished_recipe(folder: Path, recipe: Recipe, set_fields: Collection[str]) -> None:
    """Check that a finished run has the same recipe.

    Args:
        folder: the run.
        recipe: the recipe of this call, resolved.
        set_fields: the settings of ``[train]`` that it sets; another machine may have chosen the others.

    Raises:
        TrainingError: it has not; the message says what to do instead.
    """
    before, now = read_recipe(folder / "recipe.toml").to_dict(), portable_recipe(recipe, folder).to_dict()
    for name in MACHINE_SETTINGS.difference(set_fields):
        now["train"][name] = before["train"].get(name)
    changed = describe_changes(before, now)
    if changed:
        longer = now["train"]["epochs"] > before["train"]["epochs"]
        hint = f"; encoder.weights = {str(folder)!r} starts from its weights" if longer else ""
        raise TrainingError(
            f"{folder}: is finished and cannot resume with other settings: {'; '.join(changed)}; "
            f"choose another folder as out (-o){hint}"
        )


def check_same_data(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that the samples are those that the run was started with.

    Args:
        folder: the run.
        before: what it recorded; facts that it lacks are not compared.
        now: the facts of the data of this call.

    Raises:
        TrainingError: they are not.
    """
    content = {name: before[name] for name in before if name == "content"}
    changed = describe_changes(before, {name: now[name] for name in before} | content)
    if not changed and before.get("content") not in (None, now["content"]):
        changed = ["samples have other values or ids"]
    if changed:
        raise TrainingError(
            f"{folder}: cannot resume, the data has changed: {'; '.join(changed)}; choose another folder as out (-o)"
        )
