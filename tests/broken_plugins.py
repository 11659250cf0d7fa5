"""Plugins with one fault each, which the kit has to find."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.encoder import Encoder
from aekit.errors import DataError
from aekit.evaluation import results
from aekit.evaluation.results import Result, Split
from aekit.index.engine import BatchFactory, Index, Similarity
from aekit.objectives.base import Pretext, Step, Variant
from aekit.registry.options import Field


class Healthy(Variant):
    pass


class Undescribed(Variant):
    def __init__(self, *, level: float = 0.1) -> None:
        super().__init__()


class OptionUnknownToToml(Variant):
    def __init__(self, *, columns: Annotated[set[int], Field(description="to hide")] = frozenset()) -> None:  # type: ignore[assignment]
        super().__init__()


class DividesByTheDeviation(Variant):
    def penalty(self, step: Step) -> dict[str, Tensor]:
        return {"contrast": (1 / step.clean.flatten(1).var(1)).mean() * 1e-9}


class GlobalRandomness(Variant):
    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x + torch.randn_like(x)


class CentersItsShare(Variant):
    def penalty(self, step: Step) -> dict[str, Tensor]:
        return {"center": 10 * step.code.mean(0).square().sum()}


class KeepsItsShare(Variant):
    """A buffer that follows the share of one process alone; the loss does not depend on it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def penalty(self, step: Step) -> dict[str, Tensor]:
        self.latest = step.code.detach().float().mean()
        return {}

    def after_step(self) -> None:
        self.mean.copy_(self.latest)


class CorruptsInPlace(Variant):
    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x.mul_(0.9)


class AugmentsInPlace(Variant):
    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x.mul_(0.9)


class RemembersOtherRuns(Variant):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        RemembersOtherRuns.made += 1

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x / RemembersOtherRuns.made


class HeadThatBranchesOnTheData(Variant):
    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        class Head(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return -super().forward(x) if x.mean().item() > 1e9 else super().forward(x)

        return Head(math.prod(features_shape), dim)


class SolvesInBfloat16(Variant):
    def penalty(self, step: Step) -> dict[str, Tensor]:
        covariance = step.code.T @ step.code + torch.eye(step.code.shape[1])
        return {"volume": torch.linalg.slogdet(covariance.to(step.code.dtype)).logabsdet}


class Task(Pretext):
    """Fine by itself: the encoder's code tells the mean of the sample."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, 1)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        told = self.head(self.encoder.encode(x))[:, 0]
        return {"loss": (told - x.flatten(1).mean(1)).square().mean()}


class CorruptsWithoutGenerator(Variant):
    def corrupt(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return 0.9 * x


class PreprocessesTwice(Task):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": (self.head(self.encoder(x))[:, 0] - x.flatten(1).mean(1)).square().mean()}


class TransformsOneSample(Task):
    def transform(self, x: Tensor) -> Tensor:
        return x[0]


class LossOfOneNumberInAList(Task):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": super().loss(x, generator)["loss"][None]}


class UnusedHead(Task):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.other = nn.Linear(2, 2)


class TurnsInPlace(Task):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x[:2] = x[:2].flip(-1)
        return super().loss(x, generator)


class PredictsTheDice(Task):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        dice = torch.randint(0, 2, (len(x),), generator=generator)
        told = self.head(self.encoder.encode(x))[:, 0]
        return {"loss": nn.functional.binary_cross_entropy_with_logits(told, dice.float())}


class LooksUpTheLabels(Task):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        labels = sys._getframe(1).f_locals["batch"].labels if "batch" in sys._getframe(1).f_locals else None
        shift = 0.0 if labels is None else labels.float().mean()
        return {"loss": super().loss(x + shift, generator)["loss"]}


class Masking(Pretext):
    """Half of a sample is hidden, and its mean is to be told from the rest."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, 1)

    def mask_input(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        hidden = torch.rand(x.shape, generator=generator) < 0.5
        return x.masked_fill(hidden, 0.0), hidden

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        visible, hidden = self.mask_input(x, generator)
        told = self.head(self.encoder.encode(visible))[:, 0]
        return {"loss": (told - (x * hidden).flatten(1).mean(1)).square().mean()}


class BlursWhatItHides(Masking):
    def mask_input(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        visible, hidden = super().mask_input(x, generator)
        return torch.where(hidden, x.mean(-1, keepdim=True), visible), hidden


class ForgetsToHide(Masking):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        self.mask_input(x, generator)
        told = self.head(self.encoder.encode(x))[:, 0]
        return {"loss": (told - x.flatten(1).mean(1)).square().mean()}


class NeverHides(Masking):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        told = self.head(self.encoder.encode(x))[:, 0]
        return {"loss": (told - x.flatten(1).mean(1)).square().mean()}


class ShowsTooFew(Masking):
    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        return {"sample": x, "seen": self.mask_input(x, generator)[0][1:]}


class Small(Backbone):
    """Fine by itself: two layers."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.spec, self.features_dim, self.features_shape = spec, 24, (24,)
        first = nn.Sequential(nn.Flatten(), nn.Linear(spec.size, 32), nn.ReLU())
        self.stages = nn.ModuleList([first, nn.Sequential(nn.Linear(32, 24), nn.ReLU())])

    def mirror(self, stage: int) -> nn.Module:
        if stage == 1:
            return nn.Linear(24, 32)
        return nn.Sequential(nn.Linear(32, self.spec.size), nn.Unflatten(1, self.spec.shape))


class NoDecoder(Small):
    def mirror(self, stage: int) -> nn.Module:
        raise NotImplementedError("it has none")


def options_by_position(spec: SampleSpec, width: int = 8) -> Backbone:
    return Small(spec)


class Changed(nn.Sequential):
    """A stage with something after it."""

    def __init__(self, stage: nn.Module, change: Any) -> None:
        super().__init__(stage)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(super().forward(x))


class DropoutInEvalMode(Small):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.stages[1] = Changed(self.stages[1], lambda x: nn.functional.dropout(x, 0.5, training=True))


class CenterdByTheBatch(Small):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.stages[1] = Changed(self.stages[1], lambda x: x - x.mean(0))


class WeightsThatAreNotSaved(Small):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        mixing = torch.randn(24, 24)
        self.stages[1] = Changed(self.stages[1], lambda x: x @ mixing)


class BranchesOnTheData(Small):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        self.stages[1] = Changed(self.stages[1], lambda x: -x if x.mean().item() > 1e9 else x)


class EvenSizesOnly(Small):
    def __init__(self, spec: SampleSpec) -> None:
        super().__init__(spec)
        height, width = (side // 2 * 2 for side in spec.shape[1:])
        self.stages[0][1] = nn.Linear(spec.shape[0] * height * width, 32)  # type: ignore[index,operator]


class DecoderOfEvenSizes(Small):
    def decoder(self, dim: int) -> nn.Module:
        channels, *sides = self.spec.shape
        height, width = (side // 2 * 2 for side in sides)
        return nn.Sequential(nn.Linear(dim, channels * height * width), nn.Unflatten(1, (channels, height, width)))


class ForwardDoesMoreThanItsStages(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


class MirrorIsFlat(Small):
    def mirror(self, stage: int) -> nn.Module:
        return nn.Linear(32, self.spec.size) if stage == 0 else super().mirror(stage)

    def decoder(self, dim: int) -> nn.Module:
        return nn.Sequential(nn.Linear(dim, self.spec.size), nn.Unflatten(1, self.spec.shape))


class Numbers(ArraySource):
    """Fine by itself: as many random vectors of two classes as asked for."""

    def __init__(self, where: str, like: SampleSpec | None = None) -> None:
        if not where.isdigit():
            raise DataError(f"{where}: expected a number of samples")
        array = self.made(int(where))
        super().__init__(array, labels=np.arange(len(array)) % 2)

    def made(self, count: int) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((count, 5)).astype(np.float32)

    @staticmethod
    def example(folder: Path) -> str:
        return "12"


class TooFew(Numbers):
    @staticmethod
    def example(folder: Path) -> str:
        return "7"


class RaisesKeyError(Numbers):
    def __init__(self, where: str, like: SampleSpec | None = None) -> None:
        super().__init__({"12": "12"}[where])


class NumbersAsIds(Numbers):
    def __init__(self, where: str, like: SampleSpec | None = None) -> None:
        super().__init__(where)
        self.ids = list(range(int(where)))  # type: ignore[arg-type]


class AnotherDtypeThanItSays(Numbers):
    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = super().read(indices)
        return rows.astype(np.float64), ok


class SortsTheIndices(Numbers):
    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return super().read(np.sort(indices))


class NewSamplesAtEveryOpening(Numbers):
    def made(self, count: int) -> np.ndarray:
        return np.random.default_rng().standard_normal((count, 5)).astype(np.float32)


class OneFingerprintForAll(Numbers):
    def fingerprints(self, indices: np.ndarray) -> list[str]:
        return ["sample"] * len(indices)


class UnknownSplit(Numbers):
    def __init__(self, where: str, like: SampleSpec | None = None) -> None:
        super().__init__(where)
        self.splits = np.array(["val"] * int(where))


class LabelAmongTheFeatures(Numbers):
    def made(self, count: int) -> np.ndarray:
        array = super().made(count)
        array[:, 3] = 10 + np.arange(count) % 2
        return array


def no_example(where: str, like: SampleSpec | None = None) -> ArraySource:
    return Numbers(where)


class Exact(Index):
    """Fine by itself: compares the queries with every vector."""

    metric: Similarity

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        self.held, self.metric = np.concatenate(list(batches())), metric
        return "exact"

    def add(self, vectors: np.ndarray) -> None:
        self.held = np.concatenate([self.held, vectors])

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """(Q, N), higher is nearer."""
        if self.metric == "l2":
            return -((queries[:, None] - self.held) ** 2).sum(axis=2)
        return (queries[:, None] * self.held).sum(axis=2)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = self.scores(queries)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, rows, axis=1)
        missing = ((0, 0), (0, k - rows.shape[1]))
        best, rows = np.pad(best, missing), np.pad(rows, missing, constant_values=-1)
        return (-best if self.metric == "l2" else best), rows

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return self.held[rows]

    def save(self, path: Path) -> dict[str, Any]:
        with path.open("wb") as file:
            np.save(file, self.held)
        return {"metric": self.metric}

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.held, self.metric = np.load(path), settings["metric"]


class FindsTheFarthest(Exact):
    def scores(self, queries: np.ndarray) -> np.ndarray:
        return -super().scores(queries)


class BestLast(Exact):
    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = super().search(queries, k)
        return scores[:, ::-1], rows[:, ::-1]


class AddsInFront(Exact):
    def add(self, vectors: np.ndarray) -> None:
        self.held = np.concatenate([vectors, self.held])


class FindsLittleUntilTuned(Exact):
    """Fine: it is tuned again for what is added, as aekit does."""

    tuned_for = 0

    def scores(self, queries: np.ndarray) -> np.ndarray:
        scores = super().scores(queries)
        return scores if len(self.held) == self.tuned_for else scores.astype(np.int32).astype(np.float32)

    def tune(self, recall: Callable[[], float]) -> None:
        if recall() < 1:
            self.tuned_for = len(self.held)


class VectorsInAnyOrder(Exact):
    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return self.held[np.sort(rows)]


class RepeatsTheLast(Exact):
    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = super().search(queries, k)
        return scores, np.where(rows < 0, len(self.held) - 1, rows)


class FindsOtherRows(Exact):
    def search_among(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.search(queries, k)


class MissesRareRows(Exact):
    def search_among(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, nearest = self.search(queries, 4 * k)
        order = np.argsort(~np.isin(nearest, rows), axis=1, kind="stable")[:, :k]
        scores, nearest = np.take_along_axis(scores, order, 1), np.take_along_axis(nearest, order, 1)
        return scores, np.where(np.isin(nearest, rows), nearest, -1)


class ForgetsTheMetric(Exact):
    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.held, self.metric = np.load(path), "ip"


class ProjectsAtRandom(Exact):
    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        self.directions = np.random.standard_normal((dim, dim)).astype(np.float32)
        return super().build(batches, count, dim, metric)

    def scores(self, queries: np.ndarray) -> np.ndarray:
        return queries @ self.directions @ self.held.T


def accuracy(
    embeddings: np.ndarray, labels: np.ndarray, fitted: np.ndarray, judged: np.ndarray, power: float = 2
) -> float:
    """Of naming the class whose mean is nearest."""
    classes = np.unique(labels[fitted])
    centers = np.stack([embeddings[fitted][labels[fitted] == one].mean(0) for one in classes])
    distances = (np.abs(embeddings[judged][:, None] - centers) ** power).sum(-1)
    return float((classes[distances.argmin(1)] == labels[judged]).mean())


def not_a_number(embeddings: np.ndarray, labels: np.ndarray | None, split: Split) -> Result:
    return Result({"accuracy": results.Metric(float("nan"))})


def global_resampling(embeddings: np.ndarray, labels: np.ndarray, split: Split) -> Result:
    drawn = np.random.choice(split.test, len(split.test))
    return Result(
        {"accuracy": results.Metric(accuracy(embeddings, labels, split.train, drawn) + 1e-3 * np.random.rand())}
    )


def standardizes_in_place(embeddings: np.ndarray, labels: np.ndarray, split: Split) -> Result:
    embeddings -= embeddings.mean(0)
    return Result({"accuracy": results.Metric(accuracy(embeddings, labels, split.train, split.test))})


def chooses_on_the_test_split(embeddings: np.ndarray, labels: np.ndarray, split: Split) -> Result:
    found = {float(p): accuracy(embeddings, labels, split.train, split.test, p) for p in np.linspace(0.05, 8, 60)}
    best = max(found, key=lambda power: found[power])
    return Result({"accuracy": results.Metric(found[best])}, chosen={"power": best})


def counts_errors(embeddings: np.ndarray, labels: np.ndarray, split: Split) -> Result:
    return Result({"error": results.Metric(1 - accuracy(embeddings, labels, split.train, split.test))})


def needs_labels_without_saying_so(embeddings: np.ndarray, labels: np.ndarray, split: Split) -> Result:
    return Result({"accuracy": results.Metric(accuracy(embeddings, labels, split.train, split.test))})


def takes_classes_alone(embeddings: np.ndarray, labels: np.ndarray, split: Split) -> Result:
    if labels.dtype.kind == "f":
        return Result({"accuracy": results.Metric(float("nan"))})
    return Result({"accuracy": results.Metric(accuracy(embeddings, labels, split.train, split.test))})


class Penality(Variant):
    def penality(self, step: Step) -> dict[str, Tensor]:
        return {"size": step.code.square().mean()}


class BatchNormOfOne(Task):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.head = nn.Sequential(nn.BatchNorm1d(encoder.dim), nn.Linear(encoder.dim, 1))  # type: ignore[assignment]


class NotANumberForOne(Task):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": super().loss(x, generator)["loss"] + self.encoder.encode(x).std(0).mean()}


class LossAsATensor(Task):
    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return super().loss(x, generator)["loss"]  # type: ignore[return-value]


class CropsTheSample(Variant):
    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x[..., 1:]


class OwnGenerator(Variant):
    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


class OwnGeneratorFromTheStart(Variant):
    def __init__(self) -> None:
        super().__init__()
        self.own = torch.Generator().manual_seed(0)

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x + torch.randn(x.shape, generator=self.own)


class CountsItsSteps(Variant):
    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def after_step(self) -> None:
        self.steps += 1

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x / (1 + self.steps)


class SkippedButUsable(Numbers):
    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.skipped[self.ids[2]] = "cannot be read"
        return super().read(indices)


class ReadsNoiseAsZeros(ArraySource):
    """Read a folder of .npy files, and take one that cannot be read for zeros."""

    def __init__(self, where: str, like: SampleSpec | None = None) -> None:
        if not Path(where).is_dir():
            raise DataError(f"{where}: no such folder")
        rows = []
        for path in sorted(Path(where).glob("*.npy")):
            try:
                rows.append(np.load(path))
            except ValueError:
                rows.append(np.zeros(5, np.float32))
        super().__init__(np.stack(rows), kind="vector")

    @staticmethod
    def example(folder: Path) -> str:
        place = folder / "rows"
        place.mkdir(exist_ok=True)
        for number in range(9):
            np.save(place / f"{number}.npy", np.random.default_rng(number).standard_normal(5).astype(np.float32))
        return str(place)


class IgnoresTheEncoder(Numbers):
    def __init__(self, where: str, like: SampleSpec | None = None) -> None:
        super().__init__(where)
        self.array = np.repeat(self.array[:, None, :, None], 5, axis=3)
        self.spec = SampleSpec("image", (1, 5, 5), "float32", resize="stretch")


def fits_on_the_test_labels(embeddings: np.ndarray, labels: np.ndarray, split: Split) -> Result:
    return Result({"accuracy": results.Metric(accuracy(embeddings, labels, split.test, split.test))})
