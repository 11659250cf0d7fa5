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
from aekit.io.processes import is_part, local_part
from aekit.io.weights import SavedTensors, add_weights, by_alignment, write_one_by_one
from aekit.objectives.base import Objective
from aekit.training._fused_adam import FusedAdam
from aekit.training.optimizer import Optimizer, make_optimizer
from aekit.training.settings import Settings
from aekit.training.sharding import gathered, is_sharded, shared_as, shared_like

WEIGHTS = "objective."
"""Prefix of the names of weights in a checkpoint."""
NO_DIGEST = "0" * 64
"""Placeholder of the digest, of its length, until all tensors are written."""
_COUNTERS = ("epoch", "step_in_epoch", "step", "phase", "seconds", "in_fp32")


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
        tensors = self.objective.state_dict().items()
        self._infinite = {name for name, tensor in tensors if not _is_finite(local_part(tensor))}

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
            self._check_finite(name, gathered(tensor))

    def _check_finite(self, name: str, tensor: Tensor) -> None:
        if name not in self._infinite and not _is_finite(tensor):
            raise TrainingError(f"step {self.step}: {name} is not finite; lower train.lr or set train.clip")

    @classmethod
    def start(cls, objective: Objective, settings: Settings) -> State:
        return cls(objective, make_optimizer(objective, settings))

    def save(self, folder: Path | None) -> None:
        """Write the state, and replace the previous checkpoint atomically.

        Processes that share weights call this alike; those that write nothing without a folder.

        Raises:
            TrainingError: a weight is not finite; the previous checkpoint is kept.
        """
        tensors, numbers = self._entries()
        if is_sharded(self.objective):
            self._save_in_whole(folder, tensors, numbers)
            return
        for name, tensor in tensors.items():
            if name.startswith(WEIGHTS):
                self._check_finite(name.removeprefix(WEIGHTS), tensor)
        if folder is None:
            return
        folder.mkdir(exist_ok=True)
        tensors = _without_shared_memory(tensors)
        part = folder / "state.part"
        save_file(tensors, part, self._metadata(numbers, _digest(tensors)))
        os.replace(part, folder / "state.safetensors")

    def _entries(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors of the state, of which this process may have parts, and the numbers of the optimizer's."""
        tensors = {f"{WEIGHTS}{name}": tensor for name, tensor in self.objective.state_dict().items()}
        numbers: dict[str, Any] = {}
        for number, parameter in enumerate(self._optimized()):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                name, value = f"optimizer.{number}.{key}", shared_like(value, parameter)
                # L-BFGS has lists of tensors and plain numbers in its state.
                listed = isinstance(value, list) and any(isinstance(part, Tensor) for part in value)
                if isinstance(value, Tensor):
                    tensors[name] = value
                elif listed:
                    tensors |= {f"{name}.{i}": part for i, part in enumerate(value) if part is not None}
                    numbers[name] = {"list": len(value)}
                else:
                    numbers[name] = value
        return tensors, numbers

    def _metadata(self, numbers: dict[str, Any], digest: str) -> dict[str, str]:
        return {"counters": json.dumps(sealed(self.counters() | {"optimizer": numbers, "tensors": digest}))}

    def _save_in_whole(self, folder: Path | None, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Write tensors that processes share, of which none has the whole of more than one at a time."""

        def whole(name: str) -> Tensor:
            tensor = gathered(tensors[name]).detach().cpu().contiguous()
            if name.startswith(WEIGHTS):
                self._check_finite(name.removeprefix(WEIGHTS), tensor)
            return tensor

        if folder is None:
            for name in by_alignment(tensors):
                whole(name)
            return
        folder.mkdir(exist_ok=True)
        part = folder / "state.part"

        def metadata(saved: Mapping[str, Tensor] | None) -> dict[str, str]:
            return self._metadata(numbers, NO_DIGEST if saved is None else _digest(saved))

        write_one_by_one(tensors, whole, part, metadata)
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
                tensors = self._load_tensors(folder / "state.safetensors", file, counters["tensors"])
            weights = {k.removeprefix(WEIGHTS): v for k, v in tensors.items() if k.startswith(WEIGHTS)}
            self.objective.load_state_dict(weights, strict=True)
        except Exception as error:
            raise _does_not_load(folder, error) from error
        self._restore_optimizer(tensors, counters["optimizer"])
        self.set_counters(counters)

    def _load_tensors(self, path: Path, file: Any, digest: str) -> dict[str, Tensor]:
        """Return the tensors of an open file by name, each shared as what it will replace.

        Raises:
            ValueError: the file is damaged.
        """
        saved: Mapping[str, Tensor] = SavedTensors(path)
        if not is_sharded(self.objective):  # else each process keeps its part of one after the other
            # Copied, because dot products of tensors at unaligned addresses of a mapped file round in another order.
            saved = {name: file.get_tensor(name).clone() for name in saved}
        if _digest(saved) != digest:
            raise ValueError("its tensors differ from their checksum")
        optimized = self._optimized()
        targets = {f"{WEIGHTS}{name}": tensor for name, tensor in self.objective.state_dict().items()}
        targets |= {name: optimized[int(name.split(".")[1])] for name in saved if name.startswith("optimizer.")}
        return {name: shared_as(saved[name], targets.get(name)) for name in saved}

    def _restore_optimizer(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Set the state of the optimizer from what `_entries` returned."""
        entries: dict[str, Any] = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
        for name, value in numbers.items():
            if isinstance(value, dict):
                value = [entries.pop(f"{name}.{i}", None) for i in range(value["list"])]
            entries[name] = value
        saved: dict[int, dict[str, Any]] = {}
        for name, value in entries.items():
            _, place, key = name.split(".", 2)
            saved.setdefault(int(place), {})[key] = value
        self.optimizer.state.clear()
        for number, parameter in enumerate(self._optimized()):
            if number in saved:
                state = saved[number]
                if isinstance(self.optimizer, FusedAdam):  # which computes on the parts themselves
                    state = {key: local_part(v) if isinstance(v, Tensor) else v for key, v in state.items()}
                self.optimizer.state[parameter] = {key: _placed(value, parameter) for key, value in state.items()}

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


def _placed(value: Any, parameter: nn.Parameter) -> Any:
    """Return an entry of an optimizer's state on the parameter's device, a tensor of its shape in its memory layout."""
    if isinstance(value, list):
        return [_placed(part, parameter) for part in value]
    if not isinstance(value, Tensor):
        return value
    if is_part(parameter):
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
