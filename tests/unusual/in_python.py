"""Python: networks, classes and functions of the session as plugins, results as objects, and where records say that data is."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import pickle
import shutil
import stat
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from resealing import reseal_files
from torch import Tensor, nn
from unusual.harness import Area, Listener

import aekit
from aekit.errors import DataWarning
from aekit.plugin import Backbone, Index, Metric, Pretext, Result, Variant
from aekit.progress import Progress
from aekit.progress_display import Lines, open_progress
from aekit.registry.discovery import registry, session_plugins

AREA = Area(__name__)
ROWS = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
LABELS = np.repeat(["a", "b"], 30)


def network() -> nn.Sequential:
    """Return a small network with a norm and dropout, whose programs must be those of eval mode."""
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5), nn.Dropout(0.5))


def fitted(**arguments: Any) -> aekit.Encoder:
    """Train for one epoch on a few rows."""
    return aekit.fit(ROWS, **{"dim": 2, "epochs": 1, "backbone": "linear", **arguments})


class Jitter(Variant):
    """Add noise to the input."""

    def __init__(self, *, level: float = 0.1) -> None:
        super().__init__()
        self.level = level

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x + self.level * torch.randn(x.shape, generator=generator)


class Larger(Pretext):
    """Tell samples that were doubled from others."""

    def __init__(self, encoder: aekit.Encoder) -> None:
        super().__init__(encoder)
        self.out = nn.Linear(encoder.dim, 1)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        doubled = torch.rand(len(x), generator=generator) < 0.5
        logits = self.out(self.encoder.encode(torch.where(doubled[:, None], 2 * x, x))).squeeze(1)
        return {"loss": nn.functional.binary_cross_entropy_with_logits(logits, doubled.float())}


class Exact(Index):
    """Compare with every vector."""

    def build(self, batches: Any, count: int, dim: int, metric: Any) -> str:
        self.known = np.concatenate(list(batches()))
        return "all vectors"

    def add(self, vectors: np.ndarray) -> None:
        self.known = np.concatenate([self.known, vectors])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = queries @ self.known.T
        rows = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(scores, rows, 1), rows

    def save(self, path: Path) -> dict[str, Any]:
        with path.open("wb") as file:
            np.save(file, self.known)
        return {}

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.known = np.load(path, allow_pickle=False)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return self.known[rows]


def spread(embeddings: np.ndarray, labels: np.ndarray | None, split: Any) -> float:
    """Return the standard deviation of the test embeddings."""
    return float(embeddings[split.test].std())


# Backbones.


@AREA.right("a network (`nn.Module`) as the backbone: a copy of it is trained, from its weights")
def _(folder: Path, listener: Listener) -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    encoder = fitted(backbone=net, lr=1e-9)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert torch.allclose(next(encoder.backbone.stages[0].parameters()), before["0.weight"], atol=1e-4)
    assert len(encoder.layers) == 3 and encoder.features_dim == 5


class OneLayer(nn.Module):
    """Base of networks that use their linear map in different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(6, 3)


@AREA.right("a class without arguments, a function of the spec and a lambda as the backbone")
def _(folder: Path, listener: Listener) -> None:
    class Tiny(OneLayer):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.map(x))

    def wide(spec: Any, *, width: int = 7) -> nn.Module:
        return nn.Linear(spec.size, width)

    assert fitted(backbone=Tiny).features_dim == 3
    assert fitted(backbone=wide).features_dim == 7
    assert fitted(backbone=wide, overrides={"encoder.wide.width": 4}).features_dim == 4
    assert fitted(backbone=lambda: nn.Linear(6, 9)).features_dim == 9


@AREA.right("a class of the session derived from `Backbone`")
def _(folder: Path, listener: Listener) -> None:
    class Halves(Backbone):
        def __init__(self, spec: Any) -> None:
            super().__init__()
            self.stages = nn.ModuleList([nn.Linear(spec.size, spec.size // 2)])
            self.features_dim, self.features_shape = spec.size // 2, (spec.size // 2,)

        def mirror(self, stage: int) -> nn.Module:
            return nn.Linear(self.features_dim, 6)

    assert fitted(backbone=Halves).features_dim == 3


@AREA.right("a network of the session in a run folder, loaded by another session")
def _(folder: Path, listener: Listener) -> None:
    encoder = fitted(backbone=network(), out=folder / "run", report=False)
    forget()
    loaded = aekit.load(folder / "run")
    assert loaded.digest == encoder.digest and registry().named("backbone", "sequential") == []
    assert np.abs(loaded.embed(ROWS).vectors - encoder.embed(ROWS).vectors).max() < 1e-6
    assert aekit.load_autoencoder(folder / "run").encoder.digest == encoder.digest


@AREA.changed(
    "a network whose class was defined anew since it was saved, as when a cell is run again",
    "backbone 'net' of this session has changed since; what was kept of it is used",
)
def _(folder: Path, listener: Listener) -> None:
    def defined(width: int, activation: type[nn.Module]) -> type[nn.Module]:
        class Net(nn.Sequential):
            def __init__(self) -> None:
                super().__init__(nn.Linear(6, width), activation())

        return Net

    saved = fitted(backbone=defined(8, nn.ReLU), out=folder / "run", report=False)
    for width, activation in ((9, nn.ReLU), (8, nn.Tanh)):  # other weights, and other numbers by the same weights
        fitted(backbone=defined(width, activation))
        again = aekit.load(folder / "run")
        assert again.digest == saved.digest
        assert np.abs(again.embed(ROWS).vectors - saved.embed(ROWS).vectors).max() < 1e-6


@AREA.refused(
    "the report of a run whose network is code of another session",
    "backbone 'sequential'; register it again with aekit",
)
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "rows.npy", ROWS)
    aekit.fit(folder / "rows.npy", dim=2, epochs=1, backbone=network(), out=folder / "run", report=False)
    forget()
    aekit.make_report(folder / "run")


@AREA.right("an encoder with a network of another session, saved again, and with random weights")
def _(folder: Path, listener: Listener) -> None:
    encoder = fitted(backbone=network())
    encoder.save(folder / "first")
    forget()
    loaded = aekit.load(folder / "first")
    loaded.save(folder / "second")
    assert aekit.load(folder / "second").digest == encoder.digest
    random = loaded.with_random_weights(0)
    assert random.digest != loaded.digest and random.digest == loaded.with_random_weights(0).digest
    assert np.abs(random.embed(ROWS).vectors - loaded.embed(ROWS).vectors).max() > 0.01


@AREA.refused(
    "a network with a branch on its input, saved", "make it a plugin: aekit plugins new branching --kind backbone"
)
def _(folder: Path, listener: Listener) -> None:
    class Branching(OneLayer):
        def forward(self, x: Tensor) -> Tensor:
            return self.map(x) if x.sum() > 0 else self.map(-x)

    encoder = fitted(backbone=Branching())
    try:
        encoder.save(folder / "encoder")
    finally:
        assert not list(folder.iterdir())


@AREA.refused(
    "a run folder for a network that cannot be kept",
    "make it a plugin: aekit plugins new lambda",
)
def _(folder: Path, listener: Listener) -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.offset = nn.Linear(6, 3), torch.ones(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.map(x) + self.offset.mean().item()

    try:
        fitted(backbone=lambda: Stateful(), out=folder / "run")
    finally:
        assert not (folder / "run").exists()


@AREA.right("a network in `overrides`")
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit(
        ROWS, dim=2, epochs=1, overrides={"encoder.backbone": network(), "objective.variants": [Jitter]}
    )
    assert encoder.features_dim == 5 and encoder.record["objective"]["variants"] == ["jitter"]


def load_edited(folder: Path, before: str, after: str) -> None:
    """Save an encoder, replace a text in its program, and load it."""
    fitted(backbone=network()).save(folder / "encoder")
    forget()
    edit_program(folder / "encoder" / "stage-0.pt2", before, after)
    reseal_files(folder / "encoder" / "encoder.json")
    aekit.load(folder / "encoder")


@AREA.refused("a kept program that was changed to call something else", "which is not a tensor operation")
def _(folder: Path, listener: Listener) -> None:
    load_edited(folder, "torch.ops.aten.linear.default", "torch.hub.load")


@AREA.refused("a kept program with a size that is code", "which is not a tensor operation")
def _(folder: Path, listener: Listener) -> None:
    load_edited(folder, "positive=True", "positive=print(1)")


@AREA.refused(
    "a network for samples of another width",
    "cannot take vector 6 float32: on a batch of shape (2, 6) it raised RuntimeError",
)
def _(folder: Path, listener: Listener) -> None:
    fitted(backbone=nn.Linear(7, 3))


@AREA.refused("a network that returns a tuple", "returned tuple; expected features (2, F)")
def _(folder: Path, listener: Listener) -> None:
    fitted(backbone=nn.GRU(6, 3, batch_first=True))


@AREA.refused("a function as the backbone that returns a number", "it returned int; expected an nn.Module")
def _(folder: Path, listener: Listener) -> None:
    fitted(backbone=lambda: 3)


@AREA.refused(
    "a function as the backbone that raises", "of this session failed with ZeroDivisionError: division by zero"
)
def _(folder: Path, listener: Listener) -> None:
    fitted(backbone=lambda: 1 / 0)


@AREA.refused("an array as the backbone", "backbone = ndarray object: expected a name, an nn.Module")
def _(folder: Path, listener: Listener) -> None:
    fitted(backbone=np.zeros(3))


@AREA.refused("a class that is no network as the backbone", "backbone = dict: expected a name, an nn.Module")
def _(folder: Path, listener: Listener) -> None:
    fitted(backbone=dict)


@AREA.refused("a variant as the backbone", "backbone = Jitter: is of kind variant, expected an nn.Module")
def _(folder: Path, listener: Listener) -> None:
    fitted(backbone=Jitter)


@AREA.refused("an option without an annotation", "option 'width' of")
def _(folder: Path, listener: Listener) -> None:
    def wide(spec, *, width=7):  # type: ignore[no-untyped-def]
        return nn.Linear(spec.size, width)

    fitted(backbone=wide)


# Variants, pretexts, evaluators and indexes.


@AREA.right("a class of the session as a variant, alone and in a list, with an option")
def _(folder: Path, listener: Listener) -> None:
    assert fitted(variants=Jitter).digest == fitted(variants=[Jitter]).digest
    encoder = fitted(variants=["k-sparse", Jitter], overrides={"objective.jitter.level": 0.5})
    assert encoder.record["objective"]["jitter"] == {"level": 0.5}


@AREA.right("a string for a list: variants, pretexts, evaluators")
def _(folder: Path, listener: Listener) -> None:
    assert fitted(variants="denoising").digest == fitted(variants=["denoising"]).digest
    evaluation = aekit.evaluate(ROWS, LABELS, evaluators="knn")
    assert list(evaluation.results["encoder"]) == ["knn"]


@AREA.right("a class of the session as a pretext task")
def _(folder: Path, listener: Listener) -> None:
    assert fitted(pretexts=Larger).record["objective"]["pretexts"] == ["larger"]


@AREA.right("a function as an evaluator, which returns a number, numbers by name or a `Result`")
def _(folder: Path, listener: Listener) -> None:
    def by_name(embeddings: np.ndarray, labels: Any, split: Any) -> dict[str, float]:
        return {"mean": float(embeddings.mean()), "size": len(split.test)}

    def full(embeddings: np.ndarray, labels: Any, split: Any) -> Result:
        return Result({"half": Metric(0.5)})

    evaluation = aekit.evaluate(ROWS, LABELS, evaluators=["knn", spread, by_name, full])
    results = evaluation.results["encoder"]
    assert results["by-name"].metrics["size"].value == 12 and results["full"].metrics["half"].value == 0.5
    assert 0.5 < results["spread"].metrics["value"].value < 1.5
    quick = aekit.evaluate(ROWS, LABELS, evaluators="quick", checks=False)
    assert "spread" not in quick.results["encoder"], "it is not registered"


@AREA.right("two lambdas as evaluators")
def _(folder: Path, listener: Listener) -> None:
    evaluation = aekit.evaluate(ROWS, evaluators=[lambda e, y, s: 1.0, lambda e, y, s: 2.0])
    assert [r.metrics["value"].value for r in evaluation.results["encoder"].values()] == [1.0, 2.0]


@AREA.right("`@aekit.register`: named afterwards, and the newest of a cell that is run again")
def _(folder: Path, listener: Listener) -> None:
    for value in (1.0, 2.0):

        @aekit.register(tags=["labels"])
        def constant(embeddings: np.ndarray, labels: np.ndarray, split: Any, *, factor: float = value) -> float:
            return factor

    evaluation = aekit.evaluate(ROWS, LABELS, evaluators="constant")
    assert evaluation.results["encoder"]["constant"].metrics["value"].value == 2.0
    aekit.register(Jitter, name="my-jitter")
    assert fitted(variants="my-jitter").record["objective"]["variants"] == ["my-jitter"]
    assert "my-jitter" in listener.command("plugins", "--kind", "variant")
    forget()


@AREA.right("a class of the session with the name of a built-in one")
def _(folder: Path, listener: Listener) -> None:
    class Denoising(Jitter):
        pass

    assert fitted(variants=Denoising).record["objective"]["variants"] == ["session-denoising"]


@AREA.refused(
    "`@aekit.register` with the name of a built-in plugin",
    "choose another name, such as aekit.register(name='my-denoising')",
)
def _(folder: Path, listener: Listener) -> None:
    aekit.register(Jitter, name="denoising")


@AREA.refused("`@aekit.register` of a function whose kind cannot be told", "cannot tell the kind of")
def _(folder: Path, listener: Listener) -> None:
    aekit.register(lambda a, b: a)


@AREA.refused("`@aekit.register` with an unknown kind", "no kind 'varaint'; did you mean 'variant'?")
def _(folder: Path, listener: Listener) -> None:
    aekit.register(Jitter, kind="varaint")


@AREA.right("a class of the session as an index, saved and opened")
def _(folder: Path, listener: Listener) -> None:
    index = aekit.build_index(ROWS, folder / "index", engine=Exact)
    assert index.search(ROWS[:3], k=2).rows[:, 0].tolist() == [0, 1, 2]
    assert aekit.open_index(folder / "index").search(ROWS[:1], k=1).ids.tolist() == [["0"]]


@AREA.refused(
    "an index of the code of another session",
    "was code of another Python session; register it again with aekit.register",
)
def _(folder: Path, listener: Listener) -> None:
    aekit.build_index(ROWS, folder / "index", engine=Exact)
    forget()
    aekit.open_index(folder / "index")


@AREA.refused(
    "an object instead of the class of a variant",
    "variants = Jitter object: expected the class; its options are set by overrides",
)
def _(folder: Path, listener: Listener) -> None:
    fitted(variants=[Jitter()])


@AREA.refused(
    "a number as a variant",
    "variants = int object: expected a registered name, or a class derived from aekit.plugin.Variant",
)
def _(folder: Path, listener: Listener) -> None:
    fitted(variants=[3])


@AREA.refused(
    "a pretext task as a variant",
    "variants = Larger: is of kind pretext, expected a class derived from aekit.plugin.Variant",
)
def _(folder: Path, listener: Listener) -> None:
    fitted(variants=Larger)


@AREA.refused("a function as a pretext task that takes no encoder", "of this session failed with TypeError")
def _(folder: Path, listener: Listener) -> None:
    fitted(pretexts=lambda: 3)


@AREA.refused(
    "an evaluator of one argument",
    "evaluators = spread_of: takes x; expected a function of embeddings, labels and split",
)
def _(folder: Path, listener: Listener) -> None:
    def spread_of(x: np.ndarray) -> float:
        return float(x.std())

    spread_of.__qualname__ = "spread_of"
    aekit.evaluate(ROWS, evaluators=spread_of)


# Arguments.


@AREA.refused("a misspelled argument of `fit`", "aekit.fit: no argument 'epoch'; did you mean 'epochs'?")
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(ROWS, epoch=1)  # type: ignore[call-arg]


@AREA.refused(
    "an argument without its name, where it needs one",
    "aekit.draw_map: 2 arguments without a name: expected data; name the others, such as labels = ..., out = ...",
)
def _(folder: Path, listener: Listener) -> None:
    aekit.draw_map(ROWS, folder / "map.png")  # type: ignore[misc]


@AREA.refused(
    "an encoder where embeddings are expected", "embeddings of type Encoder (encoder.embed(data) makes them): expected"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.evaluate(fitted())


@AREA.refused("an encoder for `log_likelihood`", "aekit.log_likelihood: generator is missing")
def _(folder: Path, listener: Listener) -> None:
    aekit.log_likelihood(fitted(), torch.zeros(2, 6))  # type: ignore[arg-type,call-arg]


@AREA.refused("a call without a required argument", "aekit.tune: out and minutes are missing")
def _(folder: Path, listener: Listener) -> None:
    aekit.tune(ROWS)  # type: ignore[call-arg]


@AREA.refused(
    "a misspelled argument of `Encoder.embed`", "aekit.embed: no argument 'batchsize'; did you mean 'batch_size'?"
)
def _(folder: Path, listener: Listener) -> None:
    fitted().embed(ROWS, batchsize=3)


@AREA.right("`lr`, `batch_size` and `device` as arguments of `fit`")
def _(folder: Path, listener: Listener) -> None:
    fitted(lr=0.01, batch_size=16, device=torch.device("cpu"), out=folder / "run", report=False)
    recipe = json.loads((folder / "run" / "results.json").read_text())["recipe"]["train"]
    assert (recipe["lr"], recipe["batch_size"], recipe["device"]) == (0.01, 16, "cpu")


@AREA.refused("a learning rate that is text", "aekit.fit: lr = 'fast': expected a number")
def _(folder: Path, listener: Listener) -> None:
    fitted(lr="fast")


@AREA.refused("a device that this machine lacks", "train.device = 'cuda:99'")
def _(folder: Path, listener: Listener) -> None:
    fitted(device="cuda:99")


@AREA.refused("`progress` that is a number", "progress = 3: expected True, False, None or an aekit.progress.Progress")
def _(folder: Path, listener: Listener) -> None:
    aekit.build_index(ROWS, progress=3)  # type: ignore[arg-type]


@AREA.right("`progress`: silent without a terminal, lines where True")
def _(folder: Path, listener: Listener) -> None:
    errors = io.StringIO()
    with mock.patch.object(sys, "stderr", errors):
        fitted()
        fitted(progress=False)
        assert not errors.getvalue() and type(open_progress(None)) is Progress
        fitted(progress=True)
    assert "data: 60 samples" in errors.getvalue() and "fit: 48 of 48 samples" in errors.getvalue()
    assert isinstance(open_progress(True), Lines)


# Losses of data are warnings.


@AREA.changed("rows with NaN given to `Encoder.embed`", "data: 2 samples skipped, e.g. 3: nan")
def _(folder: Path, listener: Listener) -> None:
    damaged = ROWS.copy()
    damaged[[3, 7], 1] = np.nan
    embeddings = fitted().embed(damaged)
    assert len(embeddings) == 58 and "3" not in embeddings.ids


@AREA.changed("rows with NaN given to `fit`, with progress=False", "data: 1 sample skipped, e.g. 5: inf")
def _(folder: Path, listener: Listener) -> None:
    damaged = ROWS.copy()
    damaged[5, 0] = np.inf
    encoder = aekit.fit(damaged, dim=2, epochs=1, backbone="linear", progress=False)
    assert encoder.record["trained"]["samples"] == 59


@AREA.changed("labels of some samples alone", "evaluate: 20 of 60 samples have no label")
def _(folder: Path, listener: Listener) -> None:
    labels = LABELS.astype(object)
    labels[::3] = None
    evaluation = aekit.evaluate(ROWS, labels, evaluators="knn", checks=False)
    assert evaluation.counts["train"] + evaluation.counts["validation"] + evaluation.counts["test"] == 40


@AREA.right("a loss of data is one UserWarning, which points at the caller")
def _(folder: Path, listener: Listener) -> None:
    encoder = fitted()
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        encoder.embed(np.where(np.arange(60)[:, None] == 1, np.nan, ROWS))
    (warning,) = issued
    assert issubclass(warning.category, DataWarning) and issubclass(DataWarning, UserWarning)
    assert Path(warning.filename).name == Path(__file__).name


@AREA.refused("only rows with NaN given to `Encoder.embed`", "none of 3 samples can be used: 0: nan at (0,); 1: nan")
def _(folder: Path, listener: Listener) -> None:
    fitted().embed(np.full((3, 6), np.nan, np.float32))


# Results as objects.


def embedded() -> aekit.Embeddings:
    """Return embeddings with labels and names."""
    source = aekit.open_data("sklearn:iris")
    encoder = aekit.fit(source, dim=3, epochs=1, backbone="linear")
    return encoder.embed(source)


@AREA.right("embeddings: rows, ids, slices, masks and lists of ids")
def _(folder: Path, listener: Listener) -> None:
    embeddings = embedded()
    assert embeddings.shape == (150, 3) and len(embeddings) == 150 and np.asarray(embeddings).shape == (150, 3)
    assert np.array_equal(embeddings[-1], embeddings.vectors[149]) and np.array_equal(embeddings["7"], embeddings[7])
    part = embeddings[10:20:5]
    assert part.ids == ["10", "15"] and part.digest == embeddings.digest and part.labels is not None
    mask = embeddings.labels == embeddings.labels[0]
    assert len(embeddings[mask]) == mask.sum() == 50
    assert embeddings[["3", "1"]].ids == ["3", "1"] and embeddings[[]].shape == (0, 3)
    assert len(list(embeddings)) == 150 and embeddings[np.int64(2)].shape == (3,)
    evaluation = aekit.evaluate(embeddings[::2], evaluators="knn")
    assert list(evaluation.results) == ["encoder", "raw", "pca-3", "random"], "a part keeps its encoder and its samples"


@AREA.right("embeddings of a folder: a part keeps the encoder; a pickle holds the vectors")
def _(folder: Path, listener: Listener) -> None:
    embedded().encoder.embed("sklearn:iris", out=folder / "embeddings")  # type: ignore[union-attr]
    embeddings = aekit.Embeddings.open(folder / "embeddings")
    assert repr(embeddings).endswith(", labels>") and embeddings._rows is None, "its repr reads no vectors"
    again = pickle.loads(pickle.dumps(embeddings[:40]))  # noqa: S301
    assert np.array_equal(again.vectors, embeddings.vectors[:40]) and again.ids == embeddings.ids[:40]
    evaluation = aekit.evaluate(embeddings[::2], evaluators="knn")
    assert list(evaluation.results) == ["encoder", "raw", "pca-3", "random"]


@AREA.right("a mask of another length, an unknown id and a row that does not exist are Python's own errors")
def _(folder: Path, listener: Listener) -> None:
    embeddings = aekit.Embeddings.from_array(ROWS)
    for which, error, line in (
        (np.ones(3, bool), IndexError, "a mask of 3 values for 60 embeddings"),
        ("60", KeyError, "no embedding has the id '60'"),
        (60, IndexError, "out of bounds"),
        (ROWS, IndexError, "expected a row, an id, a slice, a mask"),
        (0.5, IndexError, "expected a row, an id, a slice, a mask"),
    ):
        try:
            embeddings[which]
        except error as raised:
            assert line in str(raised), raised
        else:
            raise AssertionError(which)


@AREA.right("`similarity`: cosines, with a vector of zeros and of large values")
def _(folder: Path, listener: Listener) -> None:
    vectors = np.array([[3e20, 0], [0, 2e-20], [0, 0], [1, 1]], np.float32)
    similarity = aekit.Embeddings.from_array(vectors).similarity()
    expected = [[1, 0, 0, 0.5**0.5], [0, 1, 0, 0.5**0.5], [0, 0, 0, 0], [0.5**0.5, 0.5**0.5, 0, 1]]
    assert np.allclose(similarity, expected, atol=1e-6)
    one = aekit.Embeddings.from_array(vectors).similarity([1, 0])
    assert one.shape == (4, 1) and np.allclose(one[:, 0], [1, 0, 0, 0.5**0.5])


@AREA.refused("`similarity` with embeddings of another encoder", "this embedding comes from encoder")
def _(folder: Path, listener: Listener) -> None:
    fitted().embed(ROWS).similarity(fitted(seed=1).embed(ROWS))


@AREA.refused("`similarity` with vectors of another length", "vectors of length 5: expected 6, as these embeddings")
def _(folder: Path, listener: Listener) -> None:
    aekit.Embeddings.from_array(ROWS).similarity(ROWS[:, :5])


@AREA.right("search returns hits with ids, scores and labels, which unpack as before")
def _(folder: Path, listener: Listener) -> None:
    embeddings = embedded()
    index = aekit.build_index(embeddings)
    hits = index.search(embeddings[:2], k=3)
    scores, rows = hits
    assert scores.shape == rows.shape == hits.ids.shape == (2, 3) and hits.queries == ["0", "1"]
    assert hits.ids[0, 0] == "0" and hits.labels is not None and hits.labels[0, 0] == embeddings.labels[0]
    assert hits.records() == index.hits(["0", "1"], scores, rows)
    names, scores, rows = index.search_data("sklearn:iris", k=2)
    assert names == list(embeddings.ids)
    assert index.search_ids(["5"], k=2).to_pandas()["id"].tolist() == index.search_ids(["5"], k=2).ids[0].tolist()


@AREA.right("every result has a short repr, and HTML that escapes ids and labels")
def _(folder: Path, listener: Listener) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 1, 8, 8), dtype=np.uint8)
    labels = np.array(["<b>x</b>", "<script>"] * 20)
    np.savez(folder / "x.npz", x=pixels, y=labels)
    encoder = aekit.fit(folder / "x.npz", dim=2, epochs=1)
    embeddings = encoder.embed(folder / "x.npz")
    index = aekit.build_index(embeddings)
    results = [
        encoder,
        embeddings,
        index,
        index.search(embeddings, k=2),
        aekit.evaluate(embeddings, evaluators="knn"),
        aekit.draw_map(embeddings),
        aekit.find_clusters(embeddings, clusters=2),
        aekit.find_anomalies(encoder, pixels, reference=pixels, baselines=False),
    ]
    for result in results:
        text, page = repr(result), result._repr_html_()  # type: ignore[attr-defined]
        assert text.startswith(f"<{type(result).__name__}") and len(text) < 250 and "\n" not in text, text
        assert page.startswith("<div>") and "<b>x" not in page and "<script" not in page, page[:500]
        # A comparison of arrays would raise, and a hash of lists.
        assert result == result and result != copy.copy(result) and result in {None, result}
    frames = [result.to_pandas() for result in results if hasattr(result, "to_pandas")]
    assert [len(frame) for frame in frames] == [40, 80, 5 * len(frames[2]["metric"].unique()), 40, 40, 40]


# Files and places.


@AREA.right("`~` and `$VARIABLES` in every path, also where something is written")
def _(folder: Path, listener: Listener) -> None:
    with mock.patch.dict(os.environ, HOME=str(folder), RUNS="runs"), contextlib.chdir(folder):
        np.save("rows.npy", ROWS)
        encoder = aekit.fit("~/rows.npy", dim=2, epochs=1, backbone="linear", out="~/$RUNS/a")
        assert encoder.save(Path("~/encoder")) == folder / "encoder"
        encoder.embed("$HOME/rows.npy", out="~/embeddings")
        aekit.build_index("~/embeddings", "~/index")
        assert aekit.load("~/runs/a").digest == aekit.open_index("~/index").digest
        listener.command("embed", "~/encoder", "~/rows.npy", "--out=~/embeddings-2")
        names = ["embeddings", "embeddings-2", "encoder", "index", "rows.npy", "runs"]
        assert sorted(os.listdir(folder)) == names


@AREA.right("another working directory than when embeddings, an index and a run were written with relative paths")
def _(folder: Path, listener: Listener) -> None:
    (folder / "other").mkdir()
    np.save(folder / "rows.npy", ROWS)
    with contextlib.chdir(folder):
        encoder = aekit.fit("rows.npy", dim=2, epochs=1, out="run")
        embeddings = encoder.embed("rows.npy", out="embeddings")
        index = aekit.build_index(embeddings, "index")
        opened, loaded = aekit.open_index("index"), aekit.load("run")
        applied = aekit.apply("run", "rows.npy", out="applied")
    with contextlib.chdir(folder / "other"):
        assert embeddings.vectors.shape == (60, 2) and embeddings.source() is not None
        for each in (index, opened):
            assert each.search_data(ROWS[:3], k=1).ids.ravel().tolist() == ["0", "1", "2"]
        assert loaded.embed(ROWS, out="again").digest == encoder.digest
        assert applied.folder == folder / "applied"
        assert aekit.evaluate(embeddings, LABELS, evaluators="knn").results.keys() >= {"encoder", "raw"}


@AREA.refused("an empty text as the path of data", "'': an empty path; expected a folder, a file or SOURCE:NAME")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data("")


@AREA.refused("an empty text as the data to fit", "data.source = '': expected text that is not empty")
def _(folder: Path, listener: Listener) -> None:
    aekit.fit("")


@AREA.right("files are as readable as the umask says, weights too")
def _(folder: Path, listener: Listener) -> None:
    before = os.umask(0o027)
    try:
        fitted(out=folder / "run", report=False)
        aekit.build_index(ROWS, folder / "index")
        aekit.find_clusters(ROWS, clusters=2, out=folder / "clusters")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o640}, modes


def project(folder: Path) -> tuple[Path, Path]:
    """Make a home folder with data in it, and a run on the data elsewhere; return the home folder and the run."""
    home = folder / "users" / "jane"
    home.mkdir(parents=True)
    np.savez(home / "rows.npz", x=ROWS, y=LABELS)
    with mock.patch.dict(os.environ, {"HOME": str(home)}):
        aekit.fit(home / "rows.npz", dim=2, epochs=1, backbone="linear", out=folder / "run")
        aekit.load(folder / "run").embed(home / "rows.npz", out=folder / "embeddings")
        aekit.build_index(folder / "embeddings", folder / "index")
    return home, folder / "run"


@AREA.right("no record, card or report names the home folder of its author, and the data is found by it")
def _(folder: Path, listener: Listener) -> None:
    home, run = project(folder)
    for path in folder.rglob("*"):
        if path.is_file() and home not in path.parents:
            assert b"jane" not in path.read_bytes(), path
    assert json.loads((run / "encoder" / "encoder.json").read_text())["data"]["data"] == "~/rows.npz"
    with mock.patch.dict(os.environ, {"HOME": str(home)}):
        assert aekit.make_report(run).exists()
        source, _ = aekit.Embeddings.open(folder / "embeddings").source() or (None, None)
        assert source is not None and len(source) == 60


@AREA.right("a project that was moved with its data: the data is found beside the run")
def _(folder: Path, listener: Listener) -> None:
    (folder / "a" / "data").mkdir(parents=True)
    np.savez(folder / "a" / "data" / "rows.npz", x=ROWS, y=LABELS)
    encoder = aekit.fit(
        folder / "a" / "data" / "rows.npz", dim=2, epochs=1, backbone="linear", out=folder / "a" / "runs" / "1"
    )
    encoder.embed(folder / "a" / "data" / "rows.npz", out=folder / "a" / "embeddings")
    saved = (folder / "a" / "runs" / "1" / "encoder" / "encoder.json").read_text()
    assert json.loads(saved)["data"]["data"] == "data/rows.npz" and str(folder) not in saved
    shutil.move(folder / "a", folder / "b")
    assert aekit.make_report(folder / "b" / "runs" / "1").exists()
    evaluation = aekit.evaluate(folder / "b" / "embeddings", evaluators="knn")
    assert list(evaluation.results) == ["encoder", "raw", "pca-2", "random"]
    assert any("trained, without labels, on the same samples" in note for note in evaluation.notes)


@AREA.refused("a run whose data can be at two places", "pass one of them")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "rows.npz", x=ROWS)
    aekit.fit(folder / "rows.npz", dim=2, epochs=1, backbone="linear", out=folder / "runs" / "1", report=False)
    np.savez(folder / "runs" / "rows.npz", x=ROWS + 1)
    aekit.make_report(folder / "runs" / "1")


@AREA.refused(
    "a run whose data is gone",
    "its training data is not available: rows.npz: no such file or folder in the folders above",
)
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "rows.npz", x=ROWS)
    aekit.fit(folder / "rows.npz", dim=2, epochs=1, backbone="linear", out=folder / "run", report=False)
    (folder / "rows.npz").unlink()
    aekit.make_report(folder / "run")


@AREA.right("`--json` prints JSON alone, of every command that prints results")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "rows.npz", x=ROWS, y=LABELS)
    run, embeddings = folder / "run", folder / "embeddings"
    quick = ("--set", "train.epochs=1", "--set", "encoder.dim=2", "--set", "evaluate.evaluators=['knn']")
    commands = {
        "fit": ("fit", folder / "rows.npz", "-o", run, "--no-report", "--device", "cpu", *quick),
        "embed": ("embed", run, folder / "rows.npz", "-o", embeddings, "--device", "cpu"),
        "index": ("index", embeddings, "-o", folder / "index"),
        "search": ("search", folder / "index", "id:3", "--device", "cpu"),
        "evaluate": ("evaluate", embeddings, "--evaluator", "knn", "--device", "cpu"),
        "cluster": ("cluster", embeddings, "-o", folder / "clusters", "-k", "2"),
        "map": ("map", embeddings, "-o", folder / "map.png"),
        "explore": ("explore", embeddings, "-o", folder / "atlas", "--method", "pca"),
        "export": ("export", run, "-o", folder / "model.pt2"),
        "finetune": ("finetune", run, folder / "rows.npz", "-o", folder / "tuned", "--epochs", "1", "--device", "cpu"),
        "report": ("report", run),
        "data": ("data", folder / "rows.npz"),
    }
    printed = {name: json.loads(listener.command(*command, "--json")) for name, command in commands.items()}
    assert (
        printed["fit"]["digest"]
        == printed["embed"]["digest"]
        == printed["index"]["digest"]
        == printed["export"]["digest"]
    )
    assert printed["embed"]["count"] == printed["map"]["samples"] == printed["explore"]["samples"] == 60
    assert len(printed["cluster"]["clusters"]) == 2 and printed["search"][0]["query"] == "id:3"
    assert "finetuned" in printed["finetune"]["accuracy"] and printed["report"]["missing"] == []


def forget() -> None:
    """Forget what the session registered, as another session would not know it."""
    session_plugins().clear()
    registry.cache_clear()


def edit_program(path: Path, old: str, new: str) -> None:
    """Replace text in the graph of a program."""
    import zipfile

    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(path, "w") as edited:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith("models/model.json"):
                assert old.encode() in data
                data = data.replace(old.encode(), new.encode())
            edited.writestr(name, data)
