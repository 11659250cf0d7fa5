"""torch.compile of networks for as long as they are trained: no weight changes its name, and nothing is left of it after."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from aekit.errors import TrainingError


@contextmanager
def compile_networks(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Compiles the forward pass of each network in training mode; what looks at them in eval mode sees them as they are.

    Raises:
        TrainingError: they cannot be compiled here, for example as there is no C++ compiler.
    """
    if not networks:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    for network in networks:
        network.forward = _compiled(network)
    try:
        yield
    except TorchDynamoException as error:
        said = " ".join(str(error).strip().partition("\n\n")[0].split())  # what follows is for torch's developers
        raise TrainingError(f"train.compile = true: cannot be compiled here: {said}; leave it out") from None
    finally:
        for network in networks:
            del network.forward


def _compiled(network: nn.Module) -> Callable[..., Any]:
    plain = network.forward
    fast = torch.compile(plain)

    def forward(*inputs: Any) -> Any:
        if not network.training:
            return plain(*inputs)
        with warnings.catch_warnings():  # compiling, it looks for gradients where there are none, and is told so
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
            return fast(*inputs)

    return forward
