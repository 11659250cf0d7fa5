"""Questions with a few possible answers, which a network answers from a code: the head, the loss, and the answer in words."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


def classification_head(inside: int, width: int, answers: int) -> nn.Sequential:
    """(B, inside) -> (B, answers) logits, by one hidden layer, or by none where `width` is 0.

    A hidden layer leaves the code free: without it, what the answers have in common is squeezed out of the code itself.
    """
    if width == 0:
        return nn.Sequential(nn.Linear(inside, answers))
    return nn.Sequential(nn.Linear(inside, width), nn.ReLU(), nn.Linear(width, answers))


def classification_loss(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Cross-entropy as ``"loss"``, and the ``"accuracy"``, both scalars.

    Args:
        told: (B, answers) logits.
        right: (B,) numbers of the right answers.
    """
    logits = logits.float()
    return {"loss": F.cross_entropy(logits, targets), "accuracy": (logits.argmax(1) == targets).float().mean()}


def format_predictions(logits: Tensor, names: Sequence[str]) -> list[str]:
    """The answers (B, answers) as words, with the share of the network's belief that each has: ``90° (87 %)``."""
    belief, number = logits.float().softmax(1).max(1)
    return [f"{names[n]} ({100 * share:.0f} %)" for n, share in zip(number.tolist(), belief.tolist())]
