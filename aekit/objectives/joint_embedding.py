"""What tasks share that bring the embeddings of two views of a sample together: projector, momentum teacher, what to look
at."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Concatenate, ParamSpec

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from aekit.encoder.encoder import Encoder
from aekit.nn.augment.base import Augmentation
from aekit.objectives.base import Pretext
from aekit.registry.options import Field

Momentum = Annotated[
    float, Field(ge=0, le=1, description="of the teacher: how much of it a step keeps; rises to 1 as half a cosine")
]

P = ParamSpec("P")


def mlp(*widths: int, norm_last: bool = False) -> nn.Sequential:
    """(B, widths[0]) -> (B, widths[-1]): linear maps, with a batch norm and a ReLU between two of them.

    Args:
        norm_last: a batch norm without factors at the end.
    """
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths[:-1]):
        layers += [nn.Linear(inside, outside, bias=False), nn.BatchNorm1d(outside), nn.ReLU()]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=not norm_last))
    return nn.Sequential(*layers, *([nn.BatchNorm1d(widths[-1], affine=False)] if norm_last else []))


class JointEmbeddingTask(Pretext):
    """A task whose loss compares projections of views of a sample. Subclasses define `loss`.

    Args:
        encoder: that is trained.
        projector: (B, D) -> (B, P), on the code; thrown away after training.
        views: what it draws.
    """

    def __init__(self, encoder: Encoder, projector: nn.Module, views: Augmentation) -> None:
        super().__init__(encoder)
        self.projector, self.views = projector, views
        self.note = f"views: {views.description}"

    def project(self, x: Tensor) -> Tensor:
        """(B, *shape) preprocessed -> (B, P)."""
        return self.projector(self.encoder.encode(x))

    def two_views(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, *shape) preprocessed -> two views of each, (B, *shape) both."""
        return self.views(x, generator), self.views(x, generator)

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        """Samples, two views of each, and whether, of all second views, a sample's own is nearest to its first."""
        first, second = self.two_views(x, generator)
        found = nearest_is_pair(*project_together(self.project, first, second)).tolist()
        answers = ["its own" if own else "another's" for own in found]
        return {"sample": x, "first view": first, "second view": second, "nearest second view": answers}


def project_together(network: Callable[[Tensor], Tensor], *parts: Tensor) -> tuple[Tensor, ...]:
    """Passes as many tensors (B, ...) through a network, together -> float32 (B, P) each."""
    return network(torch.cat(parts)).float().chunk(len(parts))


class MomentumTeacher(nn.Module):
    """A copy of an encoder, and of what sits on its code, that is not trained but follows them.

    It is a part of the task and of its checkpoints, not of the encoder. Its batch norms see the batch, as the student's do.

    Args:
        encoder: the student.
        head: (B, D) -> (B, P), on the code.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self._student = (encoder, head)  # in a tuple, so that they are not counted among this module's own
        self.backbone, self.encoder_head = copy.deepcopy(encoder.backbone), copy.deepcopy(encoder.head)
        self.head = copy.deepcopy(head)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> MomentumTeacher:
        super().train(mode)
        for layer in [*self.backbone.stages, self.encoder_head][: self._student[0].frozen]:  # as the student's own
            layer.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) preprocessed -> (B, P), which no gradient passes."""
        with torch.no_grad():
            return self.head(self.encoder_head(self.backbone(x)))

    def ema_update(self, momentum: float) -> None:
        """Each weight becomes ``momentum`` times itself and ``1 - momentum`` times the student's."""
        encoder, head = self._student
        students = [*encoder.backbone.parameters(), *encoder.head.parameters(), *head.parameters()]
        get_ema_multi_avg_fn(momentum)(list(self.parameters()), students, 0)


def cosine_ramp(momentum: float, progress: float) -> float:
    """The momentum at this share of the training: from `momentum` to 1 as half a cosine."""
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2


def force_float32(
    loss: Callable[Concatenate[Tensor, Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, Tensor, P], Tensor]:
    """Makes a function of two tensors compute in float32, whatever autocast and the tensors are."""

    @functools.wraps(loss)
    def exact(first: Tensor, second: Tensor, *args: P.args, **options: P.kwargs) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return loss(first.float(), second.float(), *args, **options)

    return exact


class Prototypes(nn.Module):
    """(B, P) -> (B, K): cosine similarities to K learned directions."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width))

    def forward(self, x: Tensor) -> Tensor:
        return cosine_similarities(x, self.weight)


@force_float32
def cosine_similarities(x: Tensor, directions: Tensor) -> Tensor:
    """(B, P) and (K, P) -> (B, K)."""
    return F.normalize(x, dim=1) @ F.normalize(directions, dim=1).T


@torch.no_grad()
def projection_std(projected: Tensor) -> Tensor:
    """How far projections (B, P) of unit length are from being all alike: a scalar, 0 where they are, about 1 where they lie
    on the sphere evenly (Chen and He, 2021)."""
    return F.normalize(projected.float(), dim=1).std(0).mean() * projected.shape[1] ** 0.5


@torch.no_grad()
@force_float32
def nearest_is_pair(first: Tensor, second: Tensor) -> Tensor:
    """(B,) bool: whether, of the second views' projections (B, P), that of the same sample is the nearest, by cosine."""
    likeness = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    return likeness.argmax(1) == torch.arange(len(first), device=first.device)
