"""Check that training depends on parameters, buffers and the generator that is passed in alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

from aekit.objectives.base import Batch, Variant
from aekit.testing.kit import check
from aekit.testing.objectives import SIZES, TRAINING, has_shape, listed, new_generator
from aekit.testing.trials import Trial
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train


@check("variant")
def samples_keep_their_shape(trial: Trial) -> None:
    """augment() and corrupt() return tensors of the shape and dtype of their input, for batches of 1, 2 and 7"""
    objective = trial.objective().train()
    variant = trial.plugin_module(objective)
    assert isinstance(variant, Variant)
    for size in SIZES:
        x = objective.encoder.preprocess(trial.raw(size))
        for name in ("augment", "corrupt"):
            changed = getattr(variant, name)(x, new_generator())
            has_shape(f"the result of {name}()", changed, tuple(x.shape))
            assert changed.dtype == x.dtype, f"{name}() returns {changed.dtype}: expected {x.dtype}"


@check(*TRAINING)
def generator_is_the_one_passed(trial: Trial) -> None:
    """the loss makes no generator of its own, and is the same twice for one state and one seed"""
    objective = trial.objective().train()
    kept = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    losses, passed = [], [new_generator(), new_generator()]
    with _no_new_generators():
        for generator in passed:
            losses.append(objective.loss(Batch(trial.raw(16)), generator)["loss"].item())
            objective.load_state_dict(kept)
    assert losses[0] == losses[1], (
        f"with one generator, the loss is {losses[0]:.6g}, then {losses[1]:.6g}; draw from the generator that is passed in, "
        f"and keep state in buffers"
    )


@check(*TRAINING)
def resumes(trial: Trial) -> None:
    """a run that is resumed from a checkpoint has the same losses, bit for bit: all state is in parameters and buffers"""
    settings = trial.settings(5, epochs=2, batch_size=32)
    batches = Batches(trial.samples, settings.batch_size, 5)
    state, folder = State.start(trial.objective(5), settings), trial.folder / "checkpoint"
    losses = []
    for number, record in enumerate(train(state, batches, settings), 1):
        losses.append(record["loss"])
        if number == 2:
            state.save(folder)
        if number == 4:
            break
    again = State.start(trial.objective(5), settings)
    again.restore(folder)
    resumed = [record["loss"] for _, record in zip(range(2), train(again, batches, settings))]
    assert resumed == losses[2:], (
        f"resumed after 2 steps, the losses are {listed(resumed)}, without a stop {listed(losses[2:])}; "
        f"keep state in buffers (register_buffer)"
    )


@contextmanager
def _no_new_generators() -> Iterator[None]:
    """Raise AssertionError where code makes a generator of its own."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise AssertionError("the loss makes a generator of its own; draw from the generator that is passed in")

    with mock.patch.object(torch, "Generator", refuse), mock.patch.object(np.random, "default_rng", refuse):
        yield
