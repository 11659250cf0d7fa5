"""Test that training steps run on a GPU, and do not wait for it, where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_cuda import GPU, FakeGenerator, fake_cuda, to_fake_cuda
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException

from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.objectives.base import Batch, Objective
from aekit.objectives.teacher import Teacher
from aekit.registry.discovery import Plugin, registry
from aekit.testing.samples import COLOR, SPECS, low_rank
from aekit.testing.trials import Trial, trials
from aekit.training._fused_adam import FusedAdam
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

TRAINED = [
    plugin for kind in ("variant", "pretext") for plugin in registry().by_kind(kind) if plugin.distribution == "aekit"
]


def transfers_of_a_step(objective: Objective, raw: Tensor) -> list[str]:
    """Take a step on the CPU, which may set up what is kept, then two on the fake GPU; return the transfers of the last."""
    objective.train().set_progress(0.0)
    generator = torch.Generator().manual_seed(0)
    objective.loss(Batch(raw), generator)["loss"].backward()
    for parameter in objective.parameters():
        parameter.grad = None
    with fake_cuda() as (put, transfers):
        to_fake_cuda(objective, put)
        for module in objective.modules():  # a teacher is no part of the state of its task
            if isinstance(teacher := getattr(module, "teacher", None), Teacher):
                to_fake_cuda(teacher.network, put)
        raw, groups = put(raw), [{"params": list(objective.trained()), "weight_decay": 0.1}]
        optimizer = FusedAdam(groups, 1e-3, (0.9, 0.999), decoupled=True)
        for _ in range(2):
            transfers.clear()
            terms = objective.loss(Batch(raw), FakeGenerator())
            assert {name: str(term.device) for name, term in terms.items() if term.device != GPU} == {}
            for parameter in objective.trained():
                parameter.grad = torch.zeros_like(parameter)  # as a backward pass needs a driver
            optimizer.step()
            objective.after_step()
    return transfers


def on_color(trial: Trial) -> Objective | None:
    """Build the objective of a trial for images in color, which have steps of their own; None if it is one already."""
    if trial.spec != SPECS["image"]:
        return None
    return Trial(trial.plugin, trial.name, trial.options, trial.folder, COLOR).objective()


@pytest.mark.parametrize("plugin", TRAINED, ids=lambda plugin: plugin.name)
def test_a_step_stays_on_the_gpu(plugin: Plugin, tmp_path: Path) -> None:
    for trial in trials(plugin, plugin.name, {}, tmp_path):
        assert transfers_of_a_step(trial.objective(), trial.raw(8)) == [], trial.label
        colored = on_color(trial)
        if colored is not None:
            array = low_rank(COLOR, 8)
            assert transfers_of_a_step(colored, torch.from_numpy(array)) == [], "in color"


@pytest.mark.parametrize("loss", ["bce", "mse", "huber", "gaussian", "logistic", "ssim"])
def test_every_reconstruction_loss_stays_on_the_gpu(loss: str) -> None:
    array = low_rank(COLOR, 32)
    samples = load_samples(ArraySource(array), np.arange(32), torch.device("cpu"))
    objective_section = {"variants": ["plain"], "loss": loss}
    values = {"data": {"source": "memory"}, "encoder": {"backbone": "conv"}, "objective": objective_section}
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    objective.start(samples)
    assert transfers_of_a_step(objective, samples.batch(torch.arange(8))) == []


def test_the_average_over_all_samples_reads_its_age_each_step(tmp_path: Path) -> None:
    """It decides on the host, from a number that checkpoints keep, whether to go through the samples again."""
    plugin = registry().get("variant", "sparse-kl")
    [trial, *_] = trials(plugin, "sparse-kl", {"average_over": "all"}, tmp_path)
    with pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
        transfers_of_a_step(trial.objective(), trial.raw(8))


class Misplaced(Objective):
    """An objective with a fault that only a GPU shows."""

    def __init__(self, objective: Objective, fault: str) -> None:
        super().__init__()
        self.whole, self.encoder, self.fault = objective, objective.encoder, fault

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        loss = self.whole.loss(batch, generator)["loss"]
        if self.fault == "mixed":
            loss = loss + (batch.raw.float() + torch.ones(batch.raw.shape)).mean()
        elif self.fault == "copied":
            loss = loss + torch.ones(3).to(loss.device).sum()
        elif self.fault == "read":
            loss = loss * loss.item()
        elif self.fault == "drawn":
            loss = loss + torch.rand(3, generator=generator).sum().to(loss.device)
        return {"loss": loss}


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("mixed", RuntimeError, "two different devices|found at least two devices|cuda:0, cpu"),
        ("read", DataDependentOutputException, "_local_scalar_dense"),
        ("drawn", AssertionError, "draws on cpu from the generator of the GPU"),
    ],
)
def test_faults_are_found(fault: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    [trial, *_] = trials(registry().get("variant", "plain"), "plain", {}, tmp_path)
    with pytest.raises(error, match=message):
        transfers_of_a_step(Misplaced(trial.objective(), fault), trial.raw(8))


def test_copies_of_constants_are_found(tmp_path: Path) -> None:
    [trial, *_] = trials(registry().get("variant", "plain"), "plain", {}, tmp_path)
    assert transfers_of_a_step(Misplaced(trial.objective(), "copied"), trial.raw(8)) == ["cpu to cuda"]
