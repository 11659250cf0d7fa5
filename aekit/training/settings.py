"""Define the settings of a training."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from aekit.data.spec import SampleSpec
from aekit.io.device import multiplies_bf16


class Settings(BaseModel):
    """How to train: the ``[train]`` section of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=0, description="passes over the training samples")] = 10
    batch_size: Annotated[int, Field(ge=1, description="samples per step")] = 128
    lr: Annotated[float, Field(gt=0, description="peak learning rate")] = 2e-3
    optimizer: Annotated[
        Literal["adamw", "adam", "sgd", "lbfgs"],
        Field(description="update rule; lbfgs: full batch, 20 iterations per epoch, a line search instead of lr"),
    ] = "adamw"
    weight_decay: Annotated[float, Field(ge=0, description="decoupled for adamw, L2 for the others")] = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1, description="momentum of sgd; first beta of the others")] = 0.9
    schedule: Annotated[Literal["cosine", "constant"], Field(description="learning-rate schedule after warm-up")] = (
        "cosine"
    )
    warmup: Annotated[float, Field(ge=0, lt=1, description="fraction of all steps in which lr rises to its peak")] = (
        0.05
    )
    clip: Annotated[float, Field(ge=0, description="largest norm of the gradient; 0: no clipping")] = 0.0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        Field(description="auto: bf16 if the hardware supports it, except for clips on a CPU"),
    ] = "auto"
    device: Annotated[str, Field(description="auto: a GPU if available", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = (
        "auto"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32, description="seed of weights, order and noise")] = 0
    layer_decay: Annotated[
        float,
        Field(gt=0, le=1, description="learning rate of each encoder layer, as a fraction of that of the layer above"),
    ] = 1.0
    low_rank: Annotated[
        int,
        Field(
            ge=0, description="rank of updates of a pretrained transformer's linear layers, whose weights stay; 0: none"
        ),
    ] = 0
    sharding: Annotated[
        Literal["none", "full"],
        Field(
            description="full: several processes share the weights of the backbone, of which each keeps a part (FSDP2)"
        ),
    ] = "none"
    compile: Annotated[
        bool, Field(description="compile the network with torch.compile: a slower start, then faster steps")
    ] = False
    checkpoint_seconds: Annotated[float, Field(ge=0, description="seconds between checkpoints; 0: every step")] = 60.0

    @field_validator("layer_decay")
    @classmethod
    def _has_learning_rates(cls, value: float, others: ValidationInfo) -> float:
        if value < 1 and others.data.get("optimizer") == "lbfgs":
            raise PydanticCustomError("lbfgs", "1 with optimizer = 'lbfgs', which has no learning rates")
        return value


MACHINE_SETTINGS = frozenset({"device", "precision", "checkpoint_seconds"})
"""Settings that depend on the machine unless they are set; a finished run may be opened on another one."""


def uses_bf16(settings: Settings, spec: SampleSpec, device: torch.device) -> bool:
    """Return whether to compute in bfloat16: if set, or with ``auto`` if the hardware supports it."""
    if settings.optimizer == "lbfgs":
        return False  # rounding would mislead its line search
    if settings.precision != "auto":
        return settings.precision == "bf16"
    # oneDNN's bfloat16 gradient of a Conv3d with kernel 3 on two frames reads uninitialized memory
    # (torch 2.14.1): mostly slightly wrong, sometimes not finite.
    return multiplies_bf16(device) and not (device.type == "cpu" and spec.is_clip)
