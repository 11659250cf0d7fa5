"""Plugins of others that raise, or return something else than their contract says, while they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from unusual.harness import Area, Listener
from unusual.plugins import entry, installed

import aekit

AREA = Area(__name__)
ROWS = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)

TOP = """
import numpy as np
import torch
from torch import nn
from aekit.plugin import Backbone, DamagedBatch, Index, Metric, Pretext, Result, RestorationTask, SampleSpec, Source, Variant
"""
VARIANTS = {
    "forgets-super": ("def __init__(self): self.level = 1", "its __init__ does not call super().__init__"),
    "raises-when-built": (
        "def __init__(self):\n        super().__init__()\n        {}['level']",
        "variant 'theirs' of others 1.4 failed with KeyError: 'level' (",
    ),
    "raises-in-a-step": (
        "def penalty(self, step): return {'p': step.code[:, 77].mean()}",
        "variant 'theirs' of others 1.4 failed with IndexError: index 77 is out of bounds",
    ),
    "raises-after-a-step": ("def after_step(self): 1 / 0", "failed with ZeroDivisionError: division by zero ("),
    "returns-nothing": (
        "def corrupt(self, x, generator): x * 2",
        "variant 'theirs' of others 1.4: corrupt() returned NoneType: expected a tensor (60, 8)",
    ),
    "returns-a-pair": (
        "def augment(self, x, generator): return x, None",
        "augment() returned tuple: expected a tensor",
    ),
    "crops": (
        "def corrupt(self, x, generator): return x[:, 1:]",
        "corrupt() returned torch.float32 of shape (60, 7): expected torch.float32 of shape (60, 8), as its input",
    ),
    "widens": (
        "def corrupt(self, x, generator): return x.double()",
        "corrupt() returned torch.float64 of shape (60, 8)",
    ),
    "weights-one": (
        "def loss_weights(self, clean, corrupted): return clean[0]",
        "loss_weights() returned torch.float32",
    ),
    "penalty-tensor": (
        "def penalty(self, step): return step.code.mean()",
        "variant 'theirs' of others 1.4: penalty() returned Tensor: expected a dict of scalars",
    ),
    "penalty-number": (
        "def penalty(self, step): return {'p': 0.5}",
        "penalty() returned 'p' as float: expected a tensor of shape ()",
    ),
    "metric-per-sample": (
        "def metrics(self, step): return {'m': step.code.mean(1)}",
        "metrics() returned 'm' as Tensor of shape (60,): expected a tensor of shape ()",
    ),
    "loss-per-sample": (
        "def reconstruction_loss(self, step): return step.errors",
        "reconstruction_loss() returned Tensor of shape (60,): expected a tensor of shape ()",
    ),
    "takes-no-generator": (
        "def corrupt(self, x): return x",
        "variant 'theirs' of others 1.4: corrupt(self, x): expected corrupt(self, x, generator)",
    ),
    "wide-head": (
        "def head(self, features_shape, dim): return nn.Linear(features_shape[0], dim + 1)",
        "the head of the encoder, Linear, returned a tensor of shape (60, 3): expected (B, 2)",
    ),
    "head-function": (
        "def head(self, features_shape, dim): return lambda x: x[:, :dim]",
        "variant 'theirs' of others 1.4: head() returned function: expected an nn.Module",
    ),
    "unknown-annotation": (
        "def __init__(self, *, level: 'Nowhere' = 1): super().__init__()",
        "variant 'theirs' of others 1.4: an annotation of Theirs cannot be read: name 'Nowhere' is not defined",
    ),
}
TASK = """
    def __init__(self, encoder):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, 1)

    def told(self, x):
        return (self.head(self.encoder.encode(x))[:, 0] - x.mean(1)).square().mean()
"""
PRETEXTS = {
    "loss-tensor": (
        f"{TASK}\n    def loss(self, x, generator): return self.told(x)",
        "pretext 'theirs' of others 1.4: loss() returned Tensor: expected a dict of scalars",
    ),
    "loss-without-name": (
        f"{TASK}\n    def loss(self, x, generator): return {{'los': self.told(x)}}",
        "loss() returned 'los': expected 'loss' among them",
    ),
    "loss-detached": (
        f"{TASK}\n    def loss(self, x, generator): return {{'loss': self.told(x).detach()}}",
        "loss() returned a 'loss' without a gradient: compute it from encoder.encode(), and do not detach it",
    ),
    "logs-text": (
        f"{TASK}\n    def loss(self, x, generator): return {{'loss': self.told(x), 'note': 'good'}}",
        "loss() returned 'note' as str: expected a tensor of shape ()",
    ),
    "no-loss": (TASK, "pretext 'theirs' of others 1.4 defines no loss(x, generator)"),
    "no-encoder": (
        "def __init__(self, encoder): super().__init__()",
        "pretext 'theirs' of others 1.4 failed with TypeError: Pretext.__init__() missing 1 required",
    ),
}
RESTORATIONS = {
    "damage-tensor": (
        "def damage(self, x, generator): return x * 0",
        "pretext 'theirs' of others 1.4: damage() returned Tensor: expected a DamagedBatch, such as DamagedBatch(visible)",
    ),
    "damage-crops": ("def damage(self, x, generator): return DamagedBatch(x[:, 1:])", "of shape (60, 7): expected"),
    "damage-number-mask": (
        "def damage(self, x, generator): return DamagedBatch(x * 0, x)",
        "damage() returned a mask torch.float32 of shape (60, 8): expected a bool mask that broadcasts to (60, 8)",
    ),
    "damage-without-generator": ("def damage(self, x): return x", "expected damage(self, x, generator)"),
    "no-damage": ("pass", "pretext 'theirs' of others 1.4 defines no damage(x, generator)"),
}
NETWORK = """
    def __init__(self, spec):
        super().__init__()
        self.stages = nn.ModuleList([nn.Linear(spec.size, 5)])
        self.features_dim, self.features_shape = 5, (5,)
"""
BACKBONES = {
    "no-stages": (
        "def __init__(self, spec):\n        super().__init__()\n        self.features_dim = 5",
        "backbone 'theirs' of others 1.4: stages is missing: expected an nn.ModuleList with one module or more",
    ),
    "stages-a-list": (
        f"{NETWORK}        self.stages, self.layers = None, self.stages\n        self.__dict__['stages'] = [1]",
        "stages is list: expected an nn.ModuleList",
    ),
    "no-width": (
        f"{NETWORK}        del self.features_dim",
        "features_dim is missing: expected the width of the features",
    ),
    "shape-of-another": (
        f"{NETWORK}        self.features_shape = (2, 2)",
        "features_shape is (2, 2): expected a tuple of 5 entries in all",
    ),
    "width-of-another": (
        f"{NETWORK}        self.features_dim, self.features_shape = 9, (9,)",
        "backbone 'theirs' of others 1.4: forward returned (2, 5): expected (2, 9), its features_dim",
    ),
    "raises": (
        f"{NETWORK}\n    def forward(self, x): raise IndexError('no such layer')",
        "backbone 'theirs' of others 1.4: on a batch of shape (2, 8) it raised IndexError: no such layer",
    ),
    "returns-a-pair": (
        f"{NETWORK}\n    def forward(self, x): return super().forward(x), None",
        "for a batch of 2 samples it returned tuple; expected features (2, F)",
    ),
}
SOURCE = """
    def __init__(self, where, like):
        self.x, self.labels = np.zeros((40, 3), np.float32), np.arange(40) % 2
        self.spec, self.ids = SampleSpec("vector", (3,), "float32"), [f"s{row}" for row in range(40)]
        self.change()

    def change(self): pass
    def read(self, indices): return self.out(self.x[indices], np.ones(len(indices), bool))
    def out(self, rows, ok): return rows, ok
"""
SOURCES = {
    "ids-numbers": ("def change(self): self.ids = list(range(40))", "ids[0] is 0: expected text, such as '0'"),
    "no-ids": (
        "def change(self): del self.ids",
        "source 'theirs' of others 1.4: ids is missing: expected a list of texts",
    ),
    "no-spec": ("def change(self): del self.spec", "spec is missing: expected an aekit.plugin.SampleSpec"),
    "spec-kind": (
        "def change(self): self.spec = SampleSpec('vectors', (3,), 'float32')",
        "spec.kind = 'vectors': expected vector, series, image, clip",
    ),
    "few-labels": (
        "def change(self): self.labels = self.labels[:5]",
        "labels is an array (5,): expected an array (40,), one entry per id",
    ),
    "listed-labels": ("def change(self): self.labels = [0] * 40", "labels is list: expected an array (40,)"),
    "split-names": (
        "def change(self): self.splits = np.array(['train', 'val'] * 20)",
        "splits has 'val': expected train, validation, test",
    ),
    "reads-rows-alone": (
        "def out(self, rows, ok): return rows",
        "read() returned ndarray: expected samples and a mask",
    ),
    "reads-lists": (
        "def out(self, rows, ok): return rows.tolist(), ok",
        "read() returned samples as list: expected an array (40, 3)",
    ),
    "reads-too-few": (
        "def out(self, rows, ok): return rows[1:], ok[1:]",
        "source 'theirs' of others 1.4: read() returned samples as an array (39, 3): expected an array (40, 3)",
    ),
    "reads-another-type": (
        "def out(self, rows, ok): return rows.astype(np.float64), ok",
        "read() returned samples of float64: expected float32, as its spec says",
    ),
    "mask-of-numbers": (
        "def out(self, rows, ok): return rows, ok.astype(int)",
        "read() returned the mask as int64: expected bool",
    ),
}
ENGINE = """
    def build(self, batches, count, dim, metric):
        self.x = np.concatenate(list(batches()))
        return "exact"

    def add(self, vectors): pass
    def search(self, queries, k):
        scores = queries @ self.x.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return self.out(np.take_along_axis(scores, rows, 1), rows)
    def out(self, scores, rows): return scores, rows
    def vectors(self, rows): return self.x[rows]
    def save(self, path):
        np.save(path.open("wb"), self.x)
        return {}
    def load(self, path, settings): self.x = np.load(path)
"""
INDEXES = {
    "rows-alone": ("def out(self, scores, rows): return rows", "search() returned ndarray: expected scores (30, 11)"),
    "lists": (
        "def out(self, scores, rows): return scores, rows.tolist()",
        "index 'theirs' of others 1.4: search() returned rows as list: expected an array (30, 11)",
    ),
    "too-few": ("def out(self, scores, rows): return scores[:, 1:], rows[:, 1:]", "scores as an array (30, 10)"),
    "fractions": ("def out(self, scores, rows): return scores, rows * 1.0", "rows of float64: expected integers"),
    "worst-first": (
        "def out(self, scores, rows): return scores[:, ::-1], rows[:, ::-1]",
        "search() returned scores that are not best first, the largest",
    ),
    "not-a-number": ("def out(self, scores, rows): return scores * np.nan, rows", "search() returned NaN as a score"),
    "twice": (
        "def out(self, scores, rows): return scores, 0 * rows",
        "index 'theirs' of others 1.4: search() returned a row twice for one query",
    ),
    "raises": (
        "def search(self, queries, k): raise KeyError('shard')",
        "index 'theirs' of others 1.4 failed with KeyError: 'shard' (",
    ),
    "saves-arrays": (
        "def save(self, path):\n        super().save(path)\n        return {'x': self.x[0]}",
        "save() returned {'x': array(",
    ),
    "saves-nothing": ("def save(self, path): return {}", "save() wrote no file at the path that it was given"),
}
EVALUATORS = {
    "nan": ("return Result({'a': Metric(float('nan'))})", "returned a = nan: expected a finite number"),
    "array": ("return Result({'a': Metric(np.ones(3))})", "returned a = array([1., 1., 1.]): expected a finite number"),
    "number": ("return Result({'a': 0.5})", "evaluator 'theirs' of others 1.4 returned a as float: expected a Metric"),
    "list": ("return Result([Metric(0.5)])", "returned metrics as list: expected one metric or more by name"),
    "few-scores": (
        "return Result({'a': Metric(0.5)}, scores=np.full(3, 0.5))",
        "returned scores of shape (3,): expected (",
    ),
    "few-predictions": (
        "return Result({'a': Metric(0.5)}, predictions=np.zeros(3))",
        "returned predictions of shape (3,): expected (",
    ),
    "note": ("return Result({'a': Metric(0.5)}, notes='fine')", "returned notes = 'fine': expected a list of texts"),
    "exits": ("raise SystemExit(3)", "evaluator 'theirs' of others 1.4 failed with SystemExit: 3"),
}


def _class(base: str, *bodies: str) -> str:
    """Return the code of a class of each body, derived from the one before."""
    names = [f"Theirs{number}" for number in range(len(bodies) - 1)] + ["Theirs"]
    bases = [base, *names]
    return TOP + "\n".join(f"class {n}({b}):\n    {text}\n" for n, b, text in zip(names, bases, bodies))


def _fit(folder: Path, code: str, kind: str, tags: str = "()", **arguments: object) -> None:
    with installed(folder, entry("theirs", "Theirs", tags=tags), kind=f"{kind}s", code=code):
        aekit.fit(ROWS, **{"dim": 2, "epochs": 1, "batch_size": 60, "backbone": "linear", **arguments})  # type: ignore[arg-type]


def _variant(name: str, body: str, says: str) -> None:
    @AREA.refused(f"a variant of others: {name}", says)
    def _(folder: Path, listener: Listener) -> None:
        _fit(folder, _class("Variant", body), "variant", variants=["theirs"])


def _pretext(name: str, body: str, says: str) -> None:
    @AREA.refused(f"a pretext task of others: {name}", says)
    def _(folder: Path, listener: Listener) -> None:
        base = "RestorationTask" if name in RESTORATIONS else "Pretext"
        _fit(folder, _class(base, body), "pretext", pretexts=["theirs"], backbone="mlp")


def _backbone(name: str, body: str, says: str) -> None:
    @AREA.refused(f"a backbone of others: {name}", says)
    def _(folder: Path, listener: Listener) -> None:
        _fit(folder, _class("Backbone", body), "backbone", "('vector',)", backbone="theirs", variants=["plain"])


def _source(name: str, body: str, says: str) -> None:
    @AREA.refused(f"a source of others: {name}", says)
    def _(folder: Path, listener: Listener) -> None:
        code = _class("Source", SOURCE, body)
        with installed(folder, entry("theirs", "Theirs"), kind="sources", code=code):
            aekit.fit("theirs:x", dim=2, epochs=1, backbone="linear")


def _index(name: str, body: str, says: str) -> None:
    @AREA.refused(f"an index of others: {name}", says)
    def _(folder: Path, listener: Listener) -> None:
        embeddings = aekit.Embeddings.from_array(ROWS)
        with installed(folder, entry("theirs", "Theirs"), kind="indexes", code=_class("Index", ENGINE, body)):
            aekit.build_index(embeddings, folder / "index", engine="theirs")


def _evaluator(name: str, body: str, says: str) -> None:
    @AREA.refused(f"an evaluator of others: {name}", says)
    def _(folder: Path, listener: Listener) -> None:
        code = f"{TOP}\ndef Theirs(embeddings, labels, split):\n    {body}\n"
        with installed(folder, entry("theirs", "Theirs"), kind="evaluators", code=code):
            aekit.evaluate(ROWS, np.arange(60) % 2, evaluators=["theirs"])


for _add, _cases in (
    (_variant, VARIANTS),
    (_pretext, PRETEXTS | RESTORATIONS),
    (_backbone, BACKBONES),
    (_source, SOURCES),
    (_index, INDEXES),
    (_evaluator, EVALUATORS),
):
    for _name, (_body, _says) in _cases.items():
        _add(_name, _body, _says)


@AREA.right("a source of others that says nothing about skipped samples")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("theirs", "Theirs"), kind="sources", code=_class("Source", SOURCE)):
        assert aekit.fit("theirs:x", dim=2, epochs=1, backbone="linear").embed("theirs:x").vectors.shape == (40, 2)
