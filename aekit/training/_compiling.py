"""Compile networks with torch.compile while they are trained, without renaming their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from aekit.errors import TrainingError
from aekit.shared_settings import warning_rules


@contextmanager
def compile_networks(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Compile the forward pass of each network in training mode, within the context; eval mode runs it uncompiled.

    Raises:
        TrainingError: they cannot be compiled here, for example without a C++ compiler.
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
        reason = " ".join(str(error).strip().partition("\n\n")[0].split())  # the rest is for torch's developers
        raise TrainingError(f"train.compile = true: cannot compile here: {reason}; set it to false") from None
    finally:
        for network in networks:
            del network.forward


def _compiled(network: nn.Module) -> Callable[..., Any]:
    plain = network.forward
    fast = torch.compile(plain)

    def forward(*inputs: Any) -> Any:
        if not network.training:
            return plain(*inputs)
        # The compiler reads .grad of tensors that have none.
        with warning_rules(("ignore", "The .grad attribute of a Tensor that is not a leaf", Warning)):
            return fast(*inputs)

    return forward
