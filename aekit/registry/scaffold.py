"""Write a working plugin package, with its test, as a starting point."""

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
    """Write the distribution ``aekit-NAME`` with one simple plugin that passes the conformance kit.

    The package imports from `aekit.plugin` alone, and its test from `aekit.testing`.

    Args:
        name: lower-case words joined by hyphens.
        kind: kind of the plugin; any but ``command``.
        folder: folder to write; default: ``aekit-NAME`` in the working directory.

    Returns:
        the folder.

    Raises:
        PluginError: the name is malformed, or a plugin of this kind has it already.
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 50:
        raise PluginError(f"name {name!r}: expected lower-case words joined by hyphens, such as 'my-{kind}'")
    if registry().has(kind, name):
        raise PluginError(f"{kind} {name!r} exists already; choose another name")
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

`$package/__init__.py` registers the plugin and must import quickly: aekit imports it to list plugins. The code is in
`$package/plugin.py`; its keyword-only parameters are its options. Import from `aekit.plugin` alone: the other modules of
aekit may change without notice.
""",
    "$package/__init__.py": '''
"""Register the $kind $name with aekit, without importing its code, so that listing plugins is quick."""

from aekit.plugin import Entry, hookimpl


@hookimpl
def $hook() -> list[Entry]:
    return [
        Entry(
            name="$name",
            target="$package.plugin:$attribute",
            summary="describe in one line what $name does",
            api=$api,$tags
        )
    ]
''',
    "tests/test_conformance.py": '''
"""Check that the plugin meets aekit's contract: one test per check."""

from aekit.testing import conformance

test_conformance = conformance("$kind", "$name")
''',
}

_VARIANT = '''
"""The variant $name: add Gaussian noise to the encoder's input. Replace it with your own idea."""

from __future__ import annotations

from typing import Annotated

import torch
from aekit.plugin import Field, Variant
from torch import Tensor


class $camel(Variant):
    """Describe the variant here, and cite its paper."""

    def __init__(
        self,
        *,
        level: Annotated[float, Field(ge=0, description="standard deviation of the noise, after preprocessing")] = 0.1,
    ) -> None:
        super().__init__()
        self.level = level

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise to preprocessed samples: (B, *shape) -> (B, *shape)."""
        return x + self.level * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
'''

_PRETEXT = '''
"""The pretext task $name: recognize flipped samples. Replace it with your own idea."""

from __future__ import annotations

from typing import Annotated

import torch
from aekit.plugin import Encoder, Field, Pretext
from torch import Tensor, nn


class $camel(Pretext):
    """Describe the task here, and cite its paper."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        flip_ratio: Annotated[float, Field(gt=0, lt=1, description="fraction of samples to flip")] = 0.5,
    ) -> None:
        super().__init__(encoder)
        self.flip_ratio = flip_ratio
        self.head = nn.Linear(encoder.dim, 1)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the loss, and scalars to log, of preprocessed samples (B, *shape)."""
        flipped = torch.rand(len(x), generator=generator, device=x.device) < self.flip_ratio
        inputs = torch.where(flipped.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
        logits = self.head(self.encoder.encode(inputs))[:, 0].float()
        loss = nn.functional.binary_cross_entropy_with_logits(logits, flipped.float())
        return {"loss": loss, "accuracy": ((logits > 0) == flipped).float().mean()}
'''

_BACKBONE = '''
"""The backbone $name: two linear layers. Replace it with your own idea."""

from __future__ import annotations

from typing import Annotated

from aekit.plugin import Backbone, Field, SampleSpec
from torch import nn


class $camel(Backbone):
    """Describe the network here, and cite its paper."""

    def __init__(
        self, spec: SampleSpec, *, width: Annotated[int, Field(ge=1, description="width of both layers")] = 128
    ) -> None:
        super().__init__()
        self.spec, self.width = spec, width
        first = nn.Sequential(nn.Flatten(), nn.Linear(spec.size, width), nn.ReLU())
        self.stages = nn.ModuleList([first, nn.Sequential(nn.Linear(width, width), nn.ReLU())])
        self.features_dim, self.features_shape = width, (width,)

    def mirror(self, stage: int) -> nn.Module:
        """Return a module from the output of a stage back to its input, before any activation.

        Without `mirror` the backbone has no decoder and trains with pretext tasks alone.
        """
        if stage == 0:
            return nn.Sequential(nn.Linear(self.width, self.spec.size), nn.Unflatten(1, self.spec.shape))
        return nn.Linear(self.width, self.width)
'''

_SOURCE = '''
"""The source $name: random vectors of two classes. Replace them with your own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from aekit.plugin import ArraySource, DataError, Field, SampleSpec, Source


def open_source(
    where: str,
    like: SampleSpec | None = None,
    *,
    width: Annotated[int, Field(ge=1, description="length of a vector")] = 8,
) -> Source:
    """Open ``$name:WHERE``. For data that does not fit in memory, write a subclass of Source with its own `read`.

    Raises:
        DataError: `where` is not a number of samples.
    """
    if not where.isdigit() or int(where) == 0:
        raise DataError(f"$name:{where}: expected a number of samples, such as $name:100")
    labels = np.arange(int(where)) % 2
    vectors = np.random.default_rng(0).standard_normal((len(labels), width)) + labels[:, None]
    return ArraySource(vectors.astype(np.float32), labels=labels)


def example(folder: Path) -> str:
    """Return what the conformance kit opens; a source that reads files writes a small data set into `folder` first."""
    return "24"
'''

_EVALUATOR = '''
"""The evaluator $name: accuracy of the nearest class mean. Replace it with your own idea."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from aekit.plugin import Field, Metric, Result, Split, bootstrap


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    split: Split,
    *,
    seed: Annotated[int, Field(ge=0, description="seed of the bootstrap")] = 0,
) -> Result:
    """Evaluate embeddings (N, D) by labels (N,); `split` holds positions into both.

    Select settings on split.validation; use split.test for the final metric alone.
    """
    training = np.concatenate([split.train, split.validation])
    classes = np.unique(labels[training])
    means = np.stack([embeddings[training][labels[training] == name].mean(axis=0) for name in classes])
    distances = ((embeddings[split.test][:, None] - means) ** 2).sum(axis=2)  # (N, C)
    correct = (classes[distances.argmin(axis=1)] == labels[split.test]).astype(np.float64)
    metrics: dict[str, Metric] = {"accuracy": bootstrap(correct, seed=seed)}
    return Result(metrics, scores=correct)
'''

_INDEX = '''
"""The index $name: exact search in memory. Replace it with your own idea."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from aekit.plugin import BatchFactory, Field, Index, Similarity


class $camel(Index):
    """Compare queries with every vector."""

    def __init__(self, *, block: Annotated[int, Field(ge=1, description="queries compared at a time")] = 256) -> None:
        self.block = block

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        self.stored = np.concatenate(list(batches()))
        self.metric = metric
        return "exact search, the simplest kind"

    def add(self, vectors: np.ndarray) -> None:
        self.stored = np.concatenate([self.stored, vectors])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = np.zeros((len(queries), k), np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for start in range(0, len(queries), self.block):
            part = slice(start, start + self.block)
            similarities = queries[part] @ self.stored.T  # (Q, N)
            if self.metric == "l2":
                similarities = (queries[part] ** 2).sum(1)[:, None] - 2 * similarities + (self.stored**2).sum(1)
            best = np.argsort(similarities if self.metric == "l2" else -similarities, axis=1, kind="stable")[:, :k]
            rows[part, : best.shape[1]] = best
            scores[part, : best.shape[1]] = np.take_along_axis(similarities, best, axis=1)
        return scores, rows

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return self.stored[rows]

    def save(self, path: Path) -> dict[str, Any]:
        with path.open("wb") as file:
            np.save(file, self.stored, allow_pickle=False)
        return {"metric": self.metric}

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.stored, self.metric = np.load(path, allow_pickle=False), settings["metric"]
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
"""Kind -> code of the plugin, the attribute that its entry names, and tags of the entry."""
