"""Cross-entropy as an objective: a linear classifier on an encoder, the layers that are trained, and the best epoch."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder, temporary_seed
from aekit.encoder.freezing import FrozenTrunk, PrecomputedFeatures, freeze, trained_part
from aekit.evaluation.linear.probe import fit_logistic
from aekit.objectives.base import Batch, Objective

STRENGTHS = np.geomspace(1e-4, 1e3, 10)
METRICS = ("loss", "accuracy", "validation_accuracy", "validation_cross_entropy")


class ClassificationObjective(Objective):
    """Cross-entropy of a linear classifier on the encoder's code, before any normalization of the output.

    Layers that are not trained are frozen, see `aekit.encoder.freezing.freeze`.

    Args:
        encoder: to train.
        classes: C.
        layers: how many are trained, from the top, of the backbone's stages and, if it has weights, the head; None: all.
        seed: of the classifier's first weights.
    """

    def __init__(self, encoder: Encoder, classes: int, *, layers: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        with temporary_seed(seed):
            self.classifier = nn.Linear(encoder.dim, classes)
        freeze(encoder, 0 if layers is None else len(encoder.layers) - layers)
        # In a tuple, as its networks are the encoder's.
        self._part = (trained_part(encoder),)

    def randomness(self) -> list[str]:
        return []

    def frozen_trunk(self) -> FrozenTrunk | None:
        below = self._part[0].preprocess
        return below if isinstance(below, FrozenTrunk) else None

    def compilable_networks(self) -> list[nn.Module]:
        return [self._part[0].backbone]

    def logits(self, batch: Batch) -> Tensor:
        """(B, *shape) samples -> (B, C)."""
        (part,) = self._part
        x, _ = batch.prepare(part.preprocess)
        return self.classifier(part.encode(x))

    @torch.inference_mode()
    def logits_of(self, samples: Samples) -> Tensor:
        """(N, C) logits of all samples, or of their features, in eval mode, on the CPU."""
        training, ready = self.training, isinstance(samples, PrecomputedFeatures)
        self.eval()
        found = torch.cat([self.logits(Batch(raw, is_features=ready)).float().cpu() for raw in samples.chunks(256)])
        self.train(training)
        return found

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        assert batch.labels is not None
        logits = self.logits(batch).float()
        labels = batch.labels.to(logits.device)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": cross_entropy(logits, labels), "accuracy": right}


def accuracy_and_loss(logits: Tensor, codes: Tensor) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of (N, C) logits, given (N,) numbers of the true classes.

    A number of -1 stands for a class that is not among the C: it is never found, and has no cross-entropy.
    """
    right = float((logits.argmax(1) == codes).double().mean())
    known = codes >= 0
    return right, float(cross_entropy(logits[known], codes[known])) if known.any() else 0.0


def class_indices(classes: np.ndarray, labels: np.ndarray) -> Tensor:
    """(N,) labels as their places in the sorted (C,) classes, -1 where they are none of them."""
    found = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return torch.from_numpy(np.where(classes[found] == labels, found, -1))


class BestEpoch(nn.Module):
    """The best epoch so far, and what was seen of each. Kept within the objective, so that a checkpoint holds it too.

    Attributes:
        objective: with the weights of that epoch.
        seen: (epochs, 4) as FIGURES names them: means over the steps, then of the validation samples; NaN where there is none.
        sums: (2,) loss and accuracy of the steps of the present epoch, added up.
    """

    history: Tensor
    sums: Tensor

    def __init__(self, objective: ClassificationObjective, epochs: int) -> None:
        super().__init__()
        self.objective = deepcopy(objective).requires_grad_(False)
        self.register_buffer("seen", torch.full((epochs, 4), torch.nan, dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))

    @property
    def epochs(self) -> int:
        return int((~self.history[:, 0].isnan()).sum())

    @property
    def best(self) -> int:
        """The best epoch, from 0: of the highest accuracy, then the lowest cross-entropy; the last without validation."""
        accuracy, entropy = self.history[: self.epochs, 2:].T.tolist()
        if math.isnan(accuracy[-1]):
            return self.epochs - 1
        return max(range(self.epochs), key=lambda epoch: (accuracy[epoch], -entropy[epoch]))

    def metrics(self, epoch: int) -> dict[str, float]:
        """What was seen of an epoch, counted from 0, by name; without what there is none of."""
        return {name: value for name, value in zip(METRICS, self.history[epoch].tolist()) if not math.isnan(value)}

    def add(self, objective: ClassificationObjective, steps: int, on_validation: tuple[float, float]) -> None:
        """An epoch of so many steps, and the weights that it ended with."""
        self.history[self.epochs] = torch.cat([self.sums / steps, self.sums.new_tensor(on_validation)])
        self.sums.zero_()
        if self.best == self.epochs - 1:
            own = objective.state_dict()
            self.objective.load_state_dict({name: own[name] for name in self.objective.state_dict()})

    def should_stop(self, patience: int) -> bool:
        """Whether there is nothing more to do."""
        waited = bool(patience) and self.epochs > 0 and self.epochs - 1 - self.best >= patience
        return waited or self.epochs == len(self.history)


class FrozenBaseline:
    """Logistic regression on the embeddings of an encoder as it is: what fine-tuning has to beat.

    Of several strengths of regularization it is the one of the highest accuracy on the validation samples, then of the
    lowest cross-entropy; without validation samples, C = 1.

    Attributes:
        strength: scikit-learn's ``C``.
    """

    def __init__(
        self,
        encoder: Encoder,
        samples: Samples,
        labels: np.ndarray,
        validation: Samples | None,
        validation_labels: np.ndarray,
    ) -> None:
        self.encoder = encoder.eval()
        strengths = STRENGTHS if validation else np.ones(1)
        self._path = fit_logistic(self._embedded(samples), labels, strengths)
        self._best = 0
        if validation:
            codes, truth = self._embedded(validation), class_indices(self._path.classes, validation_labels)
            found = [self._path.probabilities(codes, i) for i in range(len(strengths))]
            right, entropy = zip(*(accuracy_and_loss(torch.from_numpy(p).clamp(min=1e-12).log(), truth) for p in found))
            self._best = max(range(len(strengths)), key=lambda i: (right[i], -entropy[i]))
        self.strength = float(strengths[self._best])

    def predict(self, samples: Samples) -> Tensor:
        """(N,) numbers of the classes."""
        return torch.from_numpy(self._path.probabilities(self._embedded(samples), self._best).argmax(axis=1))

    @torch.inference_mode()
    def _embedded(self, samples: Samples) -> np.ndarray:
        return torch.cat([self.encoder(raw).float().cpu() for raw in samples.chunks(256)]).numpy()
