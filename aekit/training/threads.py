"""Train small networks in no more threads than their work pays for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode

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
    with eval_mode(encoder), FlopCounterMode(display=False) as counter:
        encoder.encode(torch.zeros(1, *encoder.spec.shape, device=encoder.device))
    return float(counter.get_total_flops() * batch_size)
