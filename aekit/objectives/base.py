"""Objectives that training minimizes, and the contracts of variants and pretext tasks.

All tensors are (B, ...). All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.encoder.freezing import FrozenTrunk
from aekit.encoder.preprocessing import Preprocess
from aekit.objectives.returned_values import check_loss
from aekit.progress import SILENT, Progress
from aekit.registry.discovery import Plugin


@dataclass(frozen=True)
class Batch:
    """One batch of training samples.

    Attributes:
        raw: (B, *shape) in the data's own dtype, on the training device.
        labels: (B,), only in supervised runs.
        target: (B, *shape) raw, what to restore from `raw`, if not `raw` itself.
        is_features: whether `raw` and `target` are features of the frozen layers, computed once for the whole training.
        total: number of samples of the whole batch, of which other processes have the rest; None: these are all.
        positions: (B,) of the samples among those that `Objective.start` received, on the CPU; None if they are others.
    """

    raw: Tensor
    labels: Tensor | None = None
    target: Tensor | None = None
    is_features: bool = False
    total: int | None = None
    positions: Tensor | None = None

    def prepare(self, preprocess: Preprocess) -> tuple[Tensor, Tensor | None]:
        """Return network inputs (B, *shape) and targets, preprocessed unless they are features."""
        if self.is_features:
            return self.raw, self.target
        return preprocess(self.raw), None if self.target is None else preprocess(self.target)


@dataclass(frozen=True)
class Step:
    """Tensors of a training step for a variant's penalty, on the scale of the preprocessed sample.

    Attributes:
        clean: (B, *shape) the sample.
        corrupted: (B, *shape) the encoder's input.
        features: (B, F) output of the backbone.
        code: (B, D) input of the decoder; (K * B, D) if a head draws K codes per sample, one draw after the other.
        output: (K * B, *shape) of the decoder, before the output activation.
        errors: (K * B,) errors of the reconstruction, summed over the entries of a sample.
        encode: the encoder, (B, *shape) -> (B, D), for penalties that differentiate it.
        extras: what a variant's head returned in addition to the code, such as the mean and log-variance of a Gaussian.
        generator: source of all randomness in this step.
        progress: fraction of the training that is done, 0 at the first step.
        activate: the output activation.
        reconstruction: (K * B, *shape), after the output activation; computed where a variant reads it.
    """

    clean: Tensor
    corrupted: Tensor
    features: Tensor
    code: Tensor
    output: Tensor
    errors: Tensor
    encode: Callable[[Tensor], Tensor]
    generator: torch.Generator
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    progress: float = 0.0
    activate: Callable[[Tensor], Tensor] = lambda output: output

    @cached_property
    def reconstruction(self) -> Tensor:
        return self.activate(self.output)


class Variant(nn.Module):
    """One way to keep an autoencoder from copying. Options are the keyword-only parameters of ``__init__``.

    A variant may change the sample (`augment`), the encoder's input (`corrupt`), the weights of errors (`loss_weights`), the
    map from features to code (`head`), and the loss (`penalty`, `reconstruction_loss`). Each method does nothing unless
    overridden, so variants compose.

    Attributes:
        progress: fraction of the training that is done, 0 at the first step; set before each step, for annealing.
        note: one line about a choice that `start` made, or "".
        requires: recipe settings that it needs, by dotted name; they are used where the recipe leaves them open.
        needs_whole_weights: whether it reads or sets weights of the backbone, or differentiates it twice. Processes cannot share
            the weights then (``train.sharding``).
    """

    plugin_kind: ClassVar[str] = "variant"
    requires: ClassVar[Mapping[str, Any]] = {}
    needs_whole_weights: ClassVar[bool] = False

    progress: float = 0.0
    note: str = ""

    def prepare(self, preprocess: Preprocess) -> None:
        """Receive the scaling of the data once before training, for levels given in the data's units."""

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        """Receive the initialized network and the training samples once before the first step, for example to set initial
        weights or to keep samples."""

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Transform samples (B, *shape) -> (B, *shape) before they are encoded; the result is also the target."""
        return x

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Corrupt samples (B, *shape) -> (B, *shape) for the encoder; the target stays clean. Never in place."""
        return x

    def loss_weights(self, clean: Tensor, corrupted: Tensor) -> Tensor | None:
        """Return weights (B, *shape) of the elementwise errors; None means ones."""
        return None

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module | None:
        """Return a module (B, F) -> (B, D) for features of `features_shape`, or None. At most one variant of a run may give one.

        The head ships with the encoder, so its `forward` must be deterministic. If training differs, the module also has
        ``draw(features, generator) -> (code, extras)``. Optional methods:

        - ``mirror(features_shape) -> nn.Module``: the first part of the decoder, back to (B, *features_shape); a linear map if
          missing.
        - ``sample(count, generator) -> (count, D)``: draws codes from a prior, which makes the autoencoder generative.
        - ``divergence(features) -> (B,)``: returns the divergence of each posterior from the prior in nats.
        """
        return None

    def penalty(self, step: Step) -> dict[str, Tensor]:
        """Return named scalar terms to add to the loss."""
        return {}

    def metrics(self, step: Step) -> dict[str, Tensor]:
        """Return named scalars to log, not to minimize."""
        return {}

    def reconstruction_loss(self, step: Step) -> Tensor | None:
        """Return a scalar to replace the mean of `step.errors`, or None. At most one variant of a run may give one."""
        return None

    def after_step(self) -> None:
        """Update state after each optimizer step."""

    @property
    def deterministic(self) -> bool:
        """True if the loss is the same at every call. Override if a penalty draws random numbers."""
        return not (self.implements("corrupt") or self.implements("augment"))

    @classmethod
    def implements(cls, method: str) -> bool:
        """Return True if this variant overrides a `method`, such as ``head``."""
        return getattr(cls, method) is not getattr(Variant, method)


class Pretext(nn.Module):
    """A self-made supervision task that trains the encoder. Options are the keyword-only parameters of ``__init__``.

    Subclasses take the encoder first (``def __init__(self, encoder, *, angles: ... = 4)``), pass it to
    ``super().__init__(encoder)`` and own the heads that their task needs.

    Attributes:
        min_batch: samples that a batch needs, such as 2 for a task that compares samples.
        progress: fraction of the training that is done, as in `Variant.progress`.
        note: one line about a choice that `start` made, or "".
        positions: (B,) positions of the batch's samples among those of `start`, on the CPU, or None; set before each `loss`.
        display: receives bars and lines of what `start` does, where that takes long.
        needs_whole_weights: as of `Variant`.
    """

    plugin_kind: ClassVar[str] = "pretext"
    needs_whole_weights: ClassVar[bool] = False
    min_batch: ClassVar[int] = 1
    progress: float = 0.0
    note: str = ""
    positions: Tensor | None = None
    display: Progress = SILENT

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        # In a tuple, so that its weights are not registered as this module's parameters.
        self._shared = (encoder,)

    @property
    def encoder(self) -> Encoder:
        return self._shared[0]

    def start(self, samples: Samples) -> None:
        """Receive the training samples once before the first step, to compute statistics that the task depends on."""

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return ``"loss"`` and detached scalars to log for preprocessed samples (B, *shape)."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Update state after each optimizer step, such as a momentum teacher."""

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        """Return the network's inputs and outputs for these samples, to draw. Called in eval mode, without gradients.

        Returns:
            rows by title, from the top: samples (B, *shape) on the preprocessed scale, or B short texts. Empty if there is
            nothing to show.
        """
        return {}

    # Optionally: transform(x: Tensor) -> Tensor, if the trained task is itself an application; and
    # mask_input(x, generator) -> (visible, hidden), with hidden a bool mask over x, if the task predicts what it hides.


class Objective(nn.Module):
    """A loss over batches, and the encoder that it trains."""

    encoder: Encoder

    def randomness(self) -> list[str]:
        """Name what draws random numbers in the loss. Second-order optimizers need a deterministic loss."""
        return ["the objective"]

    def trained(self) -> Iterator[nn.Parameter]:
        """Return the parameters that training changes."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def start(self, samples: Samples) -> None:
        """Receive the training samples once before the first step."""

    def start_backbone(self, samples: Samples) -> None:
        """Let the backbone receive the training samples, unless its weights are pretrained and hold what it took from others."""
        if "weights" not in self.encoder.record:
            self.encoder.backbone.start(samples, self.encoder.preprocess)

    def set_display(self, display: Progress) -> None:
        """Receive where `start` reports its progress."""

    def notes(self) -> list[str]:
        """Return one line about each choice that `start` made."""
        return []

    def min_batch(self) -> int:
        """Return the number of samples that a batch needs."""
        return 1

    def set_progress(self, progress: float) -> None:
        """Receive the fraction of the training that is done before each step, 0 at the first."""

    def frozen_trunk(self) -> FrozenTrunk | None:
        """Return the frozen layers that see every sample unchanged in each step, so that one pass is enough, or None."""
        return None

    def compilable_networks(self) -> list[nn.Module]:
        """Return the networks that take the time of a step and can each be compiled."""
        return [self.encoder.backbone]

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return ``"loss"``, the scalar to minimize, and detached scalars to log by name."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Update state after each optimizer step."""

    def visualize(self, batch: Batch, generator: torch.Generator) -> dict[str, dict[str, Tensor | list[str]]]:
        """Return rows as `Pretext.visualize`, by the name of each part that has any; in eval mode, without gradients."""
        return {}


class Untrained(Objective):
    """The objective of a run without training: the encoder with its initial weights."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def start(self, samples: Samples) -> None:
        self.start_backbone(samples)


class PretextObjective(Objective):
    """A pretext task as an objective.

    Attributes:
        plugin, options: the plugin and options that built the task, recorded when it is saved.
    """

    def __init__(
        self,
        encoder: Encoder,
        pretext: Pretext,
        plugin: Plugin | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.pretext = encoder, pretext
        self.plugin, self.options = plugin, dict(options or {})

    def randomness(self) -> list[str]:
        return ["the pretext task"]

    def start(self, samples: Samples) -> None:
        self.pretext.start(samples)

    def set_display(self, display: Progress) -> None:
        self.pretext.display = display

    def notes(self) -> list[str]:
        return [self.pretext.note] if self.pretext.note else []

    def min_batch(self) -> int:
        return self.pretext.min_batch

    def set_progress(self, progress: float) -> None:
        self.pretext.progress = progress

    def compilable_networks(self) -> list[nn.Module]:
        return [self.encoder.backbone, *self.pretext.children()]

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        self.pretext.positions = batch.positions
        return check_loss(self.pretext, self.pretext.loss(self.encoder.preprocess(batch.raw), generator))

    def after_step(self) -> None:
        self.pretext.after_step()

    def visualize(self, batch: Batch, generator: torch.Generator) -> dict[str, dict[str, Tensor | list[str]]]:
        rows = self.pretext.visualize(self.encoder.preprocess(batch.raw), generator)
        return {"pretext task": rows} if rows else {}
