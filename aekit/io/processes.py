"""Communicate between the processes that torchrun has started."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from aekit import errors
from aekit.errors import AekitError, RecipeError, first_line
from aekit.io._rendezvous import meet
from aekit.io.torchrun import MEETING, check_torchrun, started_by_torchrun
from aekit.version import __version__

T = TypeVar("T")
WAIT_SECONDS = 1800.0
"""The longest time in which all processes must have started."""


@dataclass(frozen=True)
class Ranks:
    """Processes that work together. Every method must be called by all of them, in the same order.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes, at least 2.
        group: the processes, as a ``torch.distributed.ProcessGroup``.
        are_threads: whether they are threads of a single process, which share its global state.
    """

    rank: int
    size: int
    group: Any
    are_threads: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def device(self, chosen: torch.device) -> torch.device:
        """Return the GPU of this process where the processes of a machine share its GPUs, else the chosen device."""
        if chosen.type != "cuda" or chosen.index is not None:
            return chosen
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", self.rank)))
        torch.cuda.set_device(device)
        return device

    def add(self, tensor: Tensor) -> Tensor:
        """Return the sum of the processes' tensors, which have one shape."""
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        with _alive():
            self.group.allreduce([total]).wait()
        return total

    def gather(self, tensor: Tensor) -> Tensor:
        """Return (N, *shape) of the processes' tensors (*shape)."""
        sent = _as_bytes(tensor)
        received = sent.new_empty(self.size * sent.numel())
        with _alive():
            self.group._allgather_base(received, sent).wait()
        return received.view(tensor.dtype).view(self.size, *tensor.shape)

    def exchange(self, parts: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
        """Send each process its part, and return what each has sent to this one.

        Args:
            parts: rows (n, *shape) for each process, in one dtype.
            counts: number of rows that each process sends to this one.
        """
        row, shape = parts[0].new_empty(1, *parts[0].shape[1:]), parts[0].shape[1:]
        size = row.numel() * row.element_size()
        sent = torch.cat([_as_bytes(part) for part in parts])
        received = sent.new_empty(sum(counts) * size)
        with _alive():
            self.group.alltoall_base(
                received, sent, [count * size for count in counts], [len(part) * size for part in parts]
            ).wait()
        return [part.view(row.dtype).view(-1, *shape) for part in received.split([count * size for count in counts])]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any of the processes."""
        return bool(self.add(torch.tensor([float(flag)])))

    def gather_values(self, value: Any) -> list[Any]:
        """Return the values of all processes, which JSON can express."""
        text = torch.frombuffer(bytearray(json.dumps(value).encode() + b" "), dtype=torch.uint8)
        sizes = self.gather(torch.tensor([len(text)])).flatten().tolist()
        padded = torch.full((max(sizes),), ord(" "), dtype=torch.uint8)
        padded[: len(text)] = text
        return [json.loads(bytes(row.tolist())) for row in self.gather(padded)]


class LostError(AekitError):
    """Another process has ended."""


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, TimeoutError) as error:
        raise lost(error) from error


def lost(error: Exception) -> LostError:
    """Return what to raise for an error of gloo or NCCL."""
    return LostError(f"another process has ended ({first_line(error)}); resume=True (--resume) continues it")


def _as_bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)


@contextmanager
def agreeing(ranks: Ranks | None) -> Iterator[None]:
    """Raise in all processes what one of them raises within the context, in which they must not talk to each other."""
    if ranks is None:
        yield
        return
    problem: AekitError | None = None
    try:
        yield
    except AekitError as error:
        problem = error
    for told in ranks.gather_values(None if problem is None else [type(problem).__name__, str(problem)]):
        if told:
            kind = getattr(errors, told[0], AekitError)
            raise problem or (RecipeError(told[1].splitlines()) if kind is RecipeError else kind(told[1]))


def decide(ranks: Ranks | None, choose: Callable[[], T]) -> T:
    """Return what the first process chooses, a value that JSON can express; what it raises is raised in all."""
    if ranks is None:
        return choose()
    chosen = None
    with agreeing(ranks):
        chosen = choose() if ranks.is_first else None
    return ranks.gather_values(chosen)[0]


def check_alike(ranks: Ranks | None, facts: Mapping[str, Any]) -> None:
    """Check that facts are the same in all processes; others would exchange tensors that do not fit, which ends or mixes them.

    Args:
        ranks: the processes.
        facts: name -> value that JSON can express.

    Raises:
        RecipeError: they differ, in all processes.
    """
    if ranks is None:
        return
    first, *others = ranks.gather_values(dict(facts))
    for number, other in enumerate(others, 1):
        differing = [name for name in {*first, *other} if repr(first.get(name)) != repr(other.get(name))]
        if differing:
            name, more = min(differing), f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
            raise RecipeError(
                [
                    f"{name}: {first.get(name)!r} in process 0, {other.get(name)!r} in process {number}{more}; "
                    f"start all processes with the same versions, command and data"
                ]
            )


@contextmanager
def joined(settings: Mapping[str, Any] | None = None) -> Iterator[Ranks | None]:
    """Join the processes that torchrun has started with this one; None if it has not.

    Args:
        settings: name -> value, which JSON can express, of what all processes must have alike.

    Raises:
        RecipeError: variables of torchrun are not what it sets, or processes differ in settings or versions.
    """
    check_torchrun()
    if not started_by_torchrun():
        yield None
        return
    import torch.distributed as dist

    with _alive():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        size = int(os.environ["WORLD_SIZE"])
        if file := os.environ.get(MEETING):
            rank = int(os.environ["RANK"])
            dist.init_process_group(backend, init_method=f"file://{file}", rank=rank, world_size=size)
        else:
            # A store for all processes would wait for as many as the first one expects, and not say that others expect more.
            store, rank, _ = next(dist.rendezvous("env://?world_size=1", timeout=timedelta(seconds=WAIT_SECONDS)))
            store_of_start = dist.PrefixStore(meet(store, rank, size, WAIT_SECONDS), store)
            dist.init_process_group(backend, store=store_of_start, rank=rank, world_size=size)
    try:
        ranks = Ranks(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)
        check_alike(ranks, {"version of aekit": __version__, "version of torch": str(torch.__version__)})
        check_alike(ranks, settings or {})
        yield ranks
    finally:
        part()


def part() -> None:
    """End what `joined` has begun, so that this process can go on alone."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def is_part(tensor: Tensor) -> bool:
    """Return whether this process has only a part of a tensor, which several share."""
    return hasattr(tensor, "_local_tensor")


def local_part(tensor: Tensor) -> Tensor:
    """Return what this process has of a tensor, in its memory; the tensor itself, if that is all of it."""
    return getattr(tensor, "_local_tensor", tensor)
