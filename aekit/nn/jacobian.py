"""Frobenius norm of the Jacobian J = d code / d sample of an encoder.

The (D, N) matrix of a sample is never built. Functions compute an image of it instead: it is linear in J, and its squares add
up to ||J||^2 exactly or on average, so differences of images are images of differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.encoder.backbone import Backbone
from aekit.encoder.encoder import Encoder

SLOPES: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Sigmoid: lambda h: h * (1 - h),
    nn.Tanh: lambda h: 1 - h.square(),
    nn.ReLU: lambda h: (h > 0).to(h.dtype),
    nn.Identity: torch.ones_like,
}
"""Activation -> its derivative as a function of its value."""


@dataclass(frozen=True)
class SingleLayer:
    """Encoder act(Wx + b), whose Jacobian is diag(act') W."""

    linear: nn.Linear
    act: nn.Module

    def image(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Return the (1, B, D) values act'_j ||W_j||, whose squares add up to ||J||^2 over the units j.

        Args:
            x: (B, *shape) samples.
            code: (B, D), if it is known.
        """
        if code is None:
            code = self.act(F.linear(x.flatten(1), self.linear.weight, self.linear.bias))
        return (SLOPES[type(self.act)](code.float()) * torch.linalg.vector_norm(self.linear.weight, dim=1))[None]


def single_layer(encoder: Encoder) -> SingleLayer | None:
    """Return the encoder's layer if it consists of one linear layer and an activation in `SLOPES`, else None."""
    if type(encoder.backbone).forward is not Backbone.forward:
        return None
    match [*_layers([*encoder.backbone.stages, encoder.head])]:
        case [nn.Linear() as linear] if type(linear) is nn.Linear:
            return SingleLayer(linear, nn.Identity())
        case [nn.Linear() as linear, act] if type(linear) is nn.Linear and type(act) in SLOPES:
            return SingleLayer(linear, act)
    return None


def _layers(modules: Iterable[nn.Module]) -> Iterable[nn.Module]:
    for module in modules:
        if type(module) is nn.Sequential:
            yield from _layers(module)
        elif type(module) not in (nn.Flatten, nn.Identity):
            yield module


def vector_jacobian_products(encode: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor) -> Tensor:
    """Return J'v for each probe v of a sample, by one backward pass per probe; the result is differentiable.

    Args:
        encode: maps (B, *shape) -> (B, D). If it mixes samples, as batch norm does in training, the gradient of a sample comes
            from the codes of all samples.
        x: (B, *shape).
        probes: (K, B, D). Over the D unit vectors the squares of the images add up to ||J||^2, over `random_probes` on average.

    Returns:
        (K, B, *shape).
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        code = encode(x)
        return torch.stack([torch.autograd.grad(code, x, v.to(code.dtype), create_graph=True)[0] for v in probes])


def unit_probes(x: Tensor, dim: int) -> Tensor:
    """Return the (D, B, D) unit vectors of a code of D = `dim` dimensions, for samples x (B, ...)."""
    return torch.eye(dim, device=x.device)[:, None].expand(-1, len(x), -1)


def random_probes(x: Tensor, dim: int, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, B, D) random signs divided by sqrt(count), for samples x (B, ...).

    The squared norms of J'v add up to ||J||^2 on average, with a standard deviation of at most ||J||^2 sqrt(2 / count).

    Hutchinson, A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines, 1989.
    """
    bits = torch.randint(2, (count, len(x), dim), generator=generator, device=x.device)
    return (2.0 * bits - 1) / math.sqrt(count)


def squared_norms(images: Tensor) -> Tensor:
    """Return the (B,) squared Frobenius norms from images (K, B, ...)."""
    return images.float().square().transpose(0, 1).flatten(1).sum(1)


@contextmanager
def freeze_batch_statistics(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Keep forward passes from updating the running statistics of these batch norms."""
    tracking = [norm for norm in norms if norm.track_running_stats]
    for norm in tracking:
        norm.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True  # type: ignore[assignment]
