"""Load what a run has trained: the encoder, the decoder and the pretext tasks."""

from __future__ import annotations

from pathlib import Path

import torch

from aekit.encoder.loading import load
from aekit.objectives.autoencoder import load_autoencoder
from aekit.objectives.base import Objective, PretextObjective, Untrained
from aekit.objectives.saved_pretexts import FOLDER, SHOWN, load_pretext, read_pretext_record
from aekit.objectives.weighted_sum import WeightedSum
from aekit.registry.discovery import registry
from aekit.training.build import make_variants
from aekit.training.recipe import Recipe


def load_objective(folder: Path, recipe: Recipe, device: torch.device) -> Objective:
    """Load the trained objective of a run: the encoder, the decoder and the saved pretext tasks."""
    if not (folder / "decoder" / "decoder.json").is_file():
        encoder, parts = load(folder, device=device), dict[str, Objective]()
        if not recipe.trains:
            return Untrained(encoder).eval()
    else:
        built = make_variants(recipe.objective.variants, recipe.options.get("objective", {}), place="objective")
        variants = {name: variant for name, (variant, _) in built.items()}
        autoencoder = load_autoencoder(folder, device=device, variants=variants)
        encoder, parts = autoencoder.encoder, {"autoencoder": autoencoder}
    for name in recipe.objective.pretexts:
        plugin = registry().get("pretext", name, required_by="objective.pretexts")
        for saved in (folder / FOLDER / plugin.name, folder / SHOWN / plugin.name):
            if (saved / "pretext.json").is_file():
                pretext = load_pretext(saved, encoder)
                options = read_pretext_record(saved)["options"]
                parts[plugin.name] = PretextObjective(encoder, pretext, plugin, options)
    if not parts:
        return Untrained(encoder).eval()
    several = len(recipe.objective.pretexts) + ("autoencoder" in parts) > 1
    whole = WeightedSum(parts, recipe.objective.weights) if several else next(iter(parts.values()))
    whole.set_progress(1.0)
    return whole.to(device).eval()
