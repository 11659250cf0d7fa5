"""Convolutions that apply the activation after them compute what both computed, in the layers where they can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from aekit.encoder import _folding
from aekit.encoder._folding import faster_copy, observe
from aekit.encoder._fused_convolutions import can_fuse

pytestmark = pytest.mark.skipif(not can_fuse(), reason="this torch or processor has no such operations")

ACTIVATIONS = [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardtanh(-0.5, 0.3), nn.SiLU(), nn.LeakyReLU(0.2)]


def samples() -> Tensor:
    return torch.randn(6, 4, 9, 9, generator=torch.Generator().manual_seed(0))


def trained(*layers: nn.Module) -> nn.Sequential:
    """Return a network whose batch norms have statistics of their own."""
    network = nn.Sequential(*layers, nn.Flatten())
    with torch.no_grad():
        network.train()(2 * samples() + 1)
    return network.eval()


def fast(network: nn.Module, x: Tensor, batch_size: int = 6) -> nn.Module:
    def run(network: nn.Module) -> Tensor:
        return network(x)

    with torch.inference_mode():
        return faster_copy(network, observe(network, run), run, batch_size)


def overridden(network: nn.Module) -> list[str]:
    """Return the types of the layers whose forward pass is another in the copy."""
    return [type(layer).__name__ for layer in network.modules() if "forward" in layer.__dict__]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda layer: repr(layer))
@pytest.mark.parametrize("with_norm", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"groups": 4, "padding": 1}, {"dilation": 2, "bias": False}]
)
@torch.inference_mode()
def test_activations_are_applied_by_convolutions(activation: nn.Module, with_norm: bool, options: dict) -> None:  # type: ignore[type-arg]
    x = samples()
    norm = [nn.BatchNorm2d(8)] if with_norm else []
    network = trained(nn.Conv2d(4, 8, 3, **options), *norm, activation, nn.Conv2d(8, 4, 1))
    copy = fast(network, x)
    names = overridden(copy)
    assert names == ["Conv2d", *["BatchNorm2d"] * with_norm, type(activation).__name__, "Conv2d"]
    for batch in (x, x[:2], 3 * samples().flip(0)):  # the weight is put in order for 6 samples
        torch.testing.assert_close(copy(batch), network(batch), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(copy[0](x[0]), copy[0](x[:1])[0], rtol=1e-5, atol=1e-5)  # without a batch axis
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(copy(x).float(), network(x).float(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"groups": 4}, {"groups": 4, "dilation": 2}, {"groups": 2, "bias": False}])
@pytest.mark.parametrize("kernel", [2, 3, 5, (5, 2)])
@torch.inference_mode()
def test_convolutions_that_pad_by_size_are_those_of_timm(kernel: Any, stride: int, options: dict[str, Any]) -> None:
    network = trained(Conv2dSame(4, 8, kernel, stride=stride, **options), nn.BatchNorm2d(8), nn.ReLU6())
    x = samples()
    copy = fast(network, x)
    assert overridden(copy) == ["Conv2dSame", "BatchNorm2d", "ReLU6"]
    for batch in (x, x[:2], x[..., :-1], x[:, :, 2:], x[..., :4, :4]):  # other sizes have other zeros around them
        torch.testing.assert_close(copy(batch), network(batch), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(copy(x).float(), network(x).float(), rtol=0.05, atol=0.05)
    alone = trained(Conv2dSame(4, 8, kernel, stride=stride, **options))
    torch.testing.assert_close(fast(alone, x)(x), alone(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("groups", "passes"), [(4, 0), (1, 1)])
@torch.inference_mode()
def test_zeros_are_added_by_the_kernel_of_each_channel_alone(groups: int, passes: int) -> None:
    network = trained(Conv2dSame(4, 4, 3, stride=2, groups=groups), nn.ReLU())
    x = torch.randn(3, 4, 8, 8)
    copy = fast(network, x, 3)
    with Operations() as operations:
        output = copy(x)
    names = operations.names
    assert names.count("pad") == passes and names.count("_convolution_pointwise") == 1
    torch.testing.assert_close(output, network(x), rtol=1e-5, atol=1e-5)


class Operations(TorchDispatchMode):
    """Record the names of operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_activations_are_applied_in_the_precision_of_autocasting(dtype: torch.dtype) -> None:
    network = trained(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU6())
    copy = fast(network, samples())
    computes = dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    for _ in range(2):  # its weight is put in order once
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32), Operations() as operations:
            output = copy(samples())
            assert output.dtype == dtype
            torch.testing.assert_close(output.float(), network(samples()).float(), rtol=0.05, atol=0.05)
    assert operations.names.count("_convolution_pointwise") == computes
    assert "_reorder_convolution_weight" not in operations.names


class NormWithActivation(nn.BatchNorm2d):
    """A batch norm that applies an activation, as those of timm do."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.drop, self.act = nn.Identity(), nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


@torch.inference_mode()
def test_the_activation_within_a_norm_is_applied_too() -> None:
    network = trained(nn.Conv2d(4, 8, 3), NormWithActivation(8), nn.Conv2d(8, 2, 3))
    copy = fast(network, samples())
    assert overridden(copy) == ["Conv2d", "NormWithActivation", "ReLU6", "Conv2d"]
    torch.testing.assert_close(copy(samples()), network(samples()), rtol=1e-5, atol=1e-5)


class ReadsBefore(nn.Module):
    """Uses the output of a convolution beside its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.activation = nn.Conv2d(4, 8, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return (self.activation(x) - x).flatten(1)


class SharesActivation(nn.Module):
    """Applies one activation after a convolution and after a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.activation = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.activation(self.layer(x)) - x).flatten(1)


class OtherConvolution(nn.Conv2d):
    """Pads on one side."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    ("make", "fused"),
    [
        (ReadsBefore, []),  # noticed by its output
        (SharesActivation, ["Conv2d"]),  # without the activation
        (lambda: trained(OtherConvolution(4, 8, 3, stride=2), nn.ReLU()), []),
        (lambda: trained(nn.Conv2d(4, 8, 3, padding="same"), nn.ReLU()), []),
        (lambda: trained(nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), nn.ReLU()), []),
        (lambda: trained(nn.Conv2d(4, 8, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(8)), ["Conv2d", "ReLU"]),
        (lambda: trained(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU()), ["Conv2d"]),
    ],
)
@torch.inference_mode()
def test_what_may_not_be_fused_runs_as_it_is(make: Callable[[], nn.Module], fused: list[str]) -> None:
    network = make().eval()
    copy = fast(network, samples())
    assert overridden(copy) == fused
    torch.testing.assert_close(copy(samples()), network(samples()), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_without_the_operations_norms_are_folded_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = trained(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), samples()
    failing = lambda *arguments: (_ for _ in ()).throw(RuntimeError("no such operation"))  # noqa: E731
    monkeypatch.setattr(_folding, "fuse", failing)
    assert overridden(fast(network, x)) == ["BatchNorm2d"]
    monkeypatch.setattr(_folding, "can_fuse", lambda: False)
    assert overridden(fast(network, x)) == ["BatchNorm2d"]
