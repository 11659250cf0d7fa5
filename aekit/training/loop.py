"""Train an objective: a generator that yields one record per step; its caller prints, logs, checkpoints and stops.

All randomness is derived from (seed, epoch, step), so an interrupted and resumed run equals an uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from aekit.errors import TrainingError
from aekit.training._compiling import compile_networks
from aekit.training.batches import Batches, derive_seed
from aekit.training.checkpoint import State
from aekit.training.optimizer import learning_rate
from aekit.training.settings import Settings, uses_bf16

FINITE_EVERY = {"cpu": 1, "cuda": 16}
"""Steps between checks of the loss. A check makes the CPU wait for the GPU, so it is rarer there."""


def train(state: State, batches: Batches, settings: Settings) -> Iterator[dict[str, float]]:
    """Train, and yield a record per step: ``step``, ``epoch``, ``lr``, ``loss`` and the terms of the objective.

    `state` includes the step of the last record, and can be saved between records.

    Raises:
        TrainingError: a term of the loss is not finite; the message names the step and the term.
    """
    steps = _train_full_batch if settings.optimizer == "lbfgs" else _train_by_batch
    with compile_networks(state.objective.compilable_networks() if settings.compile else []):
        yield from steps(state, batches, settings)


def _train_by_batch(state: State, batches: Batches, settings: Settings) -> Iterator[dict[str, float]]:
    """Yield a record for each batch."""
    objective, optimizer = state.objective, state.optimizer
    device = objective.encoder.device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(settings, objective.encoder.spec, device))
    generator = torch.Generator(device)
    parameters = list(objective.trained())
    total = settings.epochs * batches.per_epoch
    look = FINITE_EVERY.get(device.type, 1)
    pending: list[tuple[dict[str, float], dict[str, Tensor]]] = []

    objective.train()
    while state.epoch < settings.epochs:
        for batch in batches.epoch(state.epoch, state.step_in_epoch):
            generator.manual_seed(derive_seed(settings.seed, state.epoch, state.step_in_epoch))
            lr = learning_rate(settings, state.step, total)
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)

            objective.set_progress(state.step / total)
            with autocast:
                terms = objective.loss(batch, generator)
            optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward()
            if settings.clip:
                torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
            optimizer.step()
            objective.after_step()

            state.step += 1
            state.step_in_epoch += 1
            if state.step_in_epoch == batches.per_epoch:
                state.epoch, state.step_in_epoch = state.epoch + 1, 0
            pending.append(({"step": state.step, "epoch": (state.step - 1) // batches.per_epoch, "lr": lr}, terms))
            if len(pending) == look or state.step_in_epoch == 0:
                yield from _read(pending)
                pending.clear()


def _train_full_batch(state: State, batches: Batches, settings: Settings) -> Iterator[dict[str, float]]:
    """Yield a record for each epoch, which is up to `LBFGS_ITERATIONS` iterations over all samples.

    Batches only limit how many samples are in memory, unless the objective compares the samples of a batch.
    """
    objective = state.objective
    generator = torch.Generator(objective.encoder.device)
    matrices = [p for p in objective.trained() if p.ndim > 1]
    logged: dict[str, Tensor] = {}

    def evaluate() -> Tensor:
        """Compute the loss and its gradient over all samples."""
        state.optimizer.zero_grad(set_to_none=True)
        logged.clear()
        for batch in batches.all():
            fraction = len(batch.raw) / len(batches.samples)
            terms = objective.loss(batch, generator)
            (fraction * terms["loss"]).backward()
            for name, value in terms.items():
                logged[name] = logged.get(name, torch.zeros(())) + fraction * value.detach()
        decay = settings.weight_decay / 2 * torch.stack([p.square().sum() for p in matrices]).sum()
        decay.backward()
        return logged["loss"] + decay.detach()

    objective.train()
    while state.epoch < settings.epochs:
        objective.set_progress(state.epoch / settings.epochs)
        # The record is of the last point of the line search, which is the accepted one or near it.
        state.optimizer.step(evaluate)  # type: ignore[arg-type]
        objective.after_step()
        state.step, state.epoch = state.step + 1, state.epoch + 1
        head = {"step": state.step, "epoch": state.epoch - 1, "lr": 1.0}
        yield from _read([(head, dict(logged))])


def _read(pending: list[tuple[dict[str, float], dict[str, Tensor]]]) -> Iterator[dict[str, float]]:
    """Copy the terms of several steps from the device at once, and check that they are finite."""
    names = [list(terms) for _, terms in pending]
    values = iter(torch.stack([v.detach().float() for _, terms in pending for v in terms.values()]).tolist())
    records = [head | {name: next(values) for name in terms} for (head, _), terms in zip(pending, names)]
    for record, terms in zip(records, names):
        invalid = [name for name in terms if not math.isfinite(record[name])]
        if invalid:
            term = next((name for name in invalid if name != "loss"), "loss")
            raise TrainingError(
                f"step {record['step']}: {term} is {record[term]}; lower train.lr (now {record['lr']:.3g}) "
                f"or set train.clip"
            )
    yield from records
