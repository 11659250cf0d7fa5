"""Pretext tasks that damage samples and restore them. Once trained, such a task is an application of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from aekit.encoder.backbone import Decoder, apply_any_size
from aekit.encoder.encoder import Encoder
from aekit.objectives.base import Pretext
from aekit.objectives.losses import LOSSES
from aekit.registry.options import Field

LossOption = Annotated[
    Literal["mse", "huber", "bce", "gaussian", "logistic", "ssim"],
    Field(description="of the restoration, as objective.loss is of a reconstruction"),
]
ResidualOption = Annotated[
    bool | None,
    Field(
        description="the network gives what is to be added to what it sees: best for restoring, while a code that has to "
        "hold the sample is the better embedding; by default where the code is the features themselves (encoder.dim = 0)"
    ),
]


@dataclass(frozen=True)
class DamagedBatch:
    """Samples that are to be restored, all on the scale of the preprocessed sample.

    Attributes:
        visible: (B, *shape) what the network is shown.
        hidden: bool (B, 1, ...), what alone is to be restored; None: everything.
        weights: (B, 1, ...) factors on the errors; None: 1 in what is to be restored, 0 in the rest.
    """

    visible: Tensor
    mask: Tensor | None = None
    weights: Tensor | None = None

    def composite(self, restored: Tensor) -> Tensor:
        """(B, *shape) of the network -> the same, with what was never hidden as it was."""
        return restored if self.mask is None else torch.where(self.mask, restored, self.visible)


Baseline = Callable[[DamagedBatch], Tensor]
"""Damaged samples -> (B, *shape) what a simple way makes of them."""


class RestorationTask(Pretext):
    """Shows the network damaged samples and asks for the whole ones.

    Subclasses define `damage`; the rest has a meaning that they may change. Images may be of any size where the network takes
    them (see `aekit.encoder.backbone.through`); what has an extent in training keeps it, counted in entries.

    Attributes:
        task: what `aekit apply --task` calls it.
        left: what samples are called whose damage is left, as a baseline.
        any_size: whether `transform` brings images of any size to that of the network by itself.
        enlarges: whether `take` makes samples larger.
        directed: whether it can be told where to restore; otherwise that is the same in every sample, or all of it.
        decoder: (B, D) -> (B, *shape), before the activation of `likelihood`.
        likelihood: how restored and whole samples are compared.

    Args:
        loss: name of that comparison, as in `aekit.objectives.losses.LOSSES`.
        residual: whether the network's output is added to what it sees; None: where its code is the features themselves.

    Raises:
        ValueError: the backbone has no decoder, or the loss does not fit the data.
    """

    task: ClassVar[str]
    damaged_label: str = "as they are"
    any_size: ClassVar[bool] = False
    enlarges: ClassVar[bool] = False
    directed: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, loss: str = "mse", residual: bool | None = None) -> None:
        super().__init__(encoder)
        self.unit = encoder.preprocess.unit
        if LOSSES[loss].unit and not self.unit:
            raise ValueError(f"loss = {loss!r} needs data in [0, 1], set encoder.scaling = 'unit'; 'mse' takes any")
        self.likelihood = LOSSES[loss](encoder.spec)
        self.residual = not encoder.architecture["dim"] if residual is None else residual
        self.decoder = self.make_decoder()
        if self.residual and isinstance(self.decoder, Decoder) and len(self.decoder.mirrors):
            for parameter in self.decoder.mirrors[0].parameters():  # which gives the output: at first, nothing is added
                torch.nn.init.zeros_(parameter)

    def make_decoder(self, channels: int | None = None) -> torch.nn.Module:
        """As `Encoder.decoder`, with what is missing as a ValueError."""
        try:
            return self.encoder.decoder(channels)
        except NotImplementedError as error:
            raise ValueError(f"the task restores samples, but {error}") from None

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        """(B, *shape) whole samples, damaged as for training."""
        raise NotImplementedError

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        """(B, *shape) samples that are damaged already, as the network is to be shown them.

        Args:
            hidden: bool (B, 1, ...), where they are to be restored, for tasks that have to be told.
        """
        return DamagedBatch(x, hidden)

    def decode(self, visible: Tensor) -> Tensor:
        """(B, *shape) -> (B, *shape) or what else the decoder gives, as it leaves the decoder."""
        encoder = self.encoder
        if tuple(visible.shape[1:]) == tuple(encoder.spec.shape):
            return self.decoder(encoder.encode(visible)).float()
        return apply_any_size(encoder.backbone, self.decoder, visible).float()

    def output(self, visible: Tensor) -> Tensor:
        """(B, *shape) -> (B, *shape), before the activation."""
        given = self.decode(visible)
        return given + self.likelihood.inverse_activation(visible) if self.residual else given

    def transform(self, x: Tensor) -> Tensor:
        """(B, *shape) as the network is to be shown them -> (B, *shape) restored, all of it."""
        restored = self.likelihood.activate(self.output(x))
        return restored.clamp(0, 1) if self.unit else restored

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, *shape) -> the mean error of an entry, and the share of the damage, as squared error, that is repaired."""
        with torch.autocast(x.device.type, enabled=False):  # places and samples need all digits
            damaged = self.damage(x, generator)
        output = self.output(damaged.visible)
        weights = damaged.weights
        if weights is None and damaged.mask is not None:
            weights = damaged.mask.float()
        weights = torch.ones_like(x) if weights is None else weights.expand_as(x)
        loss = self.likelihood(output, x, weights).sum() / weights.sum()
        with torch.no_grad():
            restored = damaged.composite(self.likelihood.activate(output))
            left, before = ((given - x).square().sum() for given in (restored, damaged.visible))
        return {"loss": loss, "repaired": 1 - left / before.clamp(min=1e-12)}

    def baselines(self, notes: list[str]) -> Mapping[str, Baseline]:
        """Simple ways to restore, by name: what the network has to beat. The first leaves the damage.

        Args:
            notes: receives a line about each way that cannot be used here.
        """
        return {self.damaged_label: lambda damaged: damaged.visible}

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        damaged = self.damage(x, generator)
        return {"sees": damaged.visible, "restores": damaged.composite(self.transform(damaged.visible)), "sample": x}
