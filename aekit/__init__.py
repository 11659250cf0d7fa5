"""aekit: embeddings made for your own unlabelled data, and an honest answer to whether they are any good.

>>> import aekit
>>> encoder = aekit.fit("photos/", variants=["denoising"], dim=64)
>>> embeddings = encoder.embed("photos/")
>>> index = aekit.build_index(embeddings)
>>> print(aekit.evaluate(embeddings))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from aekit.applying import apply
    from aekit.autoencoder import load_autoencoder
    from aekit.backbone import Backbone
    from aekit.clustering import find_clusters
    from aekit.comparing.benching import bench
    from aekit.comparing.comparison import Comparison, compare
    from aekit.data import open_data
    from aekit.detecting import find_anomalies
    from aekit.embeddings import Embeddings, embed
    from aekit.encoder import Encoder, load
    from aekit.errors import AekitError
    from aekit.estimator import AekitTransformer
    from aekit.evaluation import evaluate
    from aekit.export import export_encoder
    from aekit.finetuning import finetune
    from aekit.finetuning.classifier import load_classifier
    from aekit.finishing import make_report
    from aekit.hookspecs import Entry, hookimpl
    from aekit.index import Index, open_index
    from aekit.indexing import build_index
    from aekit.mapping import draw_map
    from aekit.mapping.exploring import explore
    from aekit.mathematics.likelihood import log_likelihood
    from aekit.objective import Objective, Pretext, Variant
    from aekit.options import Field
    from aekit.runs import fit
    from aekit.samples import ArraySource, SampleSpec, Source
    from aekit.tasks.restoring import Restoring

# Resolved on first use, so that `import aekit` and the hook modules of plugins stay free of torch.
_HOME = {
    "AekitError": "aekit.errors",
    "AekitTransformer": "aekit.estimator",
    "ArraySource": "aekit.samples",
    "Backbone": "aekit.backbone",
    "Comparison": "aekit.comparing.comparison",
    "Embeddings": "aekit.embeddings",
    "Encoder": "aekit.encoder",
    "Entry": "aekit.hookspecs",
    "Field": "aekit.options",
    "Objective": "aekit.objective",
    "Pretext": "aekit.objective",
    "Index": "aekit.index",
    "Restoring": "aekit.tasks.restoring",
    "SampleSpec": "aekit.samples",
    "Source": "aekit.samples",
    "Variant": "aekit.objective",
    "apply": "aekit.applying",
    "bench": "aekit.comparing.benching",
    "build_index": "aekit.indexing",
    "compare": "aekit.comparing.comparison",
    "draw_map": "aekit.mapping",
    "embed": "aekit.embeddings",
    "evaluate": "aekit.evaluation",
    "explore": "aekit.mapping.exploring",
    "export_encoder": "aekit.export",
    "find_anomalies": "aekit.detecting",
    "find_clusters": "aekit.clustering",
    "finetune": "aekit.finetuning",
    "fit": "aekit.runs",
    "hookimpl": "aekit.hookspecs",
    "load": "aekit.encoder",
    "load_autoencoder": "aekit.autoencoder",
    "load_classifier": "aekit.finetuning.classifier",
    "log_likelihood": "aekit.mathematics.likelihood",
    "make_report": "aekit.finishing",
    "open_data": "aekit.data",
    "open_index": "aekit.index",
}

__all__ = [
    "AekitError",
    "AekitTransformer",
    "ArraySource",
    "Backbone",
    "Comparison",
    "Embeddings",
    "Encoder",
    "Entry",
    "Field",
    "Index",
    "Objective",
    "Pretext",
    "Restoring",
    "SampleSpec",
    "Source",
    "Variant",
    "apply",
    "bench",
    "build_index",
    "compare",
    "draw_map",
    "embed",
    "evaluate",
    "explore",
    "export_encoder",
    "find_anomalies",
    "find_clusters",
    "finetune",
    "fit",
    "hookimpl",
    "load",
    "load_autoencoder",
    "load_classifier",
    "log_likelihood",
    "make_report",
    "open_data",
    "open_index",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'aekit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
