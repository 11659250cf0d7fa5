"""Compute over a whole batch whose samples several processes share.

With N processes, process r has the samples r, r + N, r + 2 N, ... of a batch. The loss that is minimized is the mean of their
losses, weighted by their shares: so losses that are means over samples need nothing from here. A loss that compares samples
calls `gather`, computes the same in all processes, and has its exact gradient. In a single process `gather` does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aekit.io.processes import Ranks


@dataclass(frozen=True)
class Share:
    """The share of this process in a batch.

    Attributes:
        ranks: the processes.
        total: number of samples of the whole batch.
    """

    ranks: Ranks
    total: int

    @property
    def count(self) -> int:
        """Number of samples that this process has."""
        return len(range(self.ranks.rank, self.total, self.ranks.size))

    def axis(self, size: Sequence[int]) -> int | None:
        """Return the axis of the samples: the first as long as the share, or else a multiple of it; None if there is none.

        Where another axis is taken for it, all processes still draw as many numbers.
        """
        alike = [axis for axis, length in enumerate(size) if length == self.count]
        several = [axis for axis, length in enumerate(size) if length and length % max(1, self.count) == 0]
        return next(iter(alike or several), None)

    def whole_size(self, size: Sequence[int], axis: int) -> tuple[int, ...]:
        """Return the size of a tensor for the whole batch."""
        return *size[:axis], size[axis] // max(1, self.count) * self.total, *size[axis + 1 :]

    def own(self, x: Tensor, axis: int) -> Tensor:
        """Return the entries of this process from a tensor for the whole batch."""
        rows = torch.arange(x.shape[axis], device=x.device).view(-1, self.total)
        return x.index_select(axis, rows[:, self.ranks.rank :: self.ranks.size].flatten())


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)


@overload
def gather(x: Tensor, /) -> Tensor: ...
@overload
def gather(*tensors: Tensor) -> tuple[Tensor, ...]: ...
def gather(*tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
    """Return the rows of the whole batch for the rows that this process has, in the order of the batch.

    Gradients flow back to the processes that the rows came from. In a single process the tensors are returned as they are.

    Args:
        tensors: (B, ...) each, a row for each sample of this process, or (K * B, ...), all first rows before all second rows.

    Returns:
        a tensor for each, or the tensor if there is one.
    """
    share = _SHARE.get()
    if share is not None:
        tensors = tuple(_gather(x, share) for x in tensors)
    return tensors[0] if len(tensors) == 1 else tensors


def batch_sum(x: Tensor) -> Tensor:
    """Return the sum of the processes' tensors, which have one shape, with gradients; `x` itself in a single process."""
    share = _SHARE.get()
    return x if share is None else _Sum.apply(x, share.ranks)


def batch_mean(x: Tensor, axes: int | tuple[int, ...] | None = None) -> Tensor:
    """Return the mean over the whole batch, with gradients; that of `x` in a single process.

    Args:
        x: float, with as many entries for each sample in all processes.
        axes: axes to average over, that of the samples among them; None: all.
    """
    if _SHARE.get() is None:
        return x.mean(axes)
    total = x.sum(axes)
    return batch_sum(total) / batch_sum(x.new_tensor(x.numel() / total.numel()))


def batch_size(x: Tensor) -> int:
    """Return the number of samples of the whole batch, of which `x` (B, ...) has those of this process."""
    share = _SHARE.get()
    return len(x) if share is None else share.total


@contextmanager
def first_samples(count: int) -> Iterator[int]:
    """Take the first samples of the whole batch for the batch, within the context.

    Args:
        count: number of these samples.

    Yields:
        the number of those that this process has, which are its first ones.
    """
    share = _SHARE.get()
    if share is None:
        yield count
        return
    part = Share(share.ranks, count)
    before = _SHARE.set(part)
    try:
        yield part.count
    finally:
        _SHARE.reset(before)


def own_rows(x: Tensor) -> Tensor:
    """Return the rows of this process from the rows (B, ...) of the whole batch."""
    share = _SHARE.get()
    return x if share is None else x[share.ranks.rank :: share.ranks.size]


def _gather(x: Tensor, share: Share) -> Tensor:
    copies, odd = divmod(len(x), share.count)
    if odd:
        raise ValueError(f"gather: expected a row for each of {share.count} samples, found {len(x)} rows")
    if copies == 1:
        return _Gather.apply(x, share)
    return _Gather.apply(x.unflatten(0, (copies, -1)).transpose(0, 1), share).transpose(0, 1).flatten(0, 1)


class _Gather(torch.autograd.Function):
    """The rows of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        most = -(-share.total // share.ranks.size)
        padded = x if len(x) == most else torch.cat([x, x.new_zeros(1, *x.shape[1:])])
        return share.ranks.gather(padded).transpose(0, 1).flatten(0, 1)[: share.total]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _OwnRowsOfSum.apply(gradients[0], ctx.share), None


class _OwnRowsOfSum(torch.autograd.Function):
    """The own rows of the sum over all processes: the adjoint of `_Gather`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        exact = x if x.dtype == torch.float64 else x.float()  # the sum of halves needs more digits
        return share.ranks.add(exact).to(x.dtype)[share.ranks.rank :: share.ranks.size]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradients[0], ctx.share), None


class _Sum(torch.autograd.Function):
    """The sum over all processes, which is its own adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.add(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradients[0], ctx.ranks), None


@contextmanager
def sharing(share: Share, seeds: Sequence[int], generator: torch.Generator) -> Iterator[None]:
    """Compute a loss over the share of this process, within the context.

    Random numbers for the samples of the share are those that a single process draws for them: tensors of which a side is as
    long as the share, or a multiple of it, are drawn for the whole batch. Others, of which nothing is known, differ between
    processes.

    Args:
        share: the share.
        seeds: the seed of the numbers that a single process draws, and another one for each process.
        generator: generator that the loss gets.
    """
    whole = torch.Generator(generator.device).manual_seed(seeds[0])
    generator.manual_seed(seeds[1 + share.ranks.rank])
    before = _SHARE.set(share)
    try:
        with _SharedDraws(whole, generator):
            yield
    finally:
        _SHARE.reset(before)


class _SharedDraws(TorchFunctionMode):
    """Draw for the whole batch, and keep the numbers of the own share.

    Args:
        whole: generator whose state is the same in all processes.
        local: generator that the loss draws from.
    """

    def __init__(self, whole: torch.Generator, local: torch.Generator) -> None:
        super().__init__()
        self.whole, self.local = whole, local

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options, share = dict(kwargs or {}), _SHARE.get()
        if options.get("generator") is not self.local or share is None:
            return function(*args, **options)
        if function is torch.randperm and args == (share.total,):  # of rows that were gathered
            return function(*args, **options | {"generator": self.whole})
        if function in _FACTORIES:
            bounds, size = _bounds_and_size(args, options)
            if (axis := share.axis(size)) is not None:
                whole = {"size": share.whole_size(size, axis), "generator": self.whole}
                return share.own(function(*bounds, **options | whole), axis)
        if function in _FILLERS and (axis := share.axis(args[0].shape)) is not None:
            empty = args[0].new_empty(share.whole_size(args[0].shape, axis))
            return args[0].copy_(share.own(function(empty, *args[1:], **options | {"generator": self.whole}), axis))
        return function(*args, **options)


def _bounds_and_size(args: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[tuple[Any, ...], Sequence[int]]:
    """Return the arguments of a factory but for the size: of rand(3, 4), rand((3, 4)) or randint(low, high, (3, 4))."""
    if "size" in options:
        return args, options["size"]
    return ((), args) if isinstance(args[-1], int) else (args[:-1], args[-1])


_FACTORIES = {torch.rand, torch.randn, torch.randint}
_FILLERS = {getattr(Tensor, f"{name}_") for name in ("normal", "uniform", "exponential", "random")}


@contextmanager
def synchronized_norms(module: nn.Module) -> Iterator[None]:
    """Let the batch norms in a module normalize by the statistics of the whole batch, within the context.

    torch has this for GPUs alone (``torch.nn.SyncBatchNorm``).
    """
    norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.forward = partial(_normalize, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _normalize(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    share = _SHARE.get()
    if share is None or not (norm.training or norm.running_mean is None):
        return type(norm).forward(norm, x)
    axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
    with torch.autocast(x.device.type, enabled=False):
        entries = x.float()
        size = entries.new_full((1,), entries.numel() / entries.shape[1])
        *sums, count = _Sum.apply(torch.cat([entries.sum(axes), size]), share.ranks).split([entries.shape[1], 1])
        mean, count = sums[0] / count.detach(), count.detach()
        centered = entries - mean.view(shape)
        variance = _Sum.apply(centered.square().sum(axes), share.ranks) / count
        result = centered * (variance + norm.eps).rsqrt().view(shape)
        if norm.affine:
            result = result * norm.weight.view(shape) + norm.bias.view(shape)
    if norm.training and norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            rate = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, rate)
            norm.running_var.lerp_(variance * count / (count - 1).clamp(min=1), rate)
    return result.to(x.dtype)
