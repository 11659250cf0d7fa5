"""DINO: from any part of a sample, the student says to which prototypes the teacher assigns its large parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.nn.augment.base import Strength
from aekit.nn.augment.presets import Flip, augmentation_for
from aekit.objectives.joint_embedding import (
    JointEmbeddingTask,
    Momentum,
    MomentumTeacher,
    Prototypes,
    cosine_ramp,
    mlp,
    project_together,
    projection_std,
)
from aekit.plugin import Encoder, Field, RecipeError, Samples

FIRST = 256
"""Samples whose mean output is the first center."""


class DINO(JointEmbeddingTask):
    """Self-distillation: the teacher, a moving average of the student, sees two large parts of each sample, the student these
    and several small ones, resized to the size that the encoder takes. What keeps outputs from becoming all alike is that the
    teacher's are centerd, by a moving average, and sharpened, by a low temperature. Unlike in the paper, the projector has batch
    norms, the prototypes learn from the first step on, and the teacher's temperature stays as it is.

    Logged: ``undecided``, the entropy of the teacher's assignments, 1 where all prototypes are as good; ``used``, the entropy
    of their mean over the batch, 0 where one prototype has all samples; both as a share of the most. ``spread`` of the
    student's outputs, which is 0 where they are all alike.

    Caron et al., Emerging properties in self-supervised vision transformers, 2021.
    """

    center: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        momentum: Momentum = 0.99,
        student_temperature: Annotated[float, Field(gt=0, description="of the student's softmax")] = 0.1,
        teacher_temperature: Annotated[float, Field(gt=0, description="of the teacher's; lower is sharper")] = 0.04,
        centering: Annotated[float, Field(ge=0, lt=1, description="momentum of the center")] = 0.9,
        parts: Annotated[int, Field(ge=0, description="small parts of each sample that the student sees")] = 2,
        least: Annotated[
            float, Field(gt=0, le=1, description="share of a sample that a small part has at least")
        ] = 0.2,
        large: Annotated[float, Field(gt=0, le=1, description="share that a large part has at least")] = 0.5,
        prototypes: Annotated[int, Field(ge=2, description="that samples are assigned to")] = 1024,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layers")] = 512,
        width: Annotated[int, Field(ge=1, description="of what is compared with the prototypes")] = 64,
        strength: Strength = "usual",
        flip: Flip = None,
    ) -> None:
        if least > large:
            raise RecipeError([f"objective.dino.least = {least}: expected at most objective.dino.large = {large}"])
        views = augmentation_for(encoder.spec, encoder.preprocess, strength=strength, crop_scale=large, flip=flip)
        head = nn.Sequential(mlp(encoder.dim, hidden, hidden, width), Prototypes(width, prototypes))
        super().__init__(encoder, head, views)
        self.small_views, self.parts = replace(views, crop_scale=(least, large)), parts
        self.momentum, self.centering = momentum, centering
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.teacher = MomentumTeacher(encoder, head)
        self.register_buffer("center", torch.zeros(prototypes))

    @torch.no_grad()
    def start(self, samples: Samples) -> None:
        self.teacher.ema_update(0.0)  # first weights may have been set since it was made
        # Of what an untrained network says, most is the same for all samples. The center begins there, and not at 0.
        raw = samples.batch(torch.arange(min(len(samples), FIRST)))
        self.center.copy_(self.teacher(self.encoder.preprocess(raw)).mean(0))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        large = self.two_views(x, generator)
        small = [self.small_views(x, generator) for _ in range(self.parts)]
        logits = project_together(self.project, *large, *small)
        outputs = project_together(self.teacher, *large)
        self.batch_mean = torch.stack(outputs).mean((0, 1))
        targets = [((output - self.center) / self.teacher_temperature).softmax(1) for output in outputs]
        most = math.log(len(self.center))
        return {
            "loss": cross_entropy(targets, logits, self.student_temperature),
            "undecided": entropy(torch.cat(targets)).mean() / most,
            "used": entropy(torch.cat(targets).mean(0)) / most,
            "spread": projection_std(logits[0]),
        }

    def after_step(self) -> None:
        self.center.lerp_(self.batch_mean, 1 - self.centering)
        self.teacher.ema_update(cosine_ramp(self.momentum, self.progress))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        large, small = self.views(x, generator), self.small_views(x, generator)
        assigned, logits = (self.teacher(large) - self.center).argmax(1), self.project(small).argmax(1)
        answers = [f"{theirs} / {ours}" for theirs, ours in zip(assigned.tolist(), logits.tolist())]
        return {"sample": x, "large part": large, "small part": small, "prototype: teacher / student": answers}


def cross_entropy(targets: Sequence[Tensor], logits: Sequence[Tensor], temperature: float) -> Tensor:
    """A mean over all pairs of a target (B, K) of probabilities and an output (B, K) float32 of the student for another part.

    Args:
        targets: of the parts that come first among `told`.
        told: outputs before the student's softmax.
    """
    logarithms = [(output / temperature).log_softmax(1) for output in logits]
    pairs = [(t, s) for (i, t), (j, s) in product(enumerate(targets), enumerate(logarithms)) if i != j]
    return torch.stack([-(target * logarithm).sum(1).mean() for target, logarithm in pairs]).mean()


def entropy(probabilities: Tensor) -> Tensor:
    """(..., K) -> (...), in nats."""
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)
