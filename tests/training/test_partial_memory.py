"""A network that is built in parts has the weights that a seed gives it, and never is in memory as a whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aekit.io.processes import Ranks
from aekit.testing.ranks import run_ranks
from aekit.training._partial_memory import PartialMemory


class Alone(Ranks):
    """A process that keeps everything of its own."""

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor.clone()[None]


class Network(nn.Module):
    """Weights that are drawn, changed by a factor, orthogonal, copied, tied, in another layout, and read outside of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(200, 200) for _ in range(8))
        for number, layer in enumerate(self.layers):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            with torch.no_grad():
                layer.weight.div_(number + 1)
        nn.init.orthogonal_(self.layers[1].weight)
        with torch.no_grad():
            self.layers[2].weight[:100].normal_()  # half of what is in memory
            self.layers[3].weight.copy_(self.layers[0].weight)
        self.layers[4].weight = self.layers[5].weight
        self.convolution = nn.Conv2d(64, 64, 5).to(memory_format=torch.channels_last)
        self.register_buffer("read", torch.from_numpy(self.layers[6].weight.detach().numpy() * 2))


def build() -> Network:
    torch.manual_seed(0)
    return Network()


@pytest.mark.parametrize("budget", [0, 2**19])
def test_weights_are_those_of_a_seed(budget: int) -> None:
    expected, memory = build(), PartialMemory(Alone(0, 1, None), budget)
    with memory.building():
        network = build()
    empty = [name for name, weight in network.state_dict().items() if not weight.untyped_storage().nbytes()]
    assert len(empty) >= (7 if budget == 0 else 4) and "read" not in empty
    memory.restore([network.layers[0].weight])
    assert torch.equal(network.layers[0].weight, expected.layers[0].weight)
    memory.restore_all()
    assert network.layers[4].weight is network.layers[5].weight
    for name, weight in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight), name
        assert network.state_dict()[name].stride() == weight.stride(), name


def test_each_process_keeps_its_part() -> None:
    """Threads stand for processes: they draw numbers of their own, so that the parts show whose they are."""

    def keep(ranks: Ranks) -> tuple[Tensor, int]:
        memory: Any = PartialMemory(ranks, 0)
        with memory.building():
            weight = torch.full((301, 77), 1.0 + ranks.rank)
            torch.ones(2**15)  # the last one that was used stays
        size = sum(len(entry.part) for entry in memory._known.values() if entry.part is not None)
        memory.restore([weight])
        return weight, size

    for weight, size in run_ranks(keep, 3):
        assert size == -(-301 * 77 * 4 // 3)
        assert (weight.flatten()[: 301 * 77 // 3] == 1).all() and (weight.flatten()[-301 * 77 // 3 + 2 :] == 3).all()
