"""The only training loop. It is a generator that yields a record a step; its caller prints, logs, checkpoints, stops.

Everything random is derived from (seed, epoch, step), so a run that was interrupted and resumed is bit for bit the run that
was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from aekit.errors import TrainingError
from aekit.fitting.compiling import compiled
from aekit.fitting.optimizing import learning_rate, make_optimizer
from aekit.networks.parts import Features
from aekit.objective import Batch, Objective
from aekit.samples import Samples

FINITE_EVERY = {"cpu": 1, "cuda": 16}
"""Steps between looks at the loss. A look makes the processor wait for the GPU, so there it is seldom."""


class Settings(BaseModel):
    """How to train: the ``[train]`` section of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=0, description="passes over the training samples")] = 10
    batch_size: Annotated[int, Field(ge=1, description="samples a step")] = 128
    lr: Annotated[float, Field(gt=0, description="peak learning rate")] = 2e-3
    optimizer: Annotated[
        Literal["adamw", "adam", "sgd", "lbfgs"],
        Field(
            description="update rule; lbfgs: full batch, an epoch is 20 of its iterations, lr is left to its line search"
        ),
    ] = "adamw"
    weight_decay: Annotated[float, Field(ge=0, description="decoupled for adamw, L2 for the others")] = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1, description="of sgd; the first beta of the others")] = 0.9
    schedule: Annotated[Literal["cosine", "constant"], Field(description="of the learning rate after warm-up")] = (
        "cosine"
    )
    warmup: Annotated[float, Field(ge=0, lt=1, description="share of all steps in which lr rises to its peak")] = 0.05
    clip: Annotated[float, Field(ge=0, description="largest norm of the gradient; 0 leaves it alone")] = 0.0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Field(description="auto: bf16 where the hardware multiplies in it, but for clips on a CPU"),
    ] = "auto"
    device: Annotated[
        str, Field(description="auto: a GPU where there is one", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    ] = "auto"
    seed: Annotated[int, Field(ge=0, description="of weights, order and noise")] = 0
    layer_decay: Annotated[
        float,
        Field(gt=0, le=1, description="learning rate of each of the encoder's layers, as a share of the one above it"),
    ] = 1.0
    compile: Annotated[bool, Field(description="torch.compile of the network: slow to begin, then faster")] = False
    checkpoint_seconds: Annotated[float, Field(ge=0, description="time between checkpoints; 0: every step")] = 60.0

    @field_validator("layer_decay")
    @classmethod
    def _has_learning_rates(cls, value: float, others: ValidationInfo) -> float:
        if value < 1 and others.data.get("optimizer") == "lbfgs":
            raise PydanticCustomError("lbfgs", "1 with optimizer = 'lbfgs', which knows no learning rates")
        return value


@dataclass
class State:
    """All that a step changes."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    """Steps done in all."""
    phase: int = 0
    """Which stretch of a training in several ones this is."""
    seconds: float = 0.0
    """Time spent so far, by all phases, interruptions left out."""

    @classmethod
    def start(cls, objective: Objective, settings: Settings) -> State:
        return cls(objective, make_optimizer(objective, settings))

    def save(self, folder: Path) -> None:
        """Writes all of it, and replaces the former checkpoint in one step."""
        folder.mkdir(exist_ok=True)
        tensors = {f"objective.{k}": v for k, v in self.objective.state_dict().items()}
        numbers: dict[str, Any] = {}
        for number, state in self.optimizer.state_dict()["state"].items():
            for key, value in state.items():
                name = f"optimizer.{number}.{key}"
                # L-BFGS remembers lists of tensors, and plain numbers.
                listed = isinstance(value, list) and any(isinstance(part, Tensor) for part in value)
                if isinstance(value, Tensor):
                    tensors[name] = value
                elif listed:
                    tensors |= {f"{name}.{i}": part for i, part in enumerate(value) if part is not None}
                    numbers[name] = {"list": len(value)}
                else:
                    numbers[name] = value
        counters = {name: getattr(self, name) for name in _COUNTERS} | {"optimizer": numbers}
        part = folder / "state.part"
        save_file(_apart(tensors), part, {"counters": json.dumps(counters)})
        os.replace(part, folder / "state.safetensors")

    @staticmethod
    def phase_of(folder: Path) -> int:
        """The phase whose state was saved."""
        with safe_open(folder / "state.safetensors", "pt") as file:
            return json.loads(file.metadata()["counters"])["phase"]

    def restore(self, folder: Path) -> None:
        """Takes up what `save` wrote, strictly.

        Raises:
            TrainingError: the checkpoint is damaged or of another run.
        """
        try:
            with safe_open(folder / "state.safetensors", "pt") as file:
                counters = json.loads(file.metadata()["counters"])
                # Copied, as dot products of what is mapped from a file at an odd address round in another order.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            own = {k.removeprefix("objective."): v for k, v in tensors.items() if k.startswith("objective.")}
            self.objective.load_state_dict(own, strict=True)
        except Exception as error:
            raise TrainingError(f"{folder}: checkpoint does not load: {str(error).splitlines()[0]}") from error
        saved: dict[int, dict[str, Any]] = {}
        entries: dict[str, Any] = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
        for name, value in counters["optimizer"].items():
            if isinstance(value, dict):
                value = [entries.pop(f"{name}.{i}", None) for i in range(value["list"])]
            entries[name] = value
        for name, value in entries.items():
            _, number, key = name.split(".", 2)
            saved.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": saved, "param_groups": groups})
        for name in _COUNTERS:
            setattr(self, name, counters[name])


_COUNTERS = ("epoch", "step_in_epoch", "step", "phase", "seconds")


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, each in memory of its own: an encoder may be a part of several objectives, but a file holds no links."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


class Batches:
    """Shuffled batches of samples. The order depends on (seed, epoch) alone.

    Args:
        samples: to draw from.
        batch_size: a last batch that is smaller is left out, so that every step sees as much.
        seed: of the order.
        labels: (N,) for supervised objectives.
        targets: as many samples in the same order, where what is to be restored is not the sample itself.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        seed: int,
        labels: Tensor | None = None,
        targets: Samples | None = None,
    ) -> None:
        self.samples, self.labels, self.targets, self.seed = samples, labels, targets, seed
        self.batch_size = min(batch_size, len(samples))
        self.per_epoch = len(samples) // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of one epoch from number `start` on."""
        order = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(derive(self.seed, epoch)))
        for number in range(start, self.per_epoch):
            yield self._at(order[number * self.batch_size : (number + 1) * self.batch_size])

    def all(self) -> Iterator[Batch]:
        """All samples once, in their order."""
        for positions in torch.arange(len(self.samples)).split(self.batch_size):
            yield self._at(positions)

    def _at(self, positions: Tensor) -> Batch:
        labels = None if self.labels is None else self.labels[positions]
        targets = None if self.targets is None else self.targets.batch(positions)
        return Batch(self.samples.batch(positions), labels, targets, isinstance(self.samples, Features))


def train(state: State, batches: Batches, settings: Settings) -> Iterator[dict[str, float]]:
    """Trains, yielding a record a step: ``step``, ``epoch``, ``lr``, ``loss`` and the objective's own terms.

    `state` is always past the step of the last record, and can be saved between records.

    Raises:
        TrainingError: a term of the loss is not finite; names the step and the term.
    """
    steps = _train_full_batch if settings.optimizer == "lbfgs" else _train_by_batch
    with compiled(state.objective.networks() if settings.compile else []):
        yield from steps(state, batches, settings)


def _train_by_batch(state: State, batches: Batches, settings: Settings) -> Iterator[dict[str, float]]:
    """A record for each batch."""
    objective, optimizer = state.objective, state.optimizer
    device = objective.encoder.device
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=uses_bf16(settings, objective.encoder.spec.kind, device)
    )
    generator = torch.Generator(device)
    parameters = list(objective.trained())
    total = settings.epochs * batches.per_epoch
    look = FINITE_EVERY.get(device.type, 1)
    pending: list[tuple[dict[str, float], dict[str, Tensor]]] = []

    objective.train()
    while state.epoch < settings.epochs:
        for batch in batches.epoch(state.epoch, state.step_in_epoch):
            generator.manual_seed(derive(settings.seed, state.epoch, state.step_in_epoch))
            lr = learning_rate(settings, state.step, total)
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)

            objective.at(state.step / total)
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
    """A record for each epoch, which is up to `LBFGS_ITERATIONS` iterations over all samples.

    Batches are only how many samples are held at a time; where the objective compares samples of a batch, they matter.
    """
    objective = state.objective
    generator = torch.Generator(objective.encoder.device)
    matrices = [p for p in objective.trained() if p.ndim > 1]
    logged: dict[str, Tensor] = {}

    def evaluate() -> Tensor:
        """Loss and gradient over all samples."""
        state.optimizer.zero_grad(set_to_none=True)
        logged.clear()
        for batch in batches.all():
            share = len(batch.raw) / len(batches.samples)
            terms = objective.loss(batch, generator)
            (share * terms["loss"]).backward()
            for name, value in terms.items():
                logged[name] = logged.get(name, torch.zeros(())) + share * value.detach()
        decay = settings.weight_decay / 2 * torch.stack([p.square().sum() for p in matrices]).sum()
        decay.backward()
        return logged["loss"] + decay.detach()

    objective.train()
    while state.epoch < settings.epochs:
        objective.at(state.epoch / settings.epochs)
        # What is logged is of the last point that the line search looked at, which is the one it took or near it.
        state.optimizer.step(evaluate)  # type: ignore[arg-type]
        objective.after_step()
        state.step, state.epoch = state.step + 1, state.epoch + 1
        head = {"step": state.step, "epoch": state.epoch - 1, "lr": 1.0}
        yield from _read([(head, dict(logged))])


def _read(pending: list[tuple[dict[str, float], dict[str, Tensor]]]) -> Iterator[dict[str, float]]:
    """Brings the terms of several steps over from the device in one go, and checks them."""
    names = [list(terms) for _, terms in pending]
    values = iter(torch.stack([v.detach().float() for _, terms in pending for v in terms.values()]).tolist())
    records = [head | {name: next(values) for name in own} for (head, _), own in zip(pending, names)]
    for record, own in zip(records, names):
        wrong = [name for name in own if not math.isfinite(record[name])]
        if wrong:
            term = next((name for name in wrong if name != "loss"), "loss")
            raise TrainingError(
                f"step {record['step']}: {term} is {record[term]}; lower train.lr (now {record['lr']:.3g}) "
                f"or set train.clip"
            )
    yield from records


def derive(*parts: int) -> int:
    """A seed from several numbers, such as (seed, epoch, step): neighbours give unrelated ones."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def uses_bf16(settings: Settings, kind: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16 on samples of a kind: if asked to, or if the hardware has units for it."""
    if settings.optimizer == "lbfgs":
        return False  # its line search would follow the rounding
    if settings.precision != "auto":
        return settings.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        if kind == "clip":
            # oneDNN's bfloat16 gradient of a Conv3d reads memory that nobody wrote where two frames meet a kernel of three
            # (found with torch 2.14.1): off by a little most of the time, and now and then not finite.
            return False
        return any(getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return False
