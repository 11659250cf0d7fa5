"""Train objectives in several processes that share their weights, and say how far they are from a single process.

Each process is started as torchrun starts it, with the cases as JSON on its standard input: a kind, a name and options of a
plugin, and settings of the training. The first one prints a line of JSON for each, with the results of all.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import Samples, load_samples
from aekit.data.shared_samples import load_shared_samples
from aekit.encoder.backbone import Backbone
from aekit.errors import AekitError
from aekit.io.processes import Ranks, is_part, joined, local_part
from aekit.objectives.base import Objective
from aekit.registry.discovery import registry
from aekit.testing.trials import Trial, trials
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.settings import Settings
from aekit.training.sharding import build_objective, explained_sharding, training_precision

CPU = torch.device("cpu")
BATCH, STEPS = 15, 3
"""An odd number, so that the shares differ in size."""
# Plain gradient descent: Adam would make a full step of a gradient that is nothing but a rounding error.
SETTINGS = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-3, "clip": 1.0, "precision": "fp32"}


def started(objective: Objective, samples: Samples, settings: Settings) -> State:
    with training_precision(objective, settings):
        objective.start(samples)
    return State.start(objective, settings)


def trained(state: State, samples: Samples, settings: Settings) -> list[float]:
    """Return the losses of a few steps."""
    return [record["loss"] for record in train(state, Batches(samples, BATCH, settings.seed), settings)]


def compare(trial: Trial, changes: dict[str, Any], ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Train an objective in this process and in all, and return what `tests` look at.

    Returns:
        the largest differences of losses and of weights, the fraction of the matrices that this process has had, the names of
        files that are not equal to the byte, whether the weights have left this process after training, and the number of hooks
        that are left.
    """
    settings = Settings(**SETTINGS | {"epochs": 1, "batch_size": BATCH, "device": "cpu"} | changes)
    recipe = replace(trial.recipe(), train=settings.model_copy(update={"sharding": "full"}))
    single = replace(recipe, train=settings)
    source, rows, spec = trial.source, np.arange(BATCH * STEPS), trial.samples.spec

    def build(whole: bool) -> tuple[Objective, list[Any]]:
        return build_objective(
            single if whole else recipe, spec, trial.preprocess, None if whole else ranks, CPU, print
        )

    samples, shared_samples = load_samples(source, rows, CPU), load_shared_samples(source, rows, CPU, ranks)
    alone = started(build(True)[0], samples, settings)
    alone_losses = trained(alone, samples, settings)

    objective, backbones = build(False)
    matrices = [parameter for parameter in objective.parameters() if is_part(parameter)]
    own = sum(local_part(matrix).numel() for matrix in matrices) / sum(matrix.numel() for matrix in matrices)
    with explained_sharding(recipe):
        state = started(objective, shared_samples, recipe.train)
        losses = trained(state, shared_samples, recipe.train)
        state.save(folder / "shared" if ranks.is_first else None)
        ranks.any(False)  # the first process has written

        read_by_one = started(build(True)[0], samples, settings)
        read_by_one.restore(ranks_folder := first_folder(ranks, folder) / "shared")
        read_by_all = started(build(False)[0], shared_samples, recipe.train)
        read_by_all.restore(ranks_folder)
        read_by_all.save(folder / "again" if ranks.is_first else None)
        read_by_one.save(folder / "whole")
    for backbone in backbones:
        backbone.unshare(ranks)
    names = ["again", "whole"] if ranks.is_first else ["whole"]
    written = (ranks_folder / "state.safetensors").read_bytes()
    return {
        "loss": max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(alone_losses, losses)),
        "weights": farthest(alone.objective.state_dict(), objective.state_dict()) if ranks.is_first else 0.0,
        "own": own,
        "other files": [name for name in names if (folder / name / "state.safetensors").read_bytes() != written],
        "gone": all(has_left(module) for module in objective.modules() if isinstance(module, Backbone)),
        "attributes": [name for module in objective.modules() for name in vars(module) if "fsdp" in name],
        "hooks": sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in objective.modules()),
    }


def first_folder(ranks: Ranks, folder: Path) -> Path:
    """Return the folder of the first process."""
    return Path(ranks.gather_values(str(folder))[0])


def farthest(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> float:
    """Return the largest difference of two states, relative to the largest number of each tensor, or to 1."""
    assert list(expected) == list(actual)
    pairs = [(a.double(), b.double()) for a, b in zip(expected.values(), actual.values()) if a.numel()]
    return max(float((a - b).abs().max()) / max(1.0, float(a.abs().max())) for a, b in pairs)


def has_left(backbone: Backbone) -> bool:
    return all(parameter.is_meta for parameter in backbone.parameters() if parameter.ndim > 1)


def main() -> None:
    torch.set_num_threads(1)
    cases = json.load(sys.stdin)
    with joined() as ranks:
        assert ranks is not None
        for kind, name, options, changes in cases:
            plugin = registry().get(kind, name)
            with tempfile.TemporaryDirectory() as folder:
                trial = trials(plugin, name, options, Path(folder))[0]
                try:
                    result = compare(trial, changes, ranks, Path(folder))
                except AekitError as error:
                    result = {"refused": str(error)}
                results = ranks.gather_values(result)
            if ranks.is_first:
                print(json.dumps([name, *results]), flush=True)


if __name__ == "__main__":
    main()
