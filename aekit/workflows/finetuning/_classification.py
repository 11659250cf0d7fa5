"""Train a linear classifier on an encoder with cross-entropy, from logistic regression, and keep the best epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aekit.data.samples import Samples
from aekit.data.shared_samples import computed_by_shares
from aekit.encoder.encoder import Encoder, temporary_seed
from aekit.encoder.freezing import FrozenTrunk, PrecomputedFeatures, freeze, trained_part
from aekit.evaluation.linear.probe import fit_logistic
from aekit.io.processes import Ranks
from aekit.objectives.base import Batch, Objective

STRENGTHS = np.geomspace(1e-4, 1e3, 10)
METRICS = ("loss", "accuracy", "validation_accuracy", "validation_cross_entropy")


class ClassificationObjective(Objective):
    """Cross-entropy of a linear classifier on the encoder's code, before any normalization of the output.

    Layers that are not trained are frozen; see `aekit.encoder.freezing.freeze`.

    Args:
        encoder: encoder to train.
        classes: C, the number of classes.
        layers: number of layers to train, from the top: the head, if it has weights, and the stages of the backbone; None: all.
        seed: seed of the initial weights of the classifier.
    """

    def __init__(self, encoder: Encoder, classes: int, *, layers: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        with temporary_seed(seed):
            self.classifier = nn.Linear(encoder.dim, classes)
        freeze(encoder, 0 if layers is None else len(encoder.layers) - layers)
        # In a tuple, because its networks belong to the encoder.
        self._part = (trained_part(encoder),)

    def randomness(self) -> list[str]:
        return []

    def frozen_trunk(self) -> FrozenTrunk | None:
        trunk = self._part[0].preprocess
        return trunk if isinstance(trunk, FrozenTrunk) else None

    def compilable_networks(self) -> list[nn.Module]:
        return [self._part[0].backbone]

    def logits(self, batch: Batch) -> Tensor:
        """Compute (B, C) logits of (B, *shape) samples."""
        (part,) = self._part
        x, _ = batch.prepare(part.preprocess)
        return self.classifier(part.encode(x))

    @torch.no_grad()
    def start_from(self, regression: FrozenRegression, ranks: Ranks | None = None) -> None:
        """Replace the initial weights of the classifier by those of logistic regression on the codes: that of the first process,
        as processors of different kinds round differently."""
        for parameter, array in zip(
            (self.classifier.weight, self.classifier.bias), (regression.weight, regression.bias)
        ):
            values = torch.from_numpy(array)
            parameter.copy_(values if ranks is None else ranks.gather(values)[0])

    @torch.no_grad()
    def shorten_classifier(self) -> None:
        """Scale the classifier down to the norm that random initial weights have, which changes no prediction.

        Logistic regression is certain of its training samples, from which hardly any gradient would be left.
        """
        weight, bias = self.classifier.weight, self.classifier.bias
        factor = (math.sqrt(len(weight) / 3) / weight.norm().clamp(min=1e-12)).clamp(max=1)
        weight.mul_(factor)
        bias.mul_(factor)

    @torch.inference_mode()
    def logits_of(self, samples: Samples) -> Tensor:
        """Compute (N, C) logits of all samples, or of their features, in eval mode, on the CPU."""
        training = self.training
        self.eval()
        logits = computed_by_shares(samples, self._logits_of)
        self.train(training)
        return logits

    def _logits_of(self, samples: Samples) -> Tensor:
        is_features = isinstance(samples, PrecomputedFeatures)
        batches = (Batch(raw, is_features=is_features) for raw in samples.chunks(256))
        return torch.cat([self.logits(batch).float().cpu() for batch in batches])

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        assert batch.labels is not None
        logits = self.logits(batch).float()
        labels = batch.labels.to(logits.device)
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": cross_entropy(logits, labels), "accuracy": accuracy}


def accuracy_and_loss(logits: Tensor, codes: Tensor) -> tuple[float, float]:
    """Compute the accuracy and the mean cross-entropy of (N, C) logits, given (N,) indices of the true classes.

    The index -1 stands for an unknown class: it counts as an error, and has no cross-entropy.
    """
    accuracy = float((logits.argmax(1) == codes).double().mean())
    known = codes >= 0
    return accuracy, float(cross_entropy(logits[known], codes[known])) if known.any() else 0.0


def class_indices(classes: np.ndarray, labels: np.ndarray) -> Tensor:
    """Return the (N,) indices of labels in the sorted (C,) classes, -1 for unknown labels."""
    indices = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return torch.from_numpy(np.where(classes[indices] == labels, indices, -1))


class BestEpoch(nn.Module):
    """The best epoch so far and the metrics of each. A submodule of the objective, so that checkpoints include it.

    Attributes:
        objective: objective with the weights of the best epoch; the initial ones if those are the best.
        start: (4,) values of METRICS for the initial weights, the first two on the training samples; NaN if missing.
        history: (epochs, 4) values of METRICS: means over the steps, then on the validation samples; NaN if missing.
        sums: (2,) sums of loss and accuracy over the steps of the current epoch.
    """

    start: Tensor
    history: Tensor
    sums: Tensor

    def __init__(self, objective: ClassificationObjective, epochs: int) -> None:
        super().__init__()
        self.objective = deepcopy(objective).requires_grad_(False)
        self.register_buffer("start", torch.full((4,), torch.nan, dtype=torch.float64))
        self.register_buffer("history", torch.full((epochs, 4), torch.nan, dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))

    @property
    def epochs(self) -> int:
        return int((~self.history[:, 0].isnan()).sum())

    @property
    def logged(self) -> range:
        """The epochs with metrics, from 0; -1 is the initial weights."""
        return range(0 if self.start[0].isnan() else -1, self.epochs)

    @property
    def best(self) -> int:
        """The best epoch, from 0, or -1 for the initial weights: highest accuracy, then lowest cross-entropy; without
        validation samples the last epoch.
        """
        best = self._best_trained
        on_start, on_best = (row[2:].tolist() for row in (self.start, self.history[best]))
        return best if math.isnan(on_start[0]) or _rank(on_best) > _rank(on_start) else -1

    @property
    def _best_trained(self) -> int:
        on_validation = self.history[: self.epochs, 2:].tolist()
        if math.isnan(on_validation[-1][0]):
            return self.epochs - 1
        return max(range(self.epochs), key=lambda epoch: _rank(on_validation[epoch]))

    def metrics(self, epoch: int) -> dict[str, float]:
        """Return the metrics of an epoch, counted from 0, or of the initial weights (-1), by name; missing ones are left out."""
        values = (self.start if epoch < 0 else self.history[epoch]).tolist()
        return {name: value for name, value in zip(METRICS, values) if not math.isnan(value)}

    def add_start(self, on_training: tuple[float, float], on_validation: tuple[float, float]) -> None:
        """Add the accuracy and the cross-entropy of the initial weights, to which every epoch is compared."""
        accuracy, entropy = on_training
        self.start.copy_(self.start.new_tensor([entropy, accuracy, *on_validation]))

    def add(self, objective: ClassificationObjective, steps: int, on_validation: tuple[float, float]) -> None:
        """Add an epoch of `steps` steps, and keep its weights if it is the best."""
        self.history[self.epochs] = torch.cat([self.sums / steps, self.sums.new_tensor(on_validation)])
        self.sums.zero_()
        if self.best == self.epochs - 1:
            weights = objective.state_dict()
            self.objective.load_state_dict({name: weights[name] for name in self.objective.state_dict()})

    def should_stop(self, patience: int) -> bool:
        """Return whether the epochs ran out, or the patience since the best epoch, even if the initial weights are better."""
        impatient = bool(patience) and self.epochs > 0 and self.epochs - 1 - self._best_trained >= patience
        return impatient or self.epochs == len(self.history)


def _rank(on_validation: Sequence[float]) -> tuple[float, float]:
    accuracy, entropy = on_validation
    return accuracy, -entropy


class FrozenRegression:
    """Logistic regression on the frozen encoder: the baseline of fine-tuning, and the initial weights of its classifier.

    The regularization strength is selected by the highest accuracy on the validation samples, then the lowest cross-entropy;
    without validation samples it is C = 1.

    Args:
        encoder: encoder; it is set to eval mode.
        samples, labels: training samples, and their (N,) classes.
        validation, validation_labels: validation samples or None, and their classes.
        normalized: whether the features are the embeddings; False: the codes, before any normalization of the output.

    Attributes:
        strength: scikit-learn's ``C``.
        weight, bias: (C, D) and (C,) of the logits as a linear function of the features, which are not standardized.
    """

    def __init__(
        self,
        encoder: Encoder,
        samples: Samples,
        labels: np.ndarray,
        validation: Samples | None,
        validation_labels: np.ndarray,
        *,
        normalized: bool = True,
    ) -> None:
        self.encoder, self._normalized = encoder.eval(), normalized
        strengths = STRENGTHS if validation else np.ones(1)
        self._path = fit_logistic(self._embed(samples), labels, strengths)
        self._best = 0
        if validation:
            vectors, codes = self._embed(validation), class_indices(self._path.classes, validation_labels)
            logits = [
                torch.from_numpy(self._path.probabilities(vectors, i)).clamp(min=1e-12).log()
                for i in range(len(strengths))
            ]
            ranks = [_rank(accuracy_and_loss(each, codes)) for each in logits]
            self._best = max(range(len(strengths)), key=lambda i: ranks[i])
        self.strength = float(strengths[self._best])
        self.weight, self.bias = self._path.linear(self._best)

    def predict(self, samples: Samples) -> Tensor:
        """Predict the (N,) class indices."""
        return torch.from_numpy(self._path.probabilities(self._embed(samples), self._best).argmax(axis=1))

    @torch.inference_mode()
    def _embed(self, samples: Samples) -> np.ndarray:
        encoder = self.encoder
        embed = encoder if self._normalized else lambda raw: encoder.encode(encoder.preprocess(raw))

        def embed_all(part: Samples) -> Tensor:
            return torch.cat([embed(raw).float().cpu() for raw in part.chunks(256)])

        return computed_by_shares(samples, embed_all).numpy()
