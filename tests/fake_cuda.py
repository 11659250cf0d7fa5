"""Run training steps on a GPU that is not there: tensors without numbers know their device and refuse to mix with others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from aekit.encoder.encoder import Encoder
from aekit.io.device_constants import forget_constants
from aekit.objectives.base import Objective

GPU = torch.device("cuda", 0)


class FakeGenerator(torch.Generator):
    """A generator that claims to be on the GPU."""

    @property
    def device(self) -> torch.device:
        return GPU


class _Draws(TorchFunctionMode):
    """Check that what the GPU's generator draws is on the GPU, then draw without it."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        generator = kwargs.get("generator", next((a for a in args if isinstance(a, FakeGenerator)), None))
        if isinstance(generator, FakeGenerator) and function is not torch.Generator.device.__get__:  # type: ignore[attr-defined]
            tensor = next((a for a in args if isinstance(a, Tensor)), kwargs.get("out"))
            place = torch.device(kwargs.get("device") or (tensor.device if tensor is not None else "cpu"))
            assert place.type == GPU.type, f"{function.__name__} draws on {place.type} from the generator of the GPU"
            kwargs.pop("generator", None)
            args = [None if isinstance(a, FakeGenerator) else a for a in args]
        return function(*args, **kwargs)


class _Transfers(TorchDispatchMode):
    """Record what moves between host and device, both of which may wait for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [a for a in args if isinstance(a, Tensor)]
        if function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_) and tensors:
            source, target = tensors[-1].device, result.device
            if source.type != target.type:
                self.seen.append(f"{source.type} to {target.type}")
        return result


@contextmanager
def fake_cuda() -> Iterator[tuple[Callable[[Tensor], Tensor], list[str]]]:
    """Yield a function that puts a tensor on the fake GPU, and the list of transfers between host and device since."""
    mode, transfers = FakeTensorMode(), _Transfers()

    def put(tensor: Tensor) -> Tensor:
        fake = tensor if isinstance(tensor, FakeTensor) else mode.from_tensor(tensor)
        with mode:
            return fake.detach().to(GPU)

    def derivative(outputs: Any, inputs: Any, *args: Any, **options: Any) -> tuple[Tensor, ...]:
        """Return derivatives of the right shape on the right device: those of torch need a driver."""
        return tuple(torch.zeros_like(x) for x in ([inputs] if isinstance(inputs, Tensor) else inputs))

    forget_constants()
    with mode, _Draws(), transfers, mock.patch.object(torch.autograd, "grad", derivative):
        yield put, transfers.seen
    forget_constants()


def to_fake_cuda(objective: Objective | Encoder, put: Callable[[Tensor], Tensor]) -> None:
    """Move the parameters and buffers of an objective or an encoder, and tensors in data classes, such as preprocessing."""
    moved: dict[int, nn.Parameter] = {}
    encoder = objective if isinstance(objective, Encoder) else objective.encoder
    for module in {*objective.modules(), *encoder.modules()}:
        for name, parameter in module._parameters.items():
            if parameter is not None and not isinstance(parameter, FakeTensor):
                if id(parameter) not in moved:
                    moved[id(parameter)] = nn.Parameter(put(parameter), parameter.requires_grad)
                module._parameters[name] = moved[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None and not isinstance(buffer, FakeTensor):
                module._buffers[name] = put(buffer)
        for name, value in list(vars(module).items()):
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
                tensors = {
                    n: put(v) for n, v in fields.items() if isinstance(v, Tensor) and not isinstance(v, FakeTensor)
                }
                if tensors:
                    setattr(module, name, dataclasses.replace(value, **tensors))
