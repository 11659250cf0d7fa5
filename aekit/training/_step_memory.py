"""Estimate the memory of a training step on a CPU before the first one: Linux kills a process that takes more than there is.

Two steps of a few samples, on a copy of the objective, show what each operation holds for the network and for each sample.
Small networks are spared them: one blank sample shows that no objective could make them too large.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from aekit.data.samples import Samples
from aekit.data.shared_samples import SharedSamples
from aekit.encoder.encoder import Encoder, temporary_seed
from aekit.encoder.eval_mode import eval_mode
from aekit.errors import AekitWarning, OutOfMemoryError, print_traceback
from aekit.io.memory import VARIABLE, format_bytes, spendable_memory
from aekit.io.processes import agreeing
from aekit.objectives.base import Batch, Objective
from aekit.progress import Progress
from aekit.training._live_bytes import LiveBytes
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.settings import Settings, uses_bf16
from aekit.training.sharding import is_sharded

HEAVIEST = 64
"""More bytes than any objective takes for each byte that encoding a sample takes: a decoder, views, teachers, gradients."""
OPTIMIZER_COPIES = {"adamw": 2, "adam": 2, "sgd": 1, "lbfgs": 44}
"""Optimizer -> numbers that it keeps for each trained weight; lbfgs: 20 pairs and the point, gradient and direction."""
FITS, CERTAIN = 0.8, 1.1
"""Shares of the free memory up to which an estimate fits, and from which it does not: libraries take more for a while, and some
of what a process has freed is used again."""
LIBRARIES = 2**27
"""Bytes that libraries take at the first step besides tensors, as measured; too few to refuse a training for."""
FEWEST = 4
"""Fewest samples of a measured step, where there are as many."""
STEP_OF_SIZES = 8
"""Multiple of pixels that is suggested as a size."""


class MemoryWarning(AekitWarning):
    """A training step that takes nearly all memory, so that the system may end the process."""


@dataclass(frozen=True)
class StepMemory:
    """What a training step holds, by the batch size.

    Attributes:
        fixed: bytes of the optimizer's state.
        moments: (bytes, bytes per sample) that are held at some moment of the step.
    """

    fixed: int
    moments: Sequence[tuple[float, float]]

    def at(self, samples: int) -> int:
        """Return the largest number of bytes that are held at a time."""
        return self.fixed + int(max(base + rate * samples for base, rate in self.moments))

    def most_samples(self, limit: int) -> int:
        """Return the largest batch that takes at most `limit` bytes; 0: none does."""
        free = limit - self.fixed
        if any(base > free for base, _ in self.moments):
            return 0
        return int(min((free - base) / rate for base, rate in self.moments if rate > 0))


def check_step_memory(state: State, batches: Batches, settings: Settings, size: tuple[str, int] | None = None) -> None:
    """Refuse to train where a step takes more memory than there is, before the first step; warn where it nearly does.

    Nothing is changed by it: neither the objective, nor its random draws, nor the order of the samples.

    Args:
        state: before the first step, or as restored.
        batches: to train on; several processes call this alike, and share the memory of the machine.
        settings: how to train.
        size: dotted name and value of the setting for the size of images, if there is one, for the message.

    Raises:
        OutOfMemoryError: a step takes more than `aekit.io.memory.spendable_memory`, or than ``AEKIT_MEMORY`` if that is more.
    """
    if state.objective.encoder.device.type != "cpu" or is_sharded(state.objective):
        return
    with agreeing(batches.ranks):
        free = spendable_memory()
        if free is None:
            return
        free //= batches.ranks.size if batches.ranks else 1
        needs = _needs(state, batches, settings, free)
        if needs is None or needs.at(batches.local_size) <= FITS * free - LIBRARIES:
            return
        message = _message(needs, batches, free, max(1, state.objective.min_batch()), size)
        if settings.compile or needs.at(batches.local_size) <= CERTAIN * free:
            warnings.warn(f"{message}; the system ends the process if it does not fit", MemoryWarning, stacklevel=2)
        else:
            raise OutOfMemoryError(f"{message}; set {VARIABLE}, such as 64GB, to allow more")


def _message(needs: StepMemory, batches: Batches, free: int, least: int, size: tuple[str, int] | None) -> str:
    ranks = batches.ranks.size if batches.ranks else 1
    needed, most = needs.at(batches.local_size), needs.most_samples(int(FITS * free) - LIBRARIES) * ranks
    step = "a training step" if ranks == 1 else f"the share of each of {ranks} processes in a training step"
    fits = [f"train.batch_size = {most} or less"] if most >= least else []
    if size is not None:
        name, now = size
        fixed = needs.at(0)
        share = (FITS * free - LIBRARIES - fixed) / max(1, needed - fixed)  # which grows as the area of an image
        smaller = int(now * math.sqrt(max(0.0, share))) // STEP_OF_SIZES * STEP_OF_SIZES
        fits += [f"{name} = {smaller} or less"] if smaller else []
    advice = " or ".join(fits) or "a smaller network"
    return (
        f"train.batch_size = {batches.batch_size}: {step} takes about {format_bytes(needed)} of memory, and "
        f"{format_bytes(free)} are free; expected {advice}"
    )


def _needs(state: State, batches: Batches, settings: Settings, free: int) -> StepMemory | None:
    """Return what a step takes; None if it fits without doubt, or cannot be measured."""
    objective = state.objective
    weights = sum(p.numel() * p.element_size() for p in objective.trained())
    fixed = 0 if state.optimizer.state else OPTIMIZER_COPIES[settings.optimizer] * weights
    if fixed + weights > CERTAIN * free:
        return StepMemory(fixed, [(weights, 0.0)])
    most = min(batches.batch_size, len(_local(batches.samples)))
    fewest = min(max(FEWEST, objective.min_batch()), max(1, most // 2))
    counts = (fewest, min(2 * fewest, most))
    bf16 = uses_bf16(settings, objective.encoder.spec, objective.encoder.device) and not state.in_fp32
    try:
        heaviest = HEAVIEST * _encoding_bytes(objective.encoder) * batches.local_size
        if fixed + 4 * weights + heaviest <= FITS * free - LIBRARIES:
            return None
        traces = [_trace(_copy(objective), batches, count, bf16, weights) for count in counts]
    except Exception as error:  # objectives are code of others: what cannot be copied or takes no batch so small
        print_traceback(error)
        return None
    return StepMemory(fixed, _moments(traces, counts, weights))


def _moments(traces: Sequence[list[int]], counts: tuple[int, int], weights: int) -> list[tuple[float, float]]:
    """Return what is held at each moment, for the network and for each sample, from two steps of so many samples.

    Where they do other operations, as samples are drawn for an augmentation, all but the gradients is taken for the samples'.
    """
    (few, more), difference = traces, counts[1] - counts[0]
    if len(few) != len(more) or not difference:
        return [(weights, (max(more) - weights) / counts[1])]
    rates = [max(0.0, (b - a) / difference) for a, b in zip(few, more)]
    return [(a - rate * counts[0], rate) for a, rate in zip(few, rates)]


def _copy(objective: Objective) -> Objective:
    """Return a copy whose steps leave the objective as it is; data and displays, which it may keep, are not copied."""
    kept = [value for module in objective.modules() for value in vars(module).values()]
    return deepcopy(objective, {id(value): value for value in kept if isinstance(value, (Samples, Progress))})


def _encoding_bytes(encoder: Encoder) -> int:
    """Return the bytes of all results of encoding one blank sample."""
    with eval_mode(encoder), torch.no_grad(), LiveBytes() as live:
        encoder.encode(torch.zeros(1, *encoder.spec.shape, device=encoder.device))
    return live.total


def _trace(objective: Objective, batches: Batches, count: int, bf16: bool, weights: int) -> list[int]:
    """Return the bytes that a step of the first samples holds after each operation, the gradients of the step before included."""
    positions = torch.arange(count)
    batch = _batch(batches, positions)
    samples_bytes = sum(
        tensor.numel() * tensor.element_size() for tensor in (batch.raw, batch.target) if tensor is not None
    )
    generator = torch.Generator().manual_seed(0)
    objective.train()
    parameters = list(objective.trained())
    with temporary_seed(0), LiveBytes() as live:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = objective.loss(batch, generator)["loss"]
        forward = len(live.after)
        torch.autograd.grad(loss, parameters, allow_unused=True)
    return [samples_bytes + bytes_ + (weights if number < forward else 0) for number, bytes_ in enumerate(live.after)]


def _batch(batches: Batches, positions: Tensor) -> Batch:
    """Return samples of this process, without a word to others."""
    raw = _local(batches.samples).batch(positions)
    target = None if batches.targets is None else _local(batches.targets).batch(positions)
    labels = None if batches.labels is None else batches.labels[positions]
    return Batch(raw, labels, target, batches.is_features, positions=positions)


def _local(samples: Samples) -> Samples:
    return samples.local if isinstance(samples, SharedSamples) else samples
