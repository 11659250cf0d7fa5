"""Train an objective: a generator that yields one record per step; its caller prints, logs, checkpoints and stops.

All randomness is derived from (seed, epoch, step), so an interrupted and resumed run equals an uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from aekit.errors import TrainingError
from aekit.io.processes import Ranks, is_part, local_part
from aekit.training._compiling import compile_networks
from aekit.training._network_draws import NetworkDraws
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.distributed import add_in_place, backward, compute_loss, sharing_norms
from aekit.training.optimizer import learning_rate
from aekit.training.settings import Settings, uses_bf16
from aekit.training.sharding import clip_gradients, is_sharded
from aekit.training.threads import threads_for

FINITE_EVERY = {"cpu": 1, "cuda": 16}
"""Steps between checks that the loss is finite. A check makes the CPU wait for the GPU, so it is rarer there."""
ALL_FINITE_EVERY = 16
"""Steps in float32 between checks that all weights are finite. A check reads all weights from memory; one in each step would take
7% of a small network's training. The steps between check small tensors: values that are not finite spread to the biases below."""
SMALL = 4096
"""Largest number of elements of a small tensor."""
Record = dict[str, float]
Pending = list[tuple[Record, dict[str, Tensor]]]


def train(
    state: State, batches: Batches, settings: Settings, say: Callable[[str], None] = lambda line: None
) -> Iterator[Record]:
    """Train, and yield a record per step: ``step``, ``epoch``, ``lr``, ``loss`` and the terms of the objective.

    `state` includes the step of the last record, and can be saved between records; saving checks that all weights are finite, as
    does the last step of each epoch, each step in bfloat16, and every 16th in float32. Steps whose loss or gradient is not finite
    in bfloat16 are repeated in float32, as are all that follow.

    Args:
        state: changed by each step.
        batches: to train on.
        settings: how to train.
        say: receives a line if the precision changes.

    Raises:
        TrainingError: a term of the loss is not finite, or a weight; the message names the step, or the steps, and the term.
    """
    steps = _train_full_batch if settings.optimizer == "lbfgs" else _train_by_batch
    compiled = compile_networks(state.objective.compilable_networks() if settings.compile else [])
    threads = threads_for(state.objective.encoder, batches.local_size)
    with threads, compiled, sharing_norms(state.objective, batches):
        try:
            yield from steps(state, batches, settings, say)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # torch's message of a batch norm
                raise
            raise TrainingError(
                f"train.batch_size = {batches.batch_size}: the network has a batch norm, which needs several values of each "
                f"channel; expected 2 or more"
            ) from None


def _train_by_batch(state: State, batches: Batches, settings: Settings, say: Callable[[str], None]) -> Iterator[Record]:
    """Yield a record for each batch."""
    device = state.objective.encoder.device
    in_bf16 = uses_bf16(settings, state.objective.encoder.spec, device)
    while state.epoch < settings.epochs:
        if not in_bf16 or state.in_fp32:
            yield from _steps(state, batches, settings, torch.autocast(device.type, enabled=False), None)
            return
        # With a check before every step, the weights change only after it, and need no copy to go back to.
        last_good = Snapshot(state, keeps_untrained=FINITE_EVERY.get(device.type, 1) == 1)
        try:
            yield from _steps(state, batches, settings, torch.autocast(device.type, torch.bfloat16), last_good)
        except _NotFiniteError as error:
            if is_sharded(state.objective):  # their layers compute in bf16 permanently
                raise TrainingError(f"{error.problem} in bf16; set train.precision = 'fp32'") from None
            last_good.restore(state)
            state.check_finite()
            state.in_fp32 = True
            say(f"{error.problem} in bf16; repeating it and continuing in fp32")


def _steps(
    state: State, batches: Batches, settings: Settings, autocast: torch.autocast, last_good: Snapshot | None
) -> Iterator[Record]:
    """Train until the last epoch ends, and yield a record for each batch; each check that passes updates `last_good`."""
    objective, optimizer = state.objective, state.optimizer
    device = objective.encoder.device
    generator, draws = torch.Generator(device), NetworkDraws(device, batches.ranks)
    parameters = list(objective.trained())
    total = settings.epochs * batches.per_epoch
    small = _small(parameters)
    sharing = batches.ranks if any(map(is_part, parameters)) else None
    check_every = FINITE_EVERY.get(device.type, 1)
    checked = state.step  # the last step after which all weights were finite
    pending: Pending = []
    records: list[Record] | None = None

    objective.train()
    while state.epoch < settings.epochs:
        for batch in batches.epoch(state.epoch, state.step_in_epoch):
            seed = (settings.seed, state.epoch, state.step_in_epoch)
            lr = learning_rate(settings, state.step, total)
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)

            objective.set_progress(state.step / total)
            with autocast, draws.seeded(*seed):
                terms = compute_loss(objective, batch, generator, seed, batches.ranks)
            optimizer.zero_grad()
            terms = backward(terms, batch, parameters, batches.ranks)
            step, ends_epoch = state.step + 1, state.step_in_epoch + 1 == batches.per_epoch
            # The step's number decides, so that a resumed run repeats the same steps in float32. In bfloat16 always: only its
            # kernels may have failed, so that the step can be repeated.
            checks_all = last_good is not None or ends_epoch or step % ALL_FINITE_EVERY == 0
            tensors = parameters if checks_all else small
            pending.append(({"step": step, "epoch": state.epoch, "lr": lr}, terms))
            if last_good and last_good.keeps_untrained:
                gradients = [p.grad for p in tensors if p.grad is not None]
                records = _read(pending, gradients, "gradient", step - 1, sharing)
            if settings.clip and sharing:
                clip_gradients(parameters, settings.clip, sharing)
            elif settings.clip:
                torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
            optimizer.step()
            objective.after_step()

            state.step, state.step_in_epoch = step, state.step_in_epoch + 1
            if ends_epoch:
                state.epoch, state.step_in_epoch = state.epoch + 1, 0
            if step % check_every == 0 or ends_epoch:
                records = records or _read(pending, tensors, "weight", checked if checks_all else step - 1, sharing)
                checked = step if checks_all else checked
                if last_good:
                    last_good.take(state)
                yield from records
                pending.clear()
                records = None


def _train_full_batch(
    state: State, batches: Batches, settings: Settings, say: Callable[[str], None]
) -> Iterator[Record]:
    """Yield a record for each epoch, which is up to `aekit.training.optimizer.LBFGS_ITERATIONS` iterations over all samples.

    Batches only limit how many samples are in memory, unless the objective compares the samples of a batch.
    """
    objective = state.objective
    generator, draws = torch.Generator(objective.encoder.device), NetworkDraws(objective.encoder.device, batches.ranks)
    matrices = [p for p in objective.trained() if p.ndim > 1]
    logged: dict[str, Tensor] = {}

    def evaluate() -> Tensor:
        """Compute the loss and its gradient over all samples."""
        state.optimizer.zero_grad()
        logged.clear()
        for batch in batches.all():
            fraction = len(batch.raw) / len(batches.samples)
            with draws.seeded(settings.seed):
                terms = compute_loss(objective, batch, generator, (settings.seed,), batches.ranks)
            (fraction * terms["loss"]).backward()
            for name, value in terms.items():
                logged[name] = logged.get(name, torch.zeros(())) + fraction * value.detach()
        if batches.ranks:
            gradients = [p.grad for p in objective.trained() if p.grad is not None]
            add_in_place([*gradients, *logged.values()], batches.ranks)
        decay = settings.weight_decay / 2 * torch.stack([p.square().sum() for p in matrices]).sum()
        decay.backward()
        return logged["loss"] + decay.detach()

    objective.train()
    while state.epoch < settings.epochs:
        objective.set_progress(state.epoch / settings.epochs)
        # The record is of the last point of the line search, which is the accepted one or near it.
        state.optimizer.step(evaluate)  # type: ignore[arg-type, call-arg]
        objective.after_step()
        state.step, state.epoch = state.step + 1, state.epoch + 1
        head = {"step": state.step, "epoch": state.epoch - 1, "lr": 1.0}
        yield from _read([(head, dict(logged))], list(objective.trained()), "weight", state.step - 1)


def _small(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the small tensors among parameters; of large ones, the smallest."""
    return [p for p in parameters if p.numel() <= SMALL] or sorted(parameters, key=Tensor.numel)[:1]


def _read(
    pending: Pending, tensors: Sequence[Tensor], what: str, checked: int, sharing: Ranks | None = None
) -> list[Record]:
    """Copy the terms of several steps from the device at once, and check that they are finite, and these tensors after them.

    Args:
        pending: steps, with their terms.
        tensors: the weights, or their gradients.
        what: what a number in `tensors` is, for messages.
        checked: the last step after which they were finite, for messages.
        sharing: processes of which each has parts of the tensors, or None.

    Raises:
        _NotFiniteError: they are not.
    """
    names = [list(terms) for _, terms in pending]
    scalars = [v.detach().float() for _, terms in pending for v in terms.values()]
    largest = _largest_norm(tensors, 2, sharing) if tensors else scalars[0].new_zeros(())
    *listed, size = torch.stack([*scalars, largest]).tolist()
    if not math.isfinite(size):  # or only its square is not
        size = _largest_norm(tensors, torch.inf, sharing).item()
    values = iter(listed)
    records = [head | {name: next(values) for name in terms} for (head, _), terms in zip(pending, names)]
    for record, terms in zip(records, names):
        invalid = [name for name in terms if not math.isfinite(record[name])]
        if invalid:
            term = next((name for name in invalid if name != "loss"), "loss")
            raise _NotFiniteError(f"step {record['step']}: {term} is {record[term]}", record["lr"])
    if not math.isfinite(size):
        last = records[-1]["step"]
        steps = f"step {last}" if last == checked + 1 else f"steps {checked + 1} to {last}"
        raise _NotFiniteError(f"{steps}: a {what} is {size}", records[-1]["lr"])
    return records


def _largest_norm(tensors: Sequence[Tensor], order: float, sharing: Ranks | None) -> Tensor:
    """Return the largest norm of some tensors, or NaN; the Euclidean norm is twenty times faster than the largest number."""
    if sharing is not None:
        tensors = [part for tensor in tensors if (part := local_part(tensor)).numel()]
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors], order)
    largest = torch.stack([norm.float() for norm in norms]).max()
    return largest if sharing is None else sharing.gather(largest).max()  # NaN, if it is that of one


class _NotFiniteError(TrainingError):
    """A loss or a weight is not finite; `problem` says which, without advice."""

    def __init__(self, problem: str, lr: float) -> None:
        self.problem = problem
        super().__init__(f"{problem}; lower train.lr (now {lr:.3g}) or set train.clip")


class Snapshot:
    """A copy of the state of a training in memory, to go back to.

    Args:
        state: to copy.
        keeps_untrained: whether to copy only what a forward pass may change: neither trained parameters nor the optimizer.
    """

    def __init__(self, state: State, *, keeps_untrained: bool) -> None:
        self.keeps_untrained, self.tensors = keeps_untrained, dict[str, Tensor]()
        self._modules = list(state.objective.named_modules())
        self._trained = {id(parameter) for parameter in state.objective.trained()}
        self.take(state)

    def take(self, state: State) -> None:
        """Copy the state, into the same memory where the names and shapes are those of the last copy."""
        now = self._tensors(state)
        if now.keys() == self.tensors.keys():
            for name, tensor in now.items():
                self.tensors[name].copy_(tensor)
        else:
            self.tensors = {name: tensor.clone() for name, tensor in now.items()}
        self.counters = state.counters()

    def restore(self, state: State) -> None:
        """Set the state back."""
        now = self._tensors(state)
        if not any(name.startswith("optimizer ") for name in self.tensors) and not self.keeps_untrained:
            state.optimizer.state.clear()
        for name, tensor in self.tensors.items():
            now[name].copy_(tensor)
        state.set_counters(self.counters)

    def _tensors(self, state: State) -> dict[str, Tensor]:
        if self.keeps_untrained:  # in each step, so without the overhead of `state_dict`
            return {
                f"{place}.{name}": tensor.detach()
                for place, module in self._modules
                for name, tensor in (*module._parameters.items(), *module._buffers.items())
                if tensor is not None
                and id(tensor) not in self._trained
                and name not in module._non_persistent_buffers_set
            }
        tensors = {name: tensor.detach() for name, tensor in state.objective.state_dict().items()}
        for number, values in enumerate(state.optimizer.state.values()):
            parts = {f"optimizer {number} {key}": value for key, value in values.items() if isinstance(value, Tensor)}
            tensors |= parts
        return tensors
