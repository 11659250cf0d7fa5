"""What the loop minimizes, and the contracts of the plugins that say so: variants and pretext tasks.

All tensors are (B, ...). All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.encoder.freezing import FrozenTrunk
from aekit.encoder.preprocessing import Preprocess
from aekit.registry.discovery import Plugin


@dataclass(frozen=True)
class Batch:
    """One batch of training samples.

    Attributes:
        raw: (B, *shape) in the data's own dtype, on the training device.
        labels: (B,), only in supervised runs.
        target: (B, *shape) raw, what is to be restored from `raw` where that is not the sample itself.
        ready: whether `raw` and `target` have been through the layers that stand still, once for the whole training.
    """

    raw: Tensor
    labels: Tensor | None = None
    target: Tensor | None = None
    is_features: bool = False

    def prepare(self, preprocess: Preprocess) -> tuple[Tensor, Tensor | None]:
        """(B, *shape) that the network is trained on, and the targets, as `preprocess` makes them unless they are ready."""
        if self.is_features:
            return self.raw, self.target
        return preprocess(self.raw), None if self.target is None else preprocess(self.target)


@dataclass(frozen=True)
class Step:
    """What a variant's penalty may look at. Everything is on the scale of the preprocessed sample.

    Attributes:
        clean: (B, *shape) the sample.
        corrupted: (B, *shape) what the encoder was shown.
        features: (B, F) of the backbone.
        code: (B, D) that the decoder was given; (K * B, D) where a head draws K codes a sample, one draw after the other.
        reconstruction: (K * B, *shape), after the output activation.
        errors: (K * B,) of the reconstruction, summed over the entries of a sample.
        encode: (B, *shape) -> (B, D), the encoder, for penalties that differentiate it.
        extras: what a variant's head returned beside the code, such as the mean and log-variance of a Gaussian.
        generator: the randomness of this step.
        progress: share of the training that is done, 0 at the first step.
    """

    clean: Tensor
    corrupted: Tensor
    features: Tensor
    code: Tensor
    reconstruction: Tensor
    errors: Tensor
    encode: Callable[[Tensor], Tensor]
    generator: torch.Generator
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    progress: float = 0.0


class Variant(nn.Module):
    """One way to keep an autoencoder from copying. Options are the keyword-only parameters of ``__init__``.

    A variant may change the sample (`present`) and what the encoder is shown of it (`corrupt`), which errors count
    (`emphasis`), how features become a code (`head`) and what is minimized (`penalty`, `bound`); each does nothing unless
    overridden, so that variants compose.

    Attributes:
        progress: share of the training that is done, 0 at the first step; set before each, for what is annealed.
        note: one line about a choice that `start` made, or "".
        needs: recipe settings that it cannot do without, by dotted name, which are taken where the recipe leaves them open.
    """

    requires: ClassVar[Mapping[str, Any]] = {}

    progress: float = 0.0
    note: str = ""

    def prepare(self, preprocess: Preprocess) -> None:
        """Called once before training, with the scaling of the data, for levels given in the data's units."""

    def start(self, encoder: Encoder, decoder: nn.Module, samples: Samples) -> None:
        """Called once before the first step, with the network at its first weights and the training samples: to set first
        weights, to look at the network, or to keep hold of samples."""

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, *shape) -> (B, *shape): the sample as it is at this presentation, to be encoded and to be restored."""
        return x

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, *shape) -> (B, *shape): what the encoder is shown of the sample that is to be restored. Never in place."""
        return x

    def loss_weights(self, clean: Tensor, corrupted: Tensor) -> Tensor | None:
        """Factors (B, *shape) on the errors of the entries; None stands for ones."""
        return None

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module | None:
        """A module (B, F) -> (B, D) for features of `features_shape`, or None. At most one variant of a run may give one.

        It ships with the encoder, so its `forward` must be deterministic. Where training differs, the module also has
        ``draw(features, generator) -> (code, extras)``. Further methods that it may have:

        - ``mirror(features_shape) -> nn.Module``: the decoder's first part, back to (B, *features_shape). Without it, that is a
          linear map.
        - ``sample(count, generator) -> (count, D)``: codes from a prior, which make the autoencoder a generative one.
        - ``divergence(features) -> (B,)``: nats of a sample's posterior against that prior.
        """
        return None

    def penalty(self, step: Step) -> dict[str, Tensor]:
        """Named scalar terms that are added to the loss."""
        return {}

    def metrics(self, step: Step) -> dict[str, Tensor]:
        """Named scalars that are logged and not minimized."""
        return {}

    def reconstruction_loss(self, step: Step) -> Tensor | None:
        """A scalar that takes the place of the mean of `step.errors`. At most one variant of a run may give one."""
        return None

    def after_step(self) -> None:
        """Called after each optimizer step."""

    @property
    def deterministic(self) -> bool:
        """Whether the loss is the same at every call. Override where a penalty draws random numbers."""
        return not (self.implements("corrupt") or self.implements("augment"))

    @classmethod
    def implements(cls, method: str) -> bool:
        """Whether this kind of variant has a `method` of its own, such as ``head``, rather than the one that does nothing."""
        return getattr(cls, method) is not getattr(Variant, method)


class Pretext(nn.Module):
    """A self-made supervision task that trains the encoder. Options are the keyword-only parameters of ``__init__``.

    Subclasses take the encoder first (``def __init__(self, encoder, *, ways: ... = 4)``), pass it to
    ``super().__init__(encoder)`` and own whatever heads their task needs.

    Attributes:
        progress: share of the training that is done, as `Variant.progress`.
        note: one line about a choice that `start` made, or "".
    """

    progress: float = 0.0
    note: str = ""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        # Held in a tuple, so that its weights are not counted among this module's own.
        self._shared = (encoder,)

    @property
    def encoder(self) -> Encoder:
        return self._shared[0]

    def start(self, samples: Samples) -> None:
        """Called once before the first step, with the training samples: to count what the task depends on."""

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, *shape) preprocessed -> ``"loss"`` and detached scalars to log."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each optimizer step, for a momentum teacher."""

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        """What the network sees of these samples and what it says, for an image. Called in eval mode, without gradients.

        Returns:
            rows by title, from the top: samples (B, *shape) on the preprocessed scale, or B short texts. Nothing where there is
            nothing to see.
        """
        return {}

    # Optionally: transform(x: Tensor) -> Tensor, where the trained task is itself an application; and
    # hide(x, generator) -> (visible, hidden), with hidden a bool mask over x, where the task predicts what it hides.


class Objective(nn.Module):
    """What fit sees: a loss over batches, and the encoder that it trains."""

    encoder: Encoder

    def randomness(self) -> list[str]:
        """What draws random numbers in the loss, in words. Second-order optimizers need a loss that is always the same."""
        return ["the objective"]

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that training changes."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def start(self, samples: Samples) -> None:
        """Called once before the first step, with the training samples."""

    def notes(self) -> list[str]:
        """What `start` chose, in a line each, for people."""
        return []

    def set_progress(self, progress: float) -> None:
        """Called before each step with the share of the training that is done, 0 at the first."""

    def frozen_trunk(self) -> FrozenTrunk | None:
        """What stands still and sees every sample the same at each step, so that one pass is enough; None: nothing."""
        return None

    def compilable_networks(self) -> list[nn.Module]:
        """Where the time of a step goes: what can be compiled, each by itself."""
        return [self.encoder.backbone]

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``"loss"``, the scalar to minimize, and detached scalars to log by name."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each optimizer step."""

    def visualize(self, batch: Batch, generator: torch.Generator) -> dict[str, dict[str, Tensor | list[str]]]:
        """What the network sees of these samples and what it says, for an image: for each part that has something to show,
        by its name, rows as `Pretext.show` gives them. Called in eval mode, without gradients."""
        return {}


class Untrained(Objective):
    """What a run ends with that trains nothing: the encoder, with the weights that it was given."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder


class PretextObjective(Objective):
    """A pretext task as an objective.

    Attributes:
        plugin, options: what made the task, for those that save it.
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

    def notes(self) -> list[str]:
        return [self.pretext.note] if self.pretext.note else []

    def set_progress(self, progress: float) -> None:
        self.pretext.progress = progress

    def compilable_networks(self) -> list[nn.Module]:
        return [self.encoder.backbone, *self.pretext.children()]

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return self.pretext.loss(self.encoder.preprocess(batch.raw), generator)

    def after_step(self) -> None:
        self.pretext.after_step()

    def visualize(self, batch: Batch, generator: torch.Generator) -> dict[str, dict[str, Tensor | list[str]]]:
        rows = self.pretext.visualize(self.encoder.preprocess(batch.raw), generator)
        return {"pretext task": rows} if rows else {}


class WeightedSum(Objective):
    """Several objectives over one shared encoder; each part's scalars are logged under its name.

    Args:
        parts: name -> objective; all with the same encoder.
        weights: name -> factor; 1 where not given.
    """

    def __init__(self, parts: Mapping[str, Objective], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self._named = tuple(parts.items())
        self.weights = {name: float(weights.get(name, 1.0)) for name in parts}
        self.encoder = next(iter(parts.values())).encoder

    def randomness(self) -> list[str]:
        return [what for _, part in self._named for what in part.randomness()]

    def start(self, samples: Samples) -> None:
        for _, part in self._named:
            part.start(samples)

    def notes(self) -> list[str]:
        return [note for _, part in self._named for note in part.notes()]

    def set_progress(self, progress: float) -> None:
        for _, part in self._named:
            part.set_progress(progress)

    def compilable_networks(self) -> list[nn.Module]:
        return list(dict.fromkeys(network for _, part in self._named for network in part.compilable_networks()))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        total, logged = torch.zeros((), device=batch.raw.device), dict[str, Tensor]()
        for name, part in self._named:
            terms = part.loss(batch, generator)
            total = total + self.weights[name] * terms["loss"]
            logged |= {name if term == "loss" else f"{name}/{term}": value.detach() for term, value in terms.items()}
        return {"loss": total, **logged}

    def after_step(self) -> None:
        for _, part in self._named:
            part.after_step()

    def visualize(self, batch: Batch, generator: torch.Generator) -> dict[str, dict[str, Tensor | list[str]]]:
        return {name: rows for name, part in self._named for rows in part.visualize(batch, generator).values()}
