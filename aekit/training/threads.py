"""Train small networks in no more threads than their work pays for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.training._operation_watcher import OperationWatcher

FLOPS_PER_THREAD = 8e6
"""Operations of encoding a batch that each thread should have. With fewer, threads wait for each other longer than they save
time, and where other processes are busy, for many times longer; see ``benchmarks/NOTES.md``."""


@contextmanager
def threads_for(encoder: Encoder, batch_size: int) -> Iterator[None]:
    """Limit the threads of torch, within the context, to those that batches of this size keep busy.

    The number depends on the network, the size of a batch and the number of threads outside, never on measured time, so that a
    resumed training repeats the same operations.

    Args:
        encoder: encoder that is trained; on another device than the CPU, nothing is limited.
        batch_size: number of samples of a batch in this process.
    """
    threads = torch.get_num_threads()
    if threads == 1 or encoder.device.type != "cpu":
        yield
        return
    torch.set_num_threads(max(1, min(threads, int(encoding_flops(encoder, batch_size) / FLOPS_PER_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def encoding_flops(encoder: Encoder, batch_size: int) -> float:
    """Count the floating-point operations of matrix products and convolutions that encoding a batch takes.

    The modules' modes and buffers stay as they are: one blank sample is encoded in eval mode.
    """
    with eval_mode(encoder), _FlopCounter() as counter:
        encoder.encode(torch.zeros(1, *encoder.spec.shape, device=encoder.device))
    return float(counter.flops * batch_size)


def _product(args: Sequence[Any], output: Tensor) -> int:
    """Count the operations of a product of matrices, or of batches of matrices, whose second factor is the last argument."""
    return 2 * output.numel() * args[-1].shape[-2]


def _convolution(args: Sequence[Any], output: Tensor) -> int:
    inputs, weight, transposed = args[0], args[1], args[6]
    positions = (inputs if transposed else output).shape[2:]
    return 2 * len(inputs) * math.prod(positions) * weight.numel()


COUNTED: Mapping[Any, Callable[[Sequence[Any], Tensor], int]] = {
    **dict.fromkeys((torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm, torch.ops.aten.baddbmm), _product),
    torch.ops.aten.convolution: _convolution,
}
"""Operation -> the number of its operations on single numbers, as ``torch.utils.flop_counter`` counts them on a CPU, whose
import takes a quarter of a second, as it imports Triton."""


class _FlopCounter(OperationWatcher):
    """Count the floating-point operations within the context, in `flops`."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operation, kwargs = getattr(func, "overloadpacket", None), kwargs or {}
        if operation is not None and operation not in COUNTED:  # it may consist of operations that are
            with self:
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        output = func(*args, **kwargs)
        if operation in COUNTED:
            self.flops += COUNTED[operation](args, output)
        return output
