"""Batches that are computed side by side give what they give one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from aekit.encoder import _side_by_side, inference
from aekit.encoder.inference import Inference

CPU = torch.device("cpu")


class Remembering(nn.Module):
    """Keeps its input on itself while it computes, so that two threads disturb each other."""

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.layer, self.wait = nn.Linear(512, 3), wait

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x
        self.wait()
        return self.layer(self.kept)


class Drawing(nn.Module):
    """Adds noise that it draws."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(len(x), 1)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two threads, and networks of any size that use them."""
    monkeypatch.setattr(inference, "SIDE_BY_SIDE_BYTES", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def samples(count: int = 64) -> Tensor:
    return torch.randn(count, 512, generator=torch.Generator().manual_seed(0))


def test_two_batches_meet_in_copies_of_the_network() -> None:
    """Each forward pass waits for the other, which ends only where two run at a time, and in copies, as both keep their input."""
    network, x = Remembering().eval(), samples()
    with torch.inference_mode():
        expected = network(x)
    threads: set[str] = set()
    both = threading.Barrier(2, timeout=30)

    def meet() -> None:
        name = threading.current_thread().name
        if name.startswith("batch"):  # not while the engine prepares
            threads.add(name)
            assert torch.get_num_threads() == 1 and torch.is_inference_mode_enabled()
            both.wait()

    network.wait = meet
    engine = Inference(network, len(x), device=CPU, batch_size=8)
    assert torch.allclose(engine(x), expected, atol=1e-6)
    assert len(threads) == 2 and torch.get_num_threads() == 2, "the threads are restored"
    assert network.layer.weight is engine._copies._idle[0].layer.weight is engine._copies._idle[1].layer.weight  # type: ignore[union-attr]


@pytest.mark.parametrize("cores", [1, 3])
def test_no_more_batches_at_a_time_than_cores_are_free(cores: int) -> None:
    running, most, lock = 0, 0, threading.Lock()
    meet = threading.Barrier(cores, timeout=30)

    def compute(network: nn.Module, batch: Tensor) -> Tensor:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meet.wait()
        with lock:
            running -= 1
        return batch + 1

    batches = samples(12).split(2)
    copies = _side_by_side.Copies(nn.Identity())
    results = _side_by_side.compute_side_by_side(compute, copies, batches, lambda: cores)
    assert torch.equal(torch.cat(results), samples(12) + 1) and most == cores


def test_many_cores_are_shared_out_among_batches() -> None:
    counts: list[int] = []

    def compute(network: nn.Module, batch: Tensor) -> Tensor:
        counts.append(torch.get_num_threads())
        return batch

    copies = _side_by_side.Copies(nn.Identity())
    with _side_by_side.threads_restored():
        _side_by_side.compute_side_by_side(compute, copies, samples(4).split(2), lambda: 3 * _side_by_side.MAX_BATCHES)
    assert counts == [3, 3]


def test_networks_that_draw_or_are_hooked_compute_one_batch_at_a_time() -> None:
    x = samples()
    drawing = Inference(Drawing().eval(), len(x), device=CPU, batch_size=8)
    drawing(x)
    torch.manual_seed(0)
    first = drawing(x)
    torch.manual_seed(0)
    assert torch.equal(drawing(x), first) and drawing._copies is None
    hooked = nn.Sequential(nn.Linear(512, 3)).eval()
    seen: list[int] = []
    hooked.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    Inference(hooked, len(x), device=CPU, batch_size=24)(x)
    assert seen[-3:] == [24, 24, 16]


def test_an_error_in_a_batch_is_raised_and_the_others_are_not_begun() -> None:
    begun: list[int] = []

    def compute(network: nn.Module, batch: Tensor) -> Tensor:
        begun.append(len(batch))
        raise ValueError("no such batch")

    with _side_by_side.threads_restored(), pytest.raises(ValueError, match="no such batch"):
        _side_by_side.compute_side_by_side(
            compute, _side_by_side.Copies(nn.Identity()), samples(64).split(1), lambda: 1
        )
    assert len(begun) == 1


def test_vectors_do_not_depend_on_the_number_of_threads() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.Flatten()
    ).eval()
    x = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    side_by_side = Inference(network, len(x), device=CPU, batch_size=5)
    vectors = side_by_side(x)
    assert side_by_side._copies is not None and len(side_by_side._copies._idle) > 0
    torch.set_num_threads(1)
    assert torch.equal(Inference(network, len(x), device=CPU, batch_size=5)(x), vectors)
