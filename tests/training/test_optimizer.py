"""Test that Adam is torch's, and that checkpoints keep it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.objectives.autoencoder import Autoencoder
from aekit.training._fused_adam import FusedAdam
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings


def network() -> nn.Sequential:
    """Build a network in channels-last layout, one of whose layers is in float64."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 4))
    layers.append(nn.Linear(4, 2).double())
    return layers.to(memory_format=torch.channels_last)


def groups(layers: nn.Module) -> list[dict[str, Any]]:
    matrices, vectors = ([p for p in layers.parameters() if (p.ndim > 1) == wide] for wide in (True, False))
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


def losses(layers: nn.Sequential) -> Iterator[torch.Tensor]:
    """Yield the losses of 20 steps, of which every third leaves the last layer without a gradient."""
    for number in range(20):
        x = layers[:-1](torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(number)))
        yield x.square().mean() + (layers[-1](x.double()).square().mean() if number % 3 else 0)


@pytest.mark.parametrize("decoupled", [True, False])
def test_it_updates_bit_for_bit_as_torch_does(decoupled: bool) -> None:
    ours, theirs = network(), network()
    adam = FusedAdam(groups(ours), 1e-2, (0.8, 0.999), decoupled=decoupled)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    reference = kind(groups(theirs), lr=1e-2, betas=(0.8, 0.999), fused=True)
    for loss, expected in zip(losses(ours), losses(theirs)):
        adam.zero_grad()
        reference.zero_grad()
        loss.backward()
        expected.backward()
        adam.step()
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters()))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_channels_last_network_resumes_bit_equal(optimizer: str, tmp_path: Path) -> None:
    """Averages that were read from a file, which is contiguous, were once paired with the wrong weights."""
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    samples = load_samples(ArraySource(images), torch.arange(64).numpy(), torch.device("cpu"))
    settings = Settings(epochs=4, batch_size=32, precision="fp32", optimizer=optimizer, warmup=0)

    def start() -> State:
        values = {"data": {"source": "memory"}, "encoder": {"backbone": "conv"}, "train": settings.model_dump()}
        objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
        assert isinstance(objective, Autoencoder)
        return State.start(objective.to(memory_format=torch.channels_last), settings)

    whole, expected = start(), []
    for record in train(whole, Batches(samples, 32, 0), settings):
        expected.append(record["loss"])
        if whole.step == 4:
            whole.save(tmp_path / "checkpoint")
    resumed = start()
    resumed.restore(tmp_path / "checkpoint")
    assert [record["loss"] for record in train(resumed, Batches(samples, 32, 0), settings)] == expected[4:]
    names = resumed.objective.state_dict()
    assert all(torch.equal(tensor, names[name]) for name, tensor in whole.objective.state_dict().items())
