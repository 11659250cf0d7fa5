"""The hooks by which a package adds to aekit. They register; they never run anything.

Each returns light entries that name their code by an import string, so that listing plugins imports none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

API_VERSION = 2
"""The version of the contracts in this package. A plugin writes the one it was made for as a literal."""

hookspec = pluggy.HookspecMarker("aekit")
hookimpl = pluggy.HookimplMarker("aekit")


@dataclass(frozen=True)
class Entry:
    """One plugin, described without importing it."""

    name: str
    """What recipes and commands call it: lower case, words joined by hyphens."""
    target: str
    """Where its code is: ``"package.module:attribute"``."""
    summary: str
    """One line for lists."""
    api: int
    """The plugin API version that its author wrote it for, as a literal."""
    tags: tuple[str, ...] = ()
    """What it handles: sample kinds for backbones, ``folder`` or file endings for sources, ``labels`` for evaluators
    that need them, ``slow`` for those that run only where they are named."""


@hookspec
def aekit_register_variants() -> Iterable[Entry]:
    """Ways to keep an autoencoder from copying: subclasses of `aekit.objectives.base.Variant`."""
    return ()


@hookspec
def aekit_register_pretexts() -> Iterable[Entry]:
    """Self-made supervision tasks: subclasses of `aekit.objectives.base.Pretext`."""
    return ()


@hookspec
def aekit_register_backbones() -> Iterable[Entry]:
    """Networks from a sample to features: `build(spec, *, ...) -> aekit.encoder.encoder.Backbone`."""
    return ()


@hookspec
def aekit_register_sources() -> Iterable[Entry]:
    """Where samples come from: `open(where, *, ...) -> aekit.data.source.Source`."""
    return ()


@hookspec
def aekit_register_indexes() -> Iterable[Entry]:
    """Structures that find nearest vectors: subclasses of `aekit.index.vector_index.Index`."""
    return ()


@hookspec
def aekit_register_evaluators() -> Iterable[Entry]:
    """Judgments of embeddings: `evaluate(embeddings, labels, split, *, ...) -> aekit.evaluation.results.Result`."""
    return ()


@hookspec
def aekit_register_commands() -> Iterable[Entry]:
    """Further commands of the `aekit` command line: click commands."""
    return ()
