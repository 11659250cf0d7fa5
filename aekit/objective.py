"""What the loop minimises, and the contracts of the plugins that say so: variants and pretext tasks.

All tensors are (B, ...). All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from aekit.encoder import Encoder
from aekit.preprocess import Preprocess


@dataclass(frozen=True)
class Batch:
    """One batch of training samples.

    Attributes:
        raw: (B, *shape) in the data's own dtype, on the training device.
        labels: (B,), only in supervised runs.
    """

    raw: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """What a variant's penalty may look at. Everything is on the scale of the preprocessed sample.

    Attributes:
        clean: (B, *shape) the sample.
        corrupted: (B, *shape) what the encoder was shown.
        features: (B, F) of the backbone.
        code: (B, D) that the decoder was given.
        reconstruction: (B, *shape), after the output activation.
        encode: (B, *shape) -> (B, D), the encoder, for penalties that differentiate it.
        extras: what a variant's head returned beside the code, such as the mean and log-variance of a Gaussian.
        generator: the randomness of this step.
    """

    clean: Tensor
    corrupted: Tensor
    features: Tensor
    code: Tensor
    reconstruction: Tensor
    encode: Callable[[Tensor], Tensor]
    generator: torch.Generator
    extras: Mapping[str, Tensor] = field(default_factory=dict)


class Variant(nn.Module):
    """One way to keep an autoencoder from copying. Options are the keyword-only parameters of ``__init__``.

    A variant may change what the encoder is shown (`corrupt`), how features become a code (`head`) and what is minimised
    (`penalty`); each does nothing unless overridden, so that variants compose.
    """

    def prepare(self, preprocess: Preprocess) -> None:
        """Called once before training, with the scaling of the data, for levels given in the data's units."""

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, *shape) -> (B, *shape). Never in place."""
        return x

    def head(self, features_dim: int, dim: int) -> nn.Module | None:
        """A module (B, F) -> (B, D), or None. At most one variant of a run may give one.

        It ships with the encoder, so its `forward` must be deterministic. Where training differs, the module also has
        ``draw(features, generator) -> (code, extras)``.
        """
        return None

    def penalty(self, step: Step) -> dict[str, Tensor]:
        """Named scalar terms that are added to the loss."""
        return {}

    def after_step(self) -> None:
        """Called after each optimizer step."""


class Pretext(nn.Module):
    """A self-made supervision task that trains the encoder. Options are the keyword-only parameters of ``__init__``.

    Subclasses take the encoder first (``def __init__(self, encoder, *, ways: ... = 4)``), pass it to
    ``super().__init__(encoder)`` and own whatever heads their task needs.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        # Held in a tuple, so that its weights are not counted among this module's own.
        self._shared = (encoder,)

    @property
    def encoder(self) -> Encoder:
        return self._shared[0]

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, *shape) preprocessed -> ``"loss"`` and detached scalars to log."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each optimizer step, for a momentum teacher."""

    # Optionally: transform(x: Tensor) -> Tensor, where the trained task is itself an application; and
    # hide(x, generator) -> (visible, hidden), with hidden a bool mask over x, where the task predicts what it hides.


class Objective(nn.Module):
    """What fit sees: a loss over batches, and the encoder that it trains."""

    encoder: Encoder

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``"loss"``, the scalar to minimise, and detached scalars to log by name."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each optimizer step."""


class PretextObjective(Objective):
    """A pretext task as an objective."""

    def __init__(self, encoder: Encoder, pretext: Pretext) -> None:
        super().__init__()
        self.encoder, self.pretext = encoder, pretext

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return self.pretext.loss(self.encoder.preprocess(batch.raw), generator)

    def after_step(self) -> None:
        self.pretext.after_step()


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
