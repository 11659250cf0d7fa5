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
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from aekit.errors import TrainingError
from aekit.objective import Batch, Objective
from aekit.samples import Samples

FINITE_EVERY = {"cpu": 1, "cuda": 16}
"""Steps between looks at the loss. A look makes the processor wait for the GPU, so there it is seldom."""


class Settings(BaseModel):
    """How to train: the ``[train]`` section of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=1, description="passes over the training samples")] = 10
    batch_size: Annotated[int, Field(ge=1, description="samples a step")] = 128
    lr: Annotated[float, Field(gt=0, description="peak learning rate")] = 2e-3
    optimizer: Annotated[Literal["adamw", "adam", "sgd"], Field(description="update rule")] = "adamw"
    weight_decay: Annotated[float, Field(ge=0, description="decoupled for adamw, L2 for the others")] = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1, description="of sgd; the first beta of the others")] = 0.9
    schedule: Annotated[Literal["cosine", "constant"], Field(description="of the learning rate after warm-up")] = (
        "cosine"
    )
    warmup: Annotated[float, Field(ge=0, lt=1, description="share of all steps in which lr rises to its peak")] = 0.05
    clip: Annotated[float, Field(ge=0, description="largest norm of the gradient; 0 leaves it alone")] = 0.0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], Field(description="auto: bf16 where the hardware multiplies in it")
    ] = "auto"
    device: Annotated[
        str, Field(description="auto: a GPU where there is one", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    ] = "auto"
    seed: Annotated[int, Field(ge=0, description="of weights, order and noise")] = 0
    checkpoint_seconds: Annotated[float, Field(ge=0, description="time between checkpoints; 0: every step")] = 60.0


@dataclass
class State:
    """All that a step changes."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    """Steps done in all."""

    @classmethod
    def start(cls, objective: Objective, settings: Settings) -> State:
        return cls(objective, make_optimizer(objective, settings))

    def save(self, folder: Path) -> None:
        """Writes all of it, and replaces the former checkpoint in one step."""
        folder.mkdir(exist_ok=True)
        tensors = {f"objective.{k}": v.contiguous() for k, v in self.objective.state_dict().items()}
        saved = self.optimizer.state_dict()
        for number, state in saved["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in state.items() if isinstance(v, Tensor)}
        counters = {"epoch": self.epoch, "step_in_epoch": self.step_in_epoch, "step": self.step}
        part = folder / "state.part"
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, {"counters": json.dumps(counters)}
        )
        os.replace(part, folder / "state.safetensors")

    def restore(self, folder: Path) -> None:
        """Takes up what `save` wrote, strictly.

        Raises:
            TrainingError: the checkpoint is damaged or of another run.
        """
        try:
            with safe_open(folder / "state.safetensors", "pt") as file:
                counters = json.loads(file.metadata()["counters"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            own = {k.removeprefix("objective."): v for k, v in tensors.items() if k.startswith("objective.")}
            self.objective.load_state_dict(own, strict=True)
        except Exception as error:
            raise TrainingError(f"{folder}: checkpoint does not load: {str(error).splitlines()[0]}") from error
        saved: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                saved.setdefault(int(number), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": saved, "param_groups": groups})
        self.epoch, self.step_in_epoch, self.step = (counters[k] for k in ("epoch", "step_in_epoch", "step"))


class Batches:
    """Shuffled batches of samples. The order depends on (seed, epoch) alone.

    Args:
        samples: to draw from.
        batch_size: a last batch that is smaller is left out, so that every step sees as much.
        seed: of the order.
        labels: (N,) for supervised objectives.
    """

    def __init__(self, samples: Samples, batch_size: int, seed: int, labels: Tensor | None = None) -> None:
        self.samples, self.labels, self.seed = samples, labels, seed
        self.batch_size = min(batch_size, len(samples))
        self.per_epoch = len(samples) // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of one epoch from number `start` on."""
        order = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(derive(self.seed, epoch)))
        for number in range(start, self.per_epoch):
            positions = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield Batch(self.samples.batch(positions), None if self.labels is None else self.labels[positions])


def train(state: State, batches: Batches, settings: Settings) -> Iterator[dict[str, float]]:
    """Trains, yielding a record a step: ``step``, ``epoch``, ``lr``, ``loss`` and the objective's own terms.

    `state` is always past the step of the last record, and can be saved between records.

    Raises:
        TrainingError: a term of the loss is not finite; names the step and the term.
    """
    objective, optimizer = state.objective, state.optimizer
    device = objective.encoder.device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(settings, device))
    generator = torch.Generator(device)
    parameters = [p for p in objective.parameters() if p.requires_grad]
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
            if len(pending) == look or state.step == total:
                yield from _read(pending)
                pending.clear()


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


def make_optimizer(objective: Objective, settings: Settings) -> torch.optim.Optimizer:
    """Norms, biases and other vectors are not decayed: only matrices are weights in that sense."""
    trainable = [p for p in objective.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.lr, betas=(settings.momentum, 0.999), fused=True)


def learning_rate(settings: Settings, step: int, total: int) -> float:
    """Linear warm-up, then constant or a half cosine down to zero."""
    warmup = settings.warmup * total
    if step < warmup:
        return settings.lr * (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def derive(*parts: int) -> int:
    """A seed from several numbers, such as (seed, epoch, step): neighbours give unrelated ones."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def choose_device(settings: Settings) -> torch.device:
    """The device that ``train.device`` means here."""
    if settings.device != "auto":
        if settings.device.startswith("cuda") and not torch.cuda.is_available():
            raise TrainingError(f"train.device = {settings.device!r}: no CUDA device here; expected 'auto' or 'cpu'")
        return torch.device(settings.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def uses_bf16(settings: Settings, device: torch.device) -> bool:
    """Whether to compute in bfloat16: if asked to, or if the hardware has units for it."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return any(getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return False
