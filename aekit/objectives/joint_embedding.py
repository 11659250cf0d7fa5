"""Shared parts of tasks that bring the embeddings of two views together: projector, momentum teacher, diagnostics."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Concatenate, ParamSpec, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from aekit.encoder.encoder import Encoder
from aekit.io.processes import local_part
from aekit.nn.augment.presets import CropOptions, augmentation_for
from aekit.nn.gather import gather
from aekit.objectives.base import Pretext
from aekit.registry.options import Field

Momentum = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="momentum of the teacher, the fraction kept per step; rises to 1 on a half cosine",
        json_schema_extra={"search": [0.9, 0.97, 0.99, 0.996]},
    ),
]

P = ParamSpec("P")


def mlp(*widths: int, norm_last: bool = False) -> nn.Sequential:
    """Build an MLP (B, widths[0]) -> (B, widths[-1]) with a batch norm and a ReLU between linear layers.

    Args:
        widths: of the layers, input and output included.
        norm_last: append a batch norm without affine parameters.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths[:-1]):
        layers += [nn.Linear(fan_in, fan_out, bias=False), nn.BatchNorm1d(fan_out), nn.ReLU()]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=not norm_last))
    return nn.Sequential(*layers, *([nn.BatchNorm1d(widths[-1], affine=False)] if norm_last else []))


class JointEmbeddingTask(Pretext):
    """A task whose loss compares projections of views of a sample. Subclasses define `loss`.

    Args:
        encoder: the encoder to train.
        projector: (B, D) -> (B, P), on the code; discarded after training.
        views: as in `aekit.nn.augment.presets.augmentation_for`.
    """

    min_batch = 2

    def __init__(self, encoder: Encoder, projector: nn.Module, **views: Unpack[CropOptions]) -> None:
        super().__init__(encoder)
        self.projector = projector
        self.augmentation = augmentation_for(encoder.spec, encoder.preprocess, **views)
        self.note = f"augmentation: {self.augmentation.description}"

    def project(self, x: Tensor) -> Tensor:
        """Project preprocessed samples (B, *shape) -> (B, P)."""
        return self.projector(self.encoder.encode(x))

    def two_views(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw two views, (B, *shape) each, of preprocessed samples (B, *shape)."""
        return self.augmentation(x, generator), self.augmentation(x, generator)

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        """Return samples, two views of each, and whether the second view nearest to a sample's first view is its own."""
        first, second = self.two_views(x, generator)
        is_pair = nearest_is_pair(*project_together(self.project, first, second)).tolist()
        nearest = ["its own" if pair else "another sample's" for pair in is_pair]
        return {"sample": x, "first view": first, "second view": second, "nearest second view": nearest}


def project_together(network: Callable[[Tensor], Tensor], *parts: Tensor) -> tuple[Tensor, ...]:
    """Pass several tensors (B, ...) through a network in one batch -> float32 (B, P) each."""
    return network(torch.cat(parts)).float().chunk(len(parts))


class MomentumTeacher(nn.Module):
    """Exponential moving average of an encoder and of the head on its code.

    It belongs to the task and its checkpoints, not to the encoder. Its batch norms use batch statistics, as the student's do.

    Args:
        encoder: the student.
        head: (B, D) -> (B, P), on the code.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self._student = (encoder, head)  # in a tuple, so that they are not registered as submodules
        self.backbone, self.encoder_head = copy.deepcopy(encoder.backbone), copy.deepcopy(encoder.head)
        self.head = copy.deepcopy(head)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> MomentumTeacher:
        super().train(mode)
        for layer in [*self.backbone.stages, self.encoder_head][: self._student[0].frozen]:  # as in the student
            layer.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Project preprocessed samples (B, *shape) -> (B, P) without gradients."""
        with torch.no_grad():
            return self.head(self.encoder_head(self.backbone(x)))

    def ema_update(self, momentum: float) -> None:
        """Set each weight to ``momentum`` times itself plus ``1 - momentum`` times the student's."""
        encoder, head = self._student
        students = [*encoder.backbone.parameters(), *encoder.head.parameters(), *head.parameters()]
        # Of weights that several processes share, each has the same part of both.
        get_ema_multi_avg_fn(momentum)([*map(local_part, self.parameters())], [*map(local_part, students)], 0)


def cosine_ramp(momentum: float, progress: float) -> float:
    """Return the momentum at this fraction of the training: from `momentum` to 1 on a half cosine."""
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2


def force_float32(
    loss: Callable[Concatenate[Tensor, Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, Tensor, P], Tensor]:
    """Decorate a function of two tensors to compute in float32, regardless of autocast and dtypes."""

    @functools.wraps(loss)
    def exact(first: Tensor, second: Tensor, *args: P.args, **options: P.kwargs) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return loss(first.float(), second.float(), *args, **options)

    return exact


class Prototypes(nn.Module):
    """Cosine similarities (B, K) of (B, P) to K learned directions."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width))

    def forward(self, x: Tensor) -> Tensor:
        return cosine_similarities(x, self.weight)


@force_float32
def cosine_similarities(x: Tensor, directions: Tensor) -> Tensor:
    """Return the cosine similarities (B, K) of (B, P) and (K, P)."""
    return F.normalize(x, dim=1) @ F.normalize(directions, dim=1).T


@torch.no_grad()
def projection_std(projected: Tensor) -> Tensor:
    """Return the scaled standard deviation of normalized projections (B, P) over the whole batch: 0 if all are identical, about
    1 if they are uniform on the sphere (Chen and He, 2021)."""
    return F.normalize(gather(projected.float()), dim=1).std(0).mean() * projected.shape[1] ** 0.5


@torch.no_grad()
def nearest_is_pair(first: Tensor, second: Tensor) -> Tensor:
    """Return, (B,) bool, whether the second view nearest to each first view, by cosine, is of the same sample."""
    return cosine_similarities(first, second).argmax(1) == torch.arange(len(first), device=first.device)
