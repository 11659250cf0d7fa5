"""DINO: from any crop of a sample, predict the teacher's prototype assignments of its large crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Annotated, Unpack

import torch
from torch import Tensor, nn

from aekit.nn.augment.presets import ViewOptions
from aekit.nn.gather import batch_mean
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
"""Samples whose mean output initializes the center."""


class DINO(JointEmbeddingTask):
    """Predict, from any crop of a sample, how a teacher assigns its large crops to prototypes (self-distillation).

    The teacher, a moving average of the student, sees two large crops of each sample; the student sees these and several small
    ones, resized to the encoder's input size. Centering the teacher's outputs by a moving average and sharpening them by a low
    temperature prevents collapse. Unlike in the paper, the projector has batch norms, the prototypes learn from the first step
    on, and the teacher's temperature is constant.

    Logged: ``undecided``, the entropy of the teacher's assignments, 1 when all prototypes are equally likely; ``used``, the
    entropy of their mean over the batch, 0 when one prototype gets all samples; both relative to the maximum.
    ``projection_std`` of the student's outputs, which is 0 when they are all identical (collapse).

    Caron et al., Emerging properties in self-supervised vision transformers, 2021.
    """

    center: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        momentum: Momentum = 0.99,
        student_temperature: Annotated[float, Field(gt=0, description="softmax temperature of the student")] = 0.1,
        teacher_temperature: Annotated[float, Field(gt=0, description="softmax temperature of the teacher")] = 0.04,
        center_momentum: Annotated[float, Field(ge=0, lt=1, description="momentum of the teacher's center")] = 0.9,
        local_crops: Annotated[int, Field(ge=0, description="small crops of each sample for the student")] = 2,
        local_crop_scale: Annotated[float, Field(gt=0, le=1, description="minimum fraction of a sample")] = 0.2,
        global_crop_scale: Annotated[float, Field(gt=0, le=1, description="minimum fraction in a large crop")] = 0.5,
        prototypes: Annotated[int, Field(ge=2, description="number of prototypes that samples are assigned to")] = 1024,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layers")] = 512,
        width: Annotated[
            int, Field(ge=1, description="dimension of the projections compared with the prototypes")
        ] = 64,
        **views: Unpack[ViewOptions],
    ) -> None:
        if local_crop_scale > global_crop_scale:
            raise RecipeError(
                [
                    f"objective.dino.local_crop_scale = {local_crop_scale}: expected at most "
                    f"objective.dino.global_crop_scale = {global_crop_scale}"
                ]
            )
        head = nn.Sequential(mlp(encoder.dim, hidden, hidden, width), Prototypes(width, prototypes))
        super().__init__(encoder, head, crop_scale=global_crop_scale, **views)
        self.local_augmentation = replace(self.augmentation, crop_scale=(local_crop_scale, global_crop_scale))
        self.local_crops = local_crops
        self.momentum, self.center_momentum = momentum, center_momentum
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.teacher = MomentumTeacher(encoder, head)
        self.register_buffer("center", torch.zeros(prototypes))

    @torch.no_grad()
    def start(self, samples: Samples) -> None:
        self.teacher.ema_update(0.0)  # initial weights may have been loaded since it was built
        # The output of an untrained network is almost the same for all samples: start the center there, not at 0.
        raw = samples.batch(torch.arange(min(len(samples), FIRST)))
        self.center.copy_(self.teacher(self.encoder.preprocess(raw)).mean(0))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        large = self.two_views(x, generator)
        small = [self.local_augmentation(x, generator) for _ in range(self.local_crops)]
        logits = project_together(self.project, *large, *small)
        outputs = project_together(self.teacher, *large)
        self.batch_mean = batch_mean(torch.stack(outputs), (0, 1))
        targets = [((output - self.center) / self.teacher_temperature).softmax(1) for output in outputs]
        max_entropy = math.log(len(self.center))
        return {
            "loss": cross_entropy(targets, logits, self.student_temperature),
            "undecided": entropy(torch.cat(targets)).mean() / max_entropy,
            "used": entropy(batch_mean(torch.cat(targets), 0)) / max_entropy,
            "projection_std": projection_std(logits[0]),
        }

    def after_step(self) -> None:
        self.center.lerp_(self.batch_mean, 1 - self.center_momentum)
        self.teacher.ema_update(cosine_ramp(self.momentum, self.progress))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        large, small = self.augmentation(x, generator), self.local_augmentation(x, generator)
        assigned, predicted = (self.teacher(large) - self.center).argmax(1), self.project(small).argmax(1)
        prototypes = [f"{teacher} / {student}" for teacher, student in zip(assigned.tolist(), predicted.tolist())]
        return {"sample": x, "large crop": large, "small crop": small, "prototype: teacher / student": prototypes}


def cross_entropy(targets: Sequence[Tensor], logits: Sequence[Tensor], temperature: float) -> Tensor:
    """Return the mean cross-entropy over all pairs of a target and a student output for another crop.

    Args:
        targets: (B, K) probabilities of the crops that come first in `logits`.
        logits: (B, K) float32 outputs of the student before the softmax.
        temperature: of the student.
    """
    logarithms = [(output / temperature).log_softmax(1) for output in logits]
    pairs = [(t, s) for (i, t), (j, s) in product(enumerate(targets), enumerate(logarithms)) if i != j]
    return torch.stack([-(target * logarithm).sum(1).mean() for target, logarithm in pairs]).mean()


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy (...) of probabilities (..., K) in nats."""
    return torch.special.entr(probabilities).sum(-1)
