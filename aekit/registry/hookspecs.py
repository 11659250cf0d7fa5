"""Hooks that register plugins. They never run anything.

Each returns entries that name their code by an import string, so that listing plugins imports no code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

API_VERSION = 2
"""Version of the plugin contracts. A plugin states the version it was written for as a literal."""

hookspec = pluggy.HookspecMarker("aekit")
hookimpl = pluggy.HookimplMarker("aekit")


@dataclass(frozen=True)
class Entry:
    """Description of a plugin, which does not import it."""

    name: str
    """Name in recipes and commands: lower-case words joined by hyphens."""
    target: str
    """Import string of its code: ``"package.module:attribute"``."""
    summary: str
    """One-line description for lists."""
    api: int
    """Plugin API version that it was written for, as a literal."""
    tags: tuple[str, ...] = ()
    """Kinds of samples for backbones, variants and pretext tasks, and ``early-KIND`` for those that `aekit.tune` tries among the
    first; ``folder`` or file endings for sources; for evaluators ``labels`` if they need labels,
    and ``slow`` if they run only when named."""


@hookspec
def aekit_register_variants() -> Iterable[Entry]:
    """Return variants, which keep an autoencoder from copying its input: subclasses of `aekit.plugin.Variant`."""
    return ()


@hookspec
def aekit_register_pretexts() -> Iterable[Entry]:
    """Return pretext tasks, which supervise themselves: subclasses of `aekit.plugin.Pretext`."""
    return ()


@hookspec
def aekit_register_backbones() -> Iterable[Entry]:
    """Return backbones, networks from samples to features: `build(spec, *, ...) -> aekit.plugin.Backbone`."""
    return ()


@hookspec
def aekit_register_sources() -> Iterable[Entry]:
    """Return sources of samples: `open(where, like, *, ...) -> aekit.plugin.Source`."""
    return ()


@hookspec
def aekit_register_indexes() -> Iterable[Entry]:
    """Return engines of nearest-neighbor search: subclasses of `aekit.plugin.Index`."""
    return ()


@hookspec
def aekit_register_evaluators() -> Iterable[Entry]:
    """Return evaluators of embeddings: `evaluate(embeddings, labels, split, *, ...) -> aekit.plugin.Result`."""
    return ()


@hookspec
def aekit_register_commands() -> Iterable[Entry]:
    """Return additional click commands of the `aekit` command line."""
    return ()
