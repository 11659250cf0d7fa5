"""Train in several processes: each computes the loss and the gradient of its share of a batch, and all average them.

The result is that of a single process with the same batches, up to rounding: `aekit.nn.gather` says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from aekit.errors import RecipeError, TrainingError
from aekit.io.processes import Ranks, is_part
from aekit.nn.gather import Share, sharing, synchronized_norms
from aekit.objectives.base import Batch, Objective
from aekit.training.batches import Batches, derive_seed
from aekit.training.settings import Settings

BUCKET = 2**23
"""Entries of gradients that are averaged at a time."""


def compute_loss(
    objective: Objective, batch: Batch, generator: torch.Generator, seed: tuple[int, ...], ranks: Ranks | None
) -> dict[str, Tensor]:
    """Return the terms of a loss, with random numbers from a seed.

    Args:
        objective: the objective.
        batch: the samples, or the share of this process in them.
        generator: generator to seed and to draw from.
        seed: numbers to derive the seed from, such as (seed, epoch, step).
        ranks: the processes that share the batch.
    """
    if ranks is None:
        generator.manual_seed(derive_seed(*seed))
        return objective.loss(batch, generator)
    assert batch.total is not None
    seeds = [derive_seed(*seed), *(derive_seed(*seed, 1 + rank) for rank in range(ranks.size))]
    with sharing(Share(ranks, batch.total), seeds, generator):
        return objective.loss(batch, generator)


def backward(
    terms: dict[str, Tensor], batch: Batch, parameters: Sequence[nn.Parameter], ranks: Ranks | None
) -> dict[str, Tensor]:
    """Add the gradient of the loss to the parameters; return the terms.

    With several processes, gradient and terms are the means of all, weighted by their shares.
    """
    if ranks is None:
        terms["loss"].backward()
        return terms
    assert batch.total is not None
    weight = len(batch.raw) / batch.total
    (weight * terms["loss"]).backward()
    scalars = weight * torch.stack([value.detach().float() for value in terms.values()])
    # Gradients of weights that processes share are added up by the backward pass.
    add_in_place([*(p.grad for p in parameters if p.grad is not None and not is_part(p)), scalars], ranks)
    return dict(zip(terms, scalars.unbind()))


def add_in_place(tensors: Sequence[Tensor], ranks: Ranks) -> None:
    """Replace each tensor by its sum over the processes, in few messages."""
    bucket: list[Tensor] = []
    for number, tensor in enumerate(tensors, 1):
        bucket.append(tensor)
        if number < len(tensors) and sum(part.numel() for part in bucket) < BUCKET:
            continue
        total = ranks.add(torch.cat([part.flatten() for part in bucket]))
        for part, summed in zip(bucket, total.split([part.numel() for part in bucket])):
            part.copy_(summed.view_as(part))
        bucket = []


def sharing_norms(objective: Objective, batches: Batches) -> AbstractContextManager[None]:
    """Let batch norms see the whole of a shared batch, within the context."""
    return nullcontext() if batches.ranks is None else synchronized_norms(objective)


def check_shares(batches: Batches, settings: Settings) -> None:
    """Check that several processes can share these batches.

    Raises:
        RecipeError: a batch has fewer samples than there are processes, or the networks would be compiled.
    """
    if batches.ranks is None:
        return
    if batches.batch_size < batches.ranks.size:
        raise RecipeError(
            [
                f"train.batch_size = {batches.batch_size}: expected at least one sample for each of "
                f"{batches.ranks.size} processes; use fewer processes"
            ]
        )
    if settings.compile:
        raise RecipeError(["train.compile = true: works in a single process only; set it to false"])


def check_same_state(objective: Objective, ranks: Ranks | None) -> None:
    """Check that all processes have the same weights and buffers.

    Raises:
        TrainingError: an objective has computed some of them from its share alone.
    """
    if ranks is None:
        return
    state = {name: tensor for name, tensor in objective.state_dict().items() if not is_part(tensor)}
    sums = torch.stack([tensor.detach().double().sum().cpu() for tensor in state.values()])
    everywhere = ranks.gather(sums.nan_to_num())
    for name, column in zip(state, everywhere.T):
        if not (column == column[0]).all():
            raise TrainingError(
                f"{name} differs between the processes: its objective compares samples without aekit.plugin.gather"
            )
