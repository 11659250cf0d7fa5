"""Writes a working plugin package, with its test, for somebody to start from."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from aekit.errors import PluginError
from aekit.io.atomic import atomic_folder
from aekit.registry.discovery import HOOK_OF, registry
from aekit.registry.hookspecs import API_VERSION


def new_plugin(name: str, kind: str = "variant", folder: str | Path | None = None) -> Path:
    """Writes the distribution ``aekit-NAME`` with one plugin, which does something simple and passes the conformance kit.

    Args:
        name: lower case words joined by hyphens.
        kind: of plugin; all but ``command``.
        folder: to write; default: ``aekit-NAME`` here.

    Raises:
        PluginError: a name that is not usable, or that a plugin of this kind has already.
        OutputError: there is something at the folder already, or it cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 50:
        raise PluginError(f"name {name!r}: expected lower case words joined by hyphens, such as 'my-{kind}'")
    if registry().has(kind, name):
        raise PluginError(f"there is a {kind} {name!r} already; choose another name")
    code, attribute, tags = _PLUGINS[kind]
    camel = "".join(word.capitalize() for word in name.split("-"))
    if keyword.iskeyword(camel) or re.search(rf"\b{camel}\b", code):
        camel += kind.capitalize()
    distribution = name if name.startswith("aekit-") else f"aekit-{name}"
    words = {
        "name": name,
        "kind": kind,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "camel": camel,
        "attribute": Template(attribute).substitute(camel=camel),
        "hook": HOOK_OF[kind],
        "api": API_VERSION,
        "tags": tags,
    }
    files = {**_FILES, "$package/plugin.py": code}
    target = Path(folder or distribution)
    with atomic_folder(target) as part:
        for path, text in files.items():
            file = part / Template(path).substitute(words)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(text).substitute(words).lstrip("\n"), "utf-8")
    return target


_FILES = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "The $kind $name for aekit"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["aekit"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.aekit]
hooks = "$package"

[tool.hatch.build.targets.wheel]
packages = ["$package"]

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "README.md": """
# $distribution

The $kind `$name` for [aekit](https://pypi.org/project/aekit).

    pip install -e '.[test]'
    aekit plugins show $kind $name
    aekit plugins test $name
    pytest

`$package/__init__.py` registers it and has to stay light: aekit imports it to list plugins. The code is in
`$package/plugin.py`. Its keyword-only parameters are its options.
""",
    "$package/__init__.py": '''
"""Registers the $kind $name with aekit. It imports none of the plugin's code, so that listing plugins is quick."""

from aekit import Entry, hookimpl


@hookimpl
def $hook() -> list[Entry]:
    return [
        Entry(
            name="$name",
            target="$package.plugin:$attribute",
            summary="one line about what $name does",
            api=$api,$tags
        )
    ]
''',
    "tests/test_conformance.py": '''
"""Holds the plugin to aekit's contract: one test a check."""

from aekit.testing import conformance

test_conformance = conformance("$kind", "$name")
''',
}

_VARIANT = '''
"""The variant $name: it adds Gaussian noise to what the encoder sees. Put your own idea in its place."""

from __future__ import annotations

from typing import Annotated

import torch
from aekit import Field, Variant
from torch import Tensor


class $camel(Variant):
    """What it does, and the paper it comes from."""

    def __init__(
        self,
        *,
        level: Annotated[float, Field(ge=0, description="deviation of the noise, on the preprocessed scale")] = 0.1,
    ) -> None:
        super().__init__()
        self.level = level

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """(B, *shape) -> (B, *shape)."""
        return x + self.level * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
'''

_PRETEXT = '''
"""The pretext task $name: it tells flipped samples from others. Put your own idea in its place."""

from __future__ import annotations

from typing import Annotated

import torch
from aekit import Encoder, Field, Pretext
from torch import Tensor, nn


class $camel(Pretext):
    """What it does, and the paper it comes from."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        share: Annotated[float, Field(gt=0, lt=1, description="of samples that are flipped")] = 0.5,
    ) -> None:
        super().__init__(encoder)
        self.share = share
        self.head = nn.Linear(encoder.dim, 1)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, *shape) preprocessed -> the loss, and scalars to log."""
        flipped = torch.rand(len(x), generator=generator, device=x.device) < self.share
        seen = torch.where(flipped.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
        told = self.head(self.encoder.encode(seen))[:, 0].float()
        loss = nn.functional.binary_cross_entropy_with_logits(told, flipped.float())
        return {"loss": loss, "right": ((told > 0) == flipped).float().mean()}
'''

_BACKBONE = '''
"""The backbone $name: two linear layers. Put your own idea in its place."""

from __future__ import annotations

from typing import Annotated

from aekit import Backbone, Field, SampleSpec
from torch import nn


class $camel(Backbone):
    """What it does, and the paper it comes from."""

    def __init__(
        self, spec: SampleSpec, *, width: Annotated[int, Field(ge=1, description="of the two layers")] = 128
    ) -> None:
        super().__init__()
        self.spec, self.width = spec, width
        first = nn.Sequential(nn.Flatten(), nn.Linear(spec.size, width), nn.ReLU())
        self.stages = nn.ModuleList([first, nn.Sequential(nn.Linear(width, width), nn.ReLU())])
        self.features_dim, self.features_shape = width, (width,)

    def mirror(self, stage: int) -> nn.Module:
        """From the output of a stage back to its input, before any activation: `between` adds a ReLU where one belongs.

        Without a mirror there is no decoder, only pretext tasks.
        """
        if stage == 0:
            return nn.Sequential(nn.Linear(self.width, self.spec.size), nn.Unflatten(1, self.spec.shape))
        return nn.Linear(self.width, self.width)
'''

_SOURCE = '''
"""The source $name: as many random vectors of two classes as asked for. Put your own data in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from aekit import ArraySource, Field, SampleSpec, Source
from aekit.errors import DataError


def open_source(
    where: str,
    like: SampleSpec | None = None,
    *,
    width: Annotated[int, Field(ge=1, description="numbers in a vector")] = 8,
) -> Source:
    """Opens ``$name:WHERE``. For data that is not in memory, write a subclass of Source with a `read` by the batch.

    Raises:
        DataError: there is no such data.
    """
    if not where.isdigit() or int(where) == 0:
        raise DataError(f"$name:{where}: expected a number of samples, such as $name:100")
    labels = np.arange(int(where)) % 2
    vectors = np.random.default_rng(0).standard_normal((len(labels), width)) + labels[:, None]
    return ArraySource(vectors.astype(np.float32), labels=labels)


def example(folder: Path) -> str:
    """A small data set for the conformance kit, made in the folder if it needs files: what to open."""
    return "24"
'''

_EVALUATOR = '''
"""The evaluator $name: how often the nearest class mean is the right one. Put your own idea in its place."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from aekit import Field
from aekit.evaluation import Metric, Result, Split, bootstrap


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    seed: Annotated[int, Field(ge=0, description="of the bootstrap")] = 0,
) -> Result:
    """Judges embeddings (N, D) by labels (N,); `split` holds positions into both.

    What it chooses, it chooses on split.validation; split.test is for the figure alone.
    """
    seen = np.concatenate([split.train, split.validation])
    classes = np.unique(labels[seen])
    means = np.stack([embeddings[seen][labels[seen] == name].mean(axis=0) for name in classes])
    distances = ((embeddings[split.test][:, None] - means) ** 2).sum(axis=2)  # (N, C)
    right = (classes[distances.argmin(axis=1)] == labels[split.test]).astype(np.float64)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(right, seed=seed)}
    return Result(metrics, scores=right)
'''

_INDEX = '''
"""The index $name: exact search in memory. Put your own idea in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from aekit import Field
from aekit.index import Batches, Index, Metric


class $camel(Index):
    """Compares queries with every vector."""

    def __init__(self, *, block: Annotated[int, Field(ge=1, description="queries at a time")] = 256) -> None:
        self.block = block

    def build(self, batches: Batches, count: int, dim: int, metric: Metric) -> str:
        self.held = np.concatenate(list(batches()))
        self.metric = metric
        return "exact, as that is simplest"

    def add(self, vectors: np.ndarray) -> None:
        self.held = np.concatenate([self.held, vectors])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = np.zeros((len(queries), k), np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for start in range(0, len(queries), self.block):
            part = slice(start, start + self.block)
            found = queries[part] @ self.held.T  # (Q, N)
            if self.metric == "l2":
                found = (queries[part] ** 2).sum(1)[:, None] - 2 * found + (self.held**2).sum(1)
            best = np.argsort(found if self.metric == "l2" else -found, axis=1, kind="stable")[:, :k]
            rows[part, : best.shape[1]] = best
            scores[part, : best.shape[1]] = np.take_along_axis(found, best, axis=1)
        return scores, rows

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return self.held[rows]

    def save(self, path: Path) -> dict[str, Any]:
        with path.open("wb") as file:
            np.save(file, self.held, allow_pickle=False)
        return {"metric": self.metric}

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.held, self.metric = np.load(path, allow_pickle=False), settings["metric"]
'''

_KINDS = '\n            tags=("vector", "series", "image", "clip"),'
_PLUGINS = {
    "variant": (_VARIANT, "$camel", ""),
    "pretext": (_PRETEXT, "$camel", ""),
    "backbone": (_BACKBONE, "$camel", _KINDS),
    "source": (_SOURCE, "open_source", ""),
    "index": (_INDEX, "$camel", ""),
    "evaluator": (_EVALUATOR, "evaluate", '\n            tags=("labels",),'),
}
"""Kind -> the plugin's code, what the entry names in it, and the entry's tags."""
