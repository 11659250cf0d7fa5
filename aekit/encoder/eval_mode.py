"""A look at a network between two steps of its training, which leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; after, each part is in the mode that it was in, as parts that are frozen may differ."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
