"""Batch sizes that a user has chosen are refused where main memory cannot hold a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import aekit
from aekit.encoder import inference
from aekit.encoder.inference import HELD, PROBED, Inference
from aekit.errors import OutOfMemoryError

CPU = torch.device("cpu")
MESSAGE = r"^batch_size \(--batch-size\) = 100: {} a batch takes .* are free; expected {} or less; set AEKIT_MEMORY"


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Return a function that sets the memory that is free."""
    monkeypatch.setattr(inference, "FEW_BYTES", 0)
    return lambda free: monkeypatch.setattr(inference, "spendable_memory", lambda: free)


def test_samples_that_cannot_be_read_at_once(limit: Callable[[int | None], None]) -> None:
    data = np.random.default_rng(0).normal(size=(120, 20)).astype(np.float32)
    limit(None)  # not Linux
    encoder = aekit.fit(data, dim=2, epochs=1, overrides={"train.precision": "fp32", "evaluate.evaluators": []})
    limit(250 * 20 * 4)  # two batches of 100 samples and a half, of three that are read ahead
    with pytest.raises(OutOfMemoryError, match=MESSAGE.format("reading", 41)):
        encoder.embed(data, batch_size=100)
    limit(None)
    assert len(encoder.embed(data, batch_size=100).vectors) == 120


def test_activations_that_do_not_fit(limit: Callable[[int | None], None]) -> None:
    network, x = nn.Sequential(nn.Linear(4, 500), nn.ReLU(), nn.Linear(500, 2)).eval(), torch.rand(100, 4)
    per_sample = HELD * 500 * 4
    limit(60 * per_sample)
    with pytest.raises(OutOfMemoryError, match=MESSAGE.format("computing", 30)):
        Inference(network, 100, device=CPU, batch_size=100)(x)
    assert Inference(network, 100, device=CPU, batch_size=60)(x).shape == (100, 2)
    assert Inference(network, 100, device=CPU)(x).shape == (100, 2)  # the batch size was not chosen by the user


def test_few_large_samples_are_computed_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = nn.Sequential(nn.Linear(4, 500), nn.Linear(500, 2)).eval(), torch.rand(20, 4)
    sizes: list[int] = []
    network.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    monkeypatch.setattr(inference, "ACTIVATION_BYTES", 3 * 500 * 4)
    Inference(network, 20, device=CPU)(x)
    assert sizes == [20]
    sizes.clear()
    monkeypatch.setattr(inference, "FEW_BYTES", x.nbytes - 1)
    Inference(network, 20, device=CPU)(x)
    assert sizes == [PROBED, 3, 3, 3, 3, 3, 3, 2]
