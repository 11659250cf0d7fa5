"""Pretext tasks that damage samples and restore them; a trained task is also an application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from aekit.encoder.backbone import Decoder, apply_any_size
from aekit.encoder.encoder import Encoder
from aekit.nn.gather import batch_sum
from aekit.objectives.base import Pretext
from aekit.objectives.losses import LOSSES
from aekit.objectives.returned_values import check_mask, check_samples, refusal
from aekit.registry.options import Field

LossOption = Annotated[
    Literal["mse", "huber", "bce", "gaussian", "logistic", "ssim"],
    Field(description="loss of the restoration, as objective.loss for reconstructions"),
]
ResidualOption = Annotated[
    bool | None,
    Field(
        description="predict the difference to the input: best for restoring, while a code that holds the whole sample is the "
        "better embedding; by default on if the code is the backbone's features (encoder.dim = 0)"
    ),
]


@dataclass(frozen=True)
class DamagedBatch:
    """Samples to restore, on the scale of the preprocessed sample.

    Attributes:
        visible: (B, *shape) input of the network.
        mask: bool (B, 1, ...), the entries to restore; None: everything.
        weights: (B, 1, ...) weights of the errors; None: 1 inside the mask, 0 outside.
    """

    visible: Tensor
    mask: Tensor | None = None
    weights: Tensor | None = None

    def composite(self, restored: Tensor) -> Tensor:
        """Combine the network's output (B, *shape) inside the mask with the input outside of it."""
        return restored if self.mask is None else torch.where(self.mask, restored, self.visible)


Baseline = Callable[[DamagedBatch], Tensor]
"""A simple method: damaged samples -> restored samples (B, *shape)."""


class RestorationTask(Pretext):
    """Predict the original samples from damaged ones.

    Subclasses define `damage` and may override the rest. Images may have any size that the network accepts (see
    `aekit.encoder.backbone.apply_any_size`); sizes of the damage stay as in training, counted in entries.

    Attributes:
        task: its name in `aekit apply --task`.
        damaged_label: name of the damaged samples as a baseline.
        any_size: whether `transform` resizes images of any size to the network's input size by itself.
        enlarges: whether `prepare_damaged` enlarges samples.
        directed: whether a mask may say where to restore; otherwise that is the same in every sample, or everything.
        decoder: (B, D) -> (B, *shape), before the activation of `likelihood`.
        likelihood: the loss between restored and original samples.

    Args:
        loss: name of the loss, as in `aekit.objectives.losses.LOSSES`.
        residual: whether the network's output is added to its input; None: if the code is the backbone's features.

    Raises:
        ValueError: the backbone has no decoder, or the loss does not fit the data.
    """

    task: ClassVar[str]
    damaged_label: str = "input"
    any_size: ClassVar[bool] = False
    enlarges: ClassVar[bool] = False
    directed: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, loss: str = "mse", residual: bool | None = None) -> None:
        super().__init__(encoder)
        self.unit = encoder.preprocess.unit
        if LOSSES[loss].unit and not self.unit:
            raise ValueError(f"loss = {loss!r} needs data in [0, 1]: set encoder.scaling = 'unit', or use 'mse'")
        self.likelihood = LOSSES[loss](encoder.spec)
        self.residual = not encoder.architecture["dim"] if residual is None else residual
        self.decoder = self.make_decoder()
        if self.residual and isinstance(self.decoder, Decoder) and len(self.decoder.mirrors):
            for parameter in self.decoder.mirrors[0].parameters():  # the output layer: initially, nothing is added
                torch.nn.init.zeros_(parameter)

    def make_decoder(self, channels: int | None = None) -> torch.nn.Module:
        """Build the decoder as `Encoder.decoder` does, but raise ValueError if there is none."""
        try:
            return self.encoder.decoder(channels)
        except NotImplementedError as error:
            raise ValueError(f"the task restores samples, but {error}") from None

    def damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        """Damage original samples (B, *shape) for training, without changing them in place."""
        raise NotImplementedError

    def checked_damage(self, x: Tensor, generator: torch.Generator) -> DamagedBatch:
        """Damage original samples (B, *shape) by `damage`, in full precision.

        Raises:
            PluginError: `damage` returned something else than a `DamagedBatch` that fits the samples.
        """
        with torch.autocast(x.device.type, enabled=False):  # coordinates and samples need full precision
            damaged = self.damage(x, generator)
        if not isinstance(damaged, DamagedBatch):
            raise refusal(self, "damage", damaged, "a DamagedBatch, such as DamagedBatch(visible)")
        check_samples(self, "damage", damaged.visible, x)
        if damaged.mask is not None:
            check_mask(self, "damage", damaged.mask, x)
        return damaged

    def prepare_damaged(self, x: Tensor, hidden: Tensor | None = None) -> DamagedBatch:
        """Prepare samples (B, *shape) that are already damaged for the network.

        Args:
            x: (B, *shape) damaged samples.
            hidden: bool (B, 1, ...), the entries to restore, for tasks that take a mask.
        """
        return DamagedBatch(x, hidden)

    def decode(self, visible: Tensor) -> Tensor:
        """Return the decoder's raw output for inputs (B, *shape)."""
        encoder = self.encoder
        if tuple(visible.shape[1:]) == tuple(encoder.spec.shape):
            return self.decoder(encoder.encode(visible)).float()
        return apply_any_size(encoder.backbone, self.decoder, visible).float()

    def output(self, visible: Tensor) -> Tensor:
        """Return restored samples (B, *shape) before the activation, for inputs (B, *shape)."""
        decoded = self.decode(visible)
        return decoded + self.likelihood.inverse_activation(visible) if self.residual else decoded

    def transform(self, x: Tensor) -> Tensor:
        """Restore inputs (B, *shape) -> (B, *shape), without compositing."""
        restored = self.likelihood.activate(self.output(x))
        return restored.clamp(0, 1) if self.unit else restored

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean error per entry, and the fraction of the damage, as squared error, that is removed."""
        damaged = self.checked_damage(x, generator)
        output = self.output(damaged.visible)
        weights = damaged.weights
        if weights is None and damaged.mask is not None:
            weights = damaged.mask.float()
        weights = torch.ones_like(x) if weights is None else weights.expand_as(x)
        loss = batch_sum(self.likelihood(output, x, weights).sum()) / batch_sum(weights.sum())
        with torch.no_grad():
            restored = damaged.composite(self.likelihood.activate(output))
            after, before = (batch_sum((version - x).square().sum()) for version in (restored, damaged.visible))
        return {"loss": loss, "error_reduction": 1 - after / before.clamp(min=1e-12)}

    def baselines(self, notes: list[str]) -> Mapping[str, Baseline]:
        """Return simple methods to compare with, by name. The first leaves the damage.

        Args:
            notes: receives a line about each method that is unavailable.
        """
        return {self.damaged_label: lambda damaged: damaged.visible}

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        damaged = self.checked_damage(x, generator)
        output = damaged.composite(self.transform(damaged.visible))
        return {"network input": damaged.visible, "network output": output, "sample": x}
