"""Classification from a code: the head, the loss and predictions as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

from aekit.registry.options import Field

HeadWidth = Annotated[int, Field(ge=0, description="width of the classifier's hidden layer; 0: none")]
"""Option of tasks that classify."""


def classification_head(in_features: int, width: int, classes: int) -> nn.Sequential:
    """Build a head (B, in_features) -> (B, classes) logits with one hidden layer, or none if `width` is 0.

    A hidden layer leaves the code more freedom: without it, the classes must be linearly separable in the code itself.
    """
    if width == 0:
        return nn.Sequential(nn.Linear(in_features, classes))
    return nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, classes))


def classification_loss(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return the cross-entropy as ``"loss"`` and the ``"accuracy"``, both scalars.

    Args:
        logits: (B, classes).
        targets: (B,) class indices.
    """
    logits = logits.float()
    return {"loss": F.cross_entropy(logits, targets), "accuracy": (logits.argmax(1) == targets).float().mean()}


def format_predictions(logits: Tensor, names: Sequence[str]) -> list[str]:
    """Format the predictions of (B, classes) logits with their probabilities: ``90° (87%)``."""
    probabilities, indices = logits.float().softmax(1).max(1)
    return [f"{names[n]} ({100 * p:.0f}%)" for n, p in zip(indices.tolist(), probabilities.tolist())]
