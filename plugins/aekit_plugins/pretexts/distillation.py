"""Distillation: learn the features of a frozen teacher, such as a pretrained network, on unlabeled samples."""

from __future__ import annotations

from typing import Annotated, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.nn.augment.presets import CropOptions, augmentation_for
from aekit.nn.gather import gather
from aekit.objectives.joint_embedding import cosine_similarities, force_float32
from aekit.objectives.teacher import KeptViews, Teacher
from aekit.plugin import Encoder, Field, Pretext, Samples

MEASURED = 4096
"""Views from which the mean and the deviation of the teacher's features are computed."""
ANGLE_WEIGHT = 2.0
"""Weight of the angles relative to the distances, as in the paper."""
ROUNDING = 1e-5
"""Squared distance of samples that are equal, relative to the mean square."""

_TEACHER = Field(
    min_length=1,
    description="timm:MODEL, timm:MODEL@FILE with its weights, or the folder of an encoder; initial: the encoder itself with its "
    "initial weights; auto: for images a pretrained network on this machine, else initial",
)
_SIZE = Field(
    ge=8,
    le=4096,
    description="side of the teacher's input; by default what its weights expect; smaller is faster",
    json_schema_extra={"search": False},  # sides that suit the weights are few, and large ones take hours
)
_KEPT = "views of each sample, itself and augmented ones, with features computed once; fresh: new ones at every step"
_Views = Annotated[int, Field(ge=1, le=1024)]


class Distillation(Pretext):
    """Predict the features that a frozen teacher computes for the same view of a sample.

    ``cosine`` maximizes the cosine similarity of a linear map of the code and the teacher's features, around their mean;
    ``smooth-l1`` fits the standardized features; ``relational`` matches distances and angles between the samples of a batch,
    without a map.

    With ``views = N``, the teacher sees N views of each sample before training, and never again; with ``fresh``, a new view of
    each at every step. The encoder's record holds the teacher's digest.

    Logged: ``same_neighbor``, how often the nearest sample of the batch is the same for code and teacher.

    Romero et al., FitNets: hints for thin deep nets, 2015; Park, Kim, Lu and Cho, Relational knowledge distillation, 2019;
    the same view for both: Beyer et al., Knowledge distillation: a good teacher is patient and consistent, 2022.
    """

    min_batch = 2

    def __init__(
        self,
        encoder: Encoder,
        *,
        teacher: Annotated[str, _TEACHER] = "auto",
        teacher_size: Annotated[int | None, _SIZE] = None,
        losses: Annotated[
            list[Literal["cosine", "smooth-l1", "relational"]],
            Field(min_length=1, description="distances to the teacher, which are summed"),
        ] = ["cosine", "relational"],  # noqa: B006
        views: Annotated[
            Literal["fresh"] | _Views, Field(description=_KEPT, json_schema_extra={"search": [4, 16]})
        ] = 16,
        **augmentations: Unpack[CropOptions],
    ) -> None:
        super().__init__(encoder)
        # Neither the teacher nor its features are part of the task that is saved.
        self.teacher = Teacher(teacher, encoder, "objective.distillation.teacher", teacher_size)
        self.losses, self.views = [*dict.fromkeys(losses)], views
        self.kept: KeptViews | None = None
        self.augmentation = augmentation_for(encoder.spec, encoder.preprocess, **augmentations)
        self.projector = nn.Identity() if self.losses == ["relational"] else nn.Linear(encoder.dim, self.teacher.dim)
        self.register_buffer("mean", torch.zeros(self.teacher.dim))
        self.register_buffer("std", torch.ones(self.teacher.dim))

    def start(self, samples: Samples) -> None:
        if self.teacher.is_student:
            self.teacher.refresh()  # initial weights may have been loaded since it was built
        if self.views == "fresh":
            positions = torch.arange(0, len(samples), -(-len(samples) // 512))
            generator = torch.Generator(samples.device).manual_seed(0)
            parts = [self.encoder.preprocess(samples.batch(part)) for part in positions.split(64)]
            features = torch.cat([self.teacher(self.augmentation(part, generator)) for part in parts])
        else:
            place = "objective.distillation.views"
            self.kept = KeptViews(
                samples, self.encoder, self.teacher, self.augmentation, self.views, place=place, display=self.display
            )
            step = -(-len(samples) * self.views // MEASURED)
            features = torch.from_numpy(self.kept.features[::step].copy()).flatten(0, 1).to(samples.device).float()
        self.mean, self.std = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
        self.encoder.record["teacher"] = self.teacher.record
        views = (
            "a new view of each sample at every step" if self.views == "fresh" else f"{self.views} views of each sample"
        )
        drawn = "" if self.views == 1 else f"; augmentation: {self.augmentation.description}"
        self.note = f"teacher: {self.teacher.description}, {self.teacher.dim} features, {views}{drawn}"

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if self.kept is not None and self.positions is not None:
            x, features = self.kept.draw(x, self.positions, generator)
        else:
            x = x if self.views == 1 else self.augmentation(x, generator)
            features = self.teacher(x)
        code, target = self.encoder.encode(x), features - self.mean
        predicted = self.projector(code)
        terms = {name: self._distance(name, code, predicted, target) for name in self.losses}
        logged = {name.replace("-", "_"): value.detach() for name, value in terms.items()} if len(terms) > 1 else {}
        return {
            "loss": torch.stack([*terms.values()]).sum(),
            **logged,
            "same_neighbor": same_neighbor(*gather(code.detach(), target)),
        }

    def _distance(self, name: str, code: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        if name == "relational":
            return relational_distance(*gather(code, target))
        return cosine_distance(predicted, target) if name == "cosine" else smooth_l1(predicted, target / self.std)


@force_float32
def cosine_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Return one minus the mean cosine similarity of (B, F) and (B, F)."""
    return 1 - F.cosine_similarity(predicted, target, dim=1).mean()


@force_float32
def smooth_l1(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean of the smooth L1 distance of (B, F) and (B, F)."""
    return F.smooth_l1_loss(predicted, target)


@force_float32
def relational_distance(code: Tensor, target: Tensor) -> Tensor:
    """Return how much distances and angles between codes (B, D) differ from those between targets (B, F)."""
    distances, angles = (F.smooth_l1_loss(*pair) for pair in zip(relations(code), relations(target)))
    return distances + ANGLE_WEIGHT * angles


def relations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances (B, B) between samples (B, D), relative to their mean, and the cosines (B, B, B) of the angles that
    two samples form, seen from a third, which is the first axis."""
    x, diagonal = x - x.mean(0), torch.eye(len(x), device=x.device)
    products = x @ x.T
    squares = products.diagonal()
    # Above the rounding of equal samples, and because the gradient of a root is infinite at 0.
    shift = ROUNDING * squares.detach().mean() + 1e-12
    distances = ((squares[:, None] + squares - 2 * products).clamp(min=0) + shift).sqrt() * (1 - diagonal)
    between = products[None] - products[:, :, None] - products[:, None] + squares[:, None, None]
    lengths = distances + diagonal
    relative = distances * (len(x) * (len(x) - 1) / distances.sum().clamp(min=1e-12))
    return relative, between / (lengths[:, :, None] * lengths[:, None])


@torch.no_grad()
def same_neighbor(code: Tensor, target: Tensor) -> Tensor:
    """Return the fraction of samples whose nearest other sample, by cosine, is the same for codes (B, D) and targets (B, F)."""
    of_code, of_target = (
        cosine_similarities(vectors, vectors).fill_diagonal_(-torch.inf).argmax(1)
        for vectors in (code.float() - code.float().mean(0), target)
    )
    return (of_code == of_target).float().mean()
