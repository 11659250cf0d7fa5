"""Test that small networks train in few threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import aekit
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.training import loop
from aekit.training.settings import Settings
from aekit.training.threads import FLOPS_PER_THREAD, encoding_flops, threads_for


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def encoder(**options: object) -> Encoder:
    return aekit.fit(np.random.default_rng(0).random((64, 10), dtype=np.float32), epochs=1, dim=3, **options)


def test_the_operations_of_a_dense_network_are_those_of_its_products() -> None:
    trained = encoder()
    weights = [parameter for parameter in trained.parameters() if parameter.ndim == 2]
    assert encoding_flops(trained, 32) == 32 * sum(2 * weight.numel() for weight in weights)


class Attention(nn.Module):
    """Products of batches of matrices, and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(2, 4, 3, stride=2, groups=2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.up(x).mT
        return torch.cat([self.attention(tokens, tokens, tokens)[0], torch.bmm(tokens, tokens.mT)], dim=2).flatten(1)


@pytest.mark.parametrize("backbone", ["conv", Attention()], ids=["conv", "attention"])
def test_operations_are_counted_as_torch_counts_them(backbone: str | nn.Module) -> None:
    series = np.random.default_rng(0).random((8, 2, 16), dtype=np.float32)
    trained = aekit.fit(series, epochs=1, dim=3, backbone=backbone, overrides={"data.arrays.kind": "series"})
    with eval_mode(trained), FlopCounterMode(display=False) as counter:
        trained.encode(torch.zeros(1, *trained.spec.shape))
    assert encoding_flops(trained, 3) == 3 * counter.get_total_flops() > 0


@pytest.mark.parametrize("backbone", ["conv", "resnet"])
def test_counting_changes_nothing(backbone: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 16, 16), dtype=np.uint8)
    trained = aekit.fit(images, epochs=1, dim=3, backbone=backbone)
    trained.train()
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    assert encoding_flops(trained, 128) == 2 * encoding_flops(trained, 64) > 0
    assert all(module.training for module in trained.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


def test_threads_grow_with_the_work_up_to_those_there_are(four_threads: None) -> None:
    trained = encoder()
    sample = encoding_flops(trained, 1)

    def threads(batch_size: int) -> int:
        with threads_for(trained, batch_size):
            return torch.get_num_threads()

    enough = int(FLOPS_PER_THREAD / sample) + 1
    assert [threads(size) for size in (1, 2 * enough, 3 * enough, 100 * enough)] == [1, 2, 3, 4]
    assert torch.get_num_threads() == 4


def test_a_small_network_trains_in_one_thread_and_the_others_come_back(
    four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def rate(settings: Settings, step: int, total: int) -> float:  # asked for in every step
        seen.add(torch.get_num_threads())
        return 1e-3

    monkeypatch.setattr(loop, "learning_rate", rate)
    encoder(batch_size=16)
    assert seen == {1}
    assert torch.get_num_threads() == 4
