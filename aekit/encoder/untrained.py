"""Encoders whose backbone is not trained: its features are the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder, build_encoder
from aekit.encoder.preprocessing import Preprocess
from aekit.registry.discovery import Plugin, default_plugin

FEATURES_AS_EMBEDDING: Mapping[str, Any] = {"dim": 0, "normalize": True}
"""Settings by which the features of a backbone that training does not change are the embedding.

They are scaled to length 1: what is unusual makes a vector longer, and distances between long vectors say less of what two
samples have in common (recipes/patches)."""


def untrained_default(spec: SampleSpec) -> Plugin | None:
    """Return the backbone that samples get by default and that is not trained; None if they get one that is."""
    return default_plugin("backbone", f"default-{spec.kind}")


def untrained_encoder(plugin: Plugin, spec: SampleSpec, preprocess: Preprocess, seed: int) -> Encoder:
    """Build the encoder that `aekit.fit` makes of a backbone which is not trained, before its backbone has seen samples.

    Args:
        plugin: the backbone, with its default options.
        spec: spec of the raw samples.
        preprocess: their preprocessing, on the device of the encoder; shared, not copied.
        seed: of what the backbone draws.

    Raises:
        RecipeError: the backbone does not fit the samples.
    """
    architecture = {"backbone": {"name": plugin.name, "options": {}}, "head": None, **FEATURES_AS_EMBEDDING}
    encoder = build_encoder(spec, preprocess, architecture, seed=seed, plugins=[plugin])
    return encoder.to(preprocess.scale.device).eval()
