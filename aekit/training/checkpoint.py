"""Hold the state that a training step changes, and save and load it as a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from aekit.errors import TrainingError, first_line
from aekit.io.manifest_models import Count, Manifest, Sha256
from aekit.io.manifests import sealed, unsealed
from aekit.io.weights import add_weights
from aekit.objectives.base import Objective
from aekit.training.optimizer import Optimizer, make_optimizer
from aekit.training.settings import Settings


@dataclass
class State:
    """Everything that a training step changes.

    Attributes:
        step: number of steps done in total.
        phase: number of the training phase, from 0.
        seconds: time spent in all phases, without interruptions.
        in_fp32: whether a step in bfloat16 was not finite, so that the steps after it are done in float32.
    """

    objective: Objective
    optimizer: Optimizer
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    phase: int = 0
    seconds: float = 0.0
    in_fp32: bool = False

    def __post_init__(self) -> None:
        self._infinite = {name for name, tensor in self.objective.state_dict().items() if not _is_finite(tensor)}

    def counters(self) -> dict[str, Any]:
        """Return everything but the tensors, for `set_counters`."""
        return {name: getattr(self, name) for name in _COUNTERS}

    def set_counters(self, values: Mapping[str, Any]) -> None:
        """Set what `counters` returned."""
        for name in _COUNTERS:
            setattr(self, name, values.get(name, getattr(self, name)))

    def check_finite(self) -> None:
        """Check the weights and buffers, but for those that were infinite from the start, such as masks.

        Raises:
            TrainingError: one of them is not finite.
        """
        for name, tensor in self.objective.state_dict().items():
            if name not in self._infinite and not _is_finite(tensor):
                raise TrainingError(f"step {self.step}: {name} is not finite; lower train.lr or set train.clip")

    @classmethod
    def start(cls, objective: Objective, settings: Settings) -> State:
        return cls(objective, make_optimizer(objective, settings))

    def save(self, folder: Path) -> None:
        """Write the state, and replace the previous checkpoint atomically.

        Raises:
            TrainingError: a weight is not finite; the previous checkpoint is kept.
        """
        self.check_finite()
        folder.mkdir(exist_ok=True)
        tensors = {f"objective.{k}": v for k, v in self.objective.state_dict().items()}
        numbers: dict[str, Any] = {}
        for number, parameter in enumerate(self._optimized()):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                name = f"optimizer.{number}.{key}"
                # L-BFGS has lists of tensors and plain numbers in its state.
                listed = isinstance(value, list) and any(isinstance(part, Tensor) for part in value)
                if isinstance(value, Tensor):
                    tensors[name] = value
                elif listed:
                    tensors |= {f"{name}.{i}": part for i, part in enumerate(value) if part is not None}
                    numbers[name] = {"list": len(value)}
                else:
                    numbers[name] = value
        tensors = _without_shared_memory(tensors)
        counters = self.counters() | {"optimizer": numbers, "tensors": _digest(tensors)}
        part = folder / "state.part"
        save_file(tensors, part, {"counters": json.dumps(sealed(counters))})
        os.replace(part, folder / "state.safetensors")

    @staticmethod
    def phase_of(folder: Path) -> int:
        """Return the phase of a saved state.

        Raises:
            TrainingError: the checkpoint is damaged.
        """
        try:
            with safe_open(folder / "state.safetensors", "pt") as file:
                return _counters(file)["phase"]
        except Exception as error:
            raise _does_not_load(folder, error) from error

    def restore(self, folder: Path) -> None:
        """Load the state that `save` wrote, strictly.

        Raises:
            TrainingError: the checkpoint is damaged or belongs to another run.
        """
        try:
            with safe_open(folder / "state.safetensors", "pt") as file:
                counters = _counters(file)
                # Copied, because dot products of tensors at unaligned addresses of a mapped file round in another order.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            if _digest(tensors) != counters["tensors"]:
                raise ValueError("its tensors differ from their checksum")
            weights = {k.removeprefix("objective."): v for k, v in tensors.items() if k.startswith("objective.")}
            self.objective.load_state_dict(weights, strict=True)
        except Exception as error:
            raise _does_not_load(folder, error) from error
        saved: dict[int, dict[str, Any]] = {}
        entries: dict[str, Any] = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
        for name, value in counters["optimizer"].items():
            if isinstance(value, dict):
                value = [entries.pop(f"{name}.{i}", None) for i in range(value["list"])]
            entries[name] = value
        for name, value in entries.items():
            _, place, key = name.split(".", 2)
            saved.setdefault(int(place), {})[key] = value
        self.optimizer.state.clear()
        for number, parameter in enumerate(self._optimized()):
            if number in saved:
                self.optimizer.state[parameter] = {k: _placed(v, parameter) for k, v in saved[number].items()}
        self.set_counters(counters)

    def _optimized(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


class StateRecord(Manifest):
    """Everything but the tensors of a saved state."""

    epoch: Count
    step_in_epoch: Count
    step: Count
    phase: Count
    seconds: float
    in_fp32: bool
    optimizer: dict[str, Any]
    tensors: Sha256


def _counters(file: Any) -> dict[str, Any]:
    counters = unsealed(json.loads(file.metadata()["counters"]))
    StateRecord.model_validate(counters)
    return counters


def _digest(tensors: Mapping[str, Tensor]) -> str:
    hasher = hashlib.sha256()
    add_weights(hasher, tensors)
    return hasher.hexdigest()


def _does_not_load(folder: Path, error: Exception) -> TrainingError:
    return TrainingError(f"{folder}: checkpoint does not load: {first_line(error)}; remove it to begin again")


_COUNTERS = ("epoch", "step_in_epoch", "step", "phase", "seconds", "in_fp32")


def _placed(value: Any, parameter: nn.Parameter) -> Any:
    """Return an entry of an optimizer's state on the parameter's device, a tensor of its shape in its memory layout."""
    if isinstance(value, list):
        return [_placed(part, parameter) for part in value]
    if not isinstance(value, Tensor):
        return value
    # Files are contiguous, parameters need not be: fused kernels pair the numbers of both by their place in memory.
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.to(parameter.device)


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # The norm takes a twentieth of the time of the exact test, but overflows for numbers beyond 1e19.
    return bool(torch.isfinite(torch.linalg.vector_norm(tensor))) or bool(torch.isfinite(tensor).all())


def _without_shared_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move tensors to the CPU, each in its own memory: objectives may share an encoder, but a file cannot share tensors."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        separate[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return separate
