"""aekit: learn embeddings of your own unlabeled data, and measure how good they are.

>>> import aekit
>>> encoder = aekit.fit("photos/", variants=["denoising"], dim=64)  # doctest: +SKIP
>>> embeddings = encoder.embed("photos/")  # doctest: +SKIP
>>> index = aekit.build_index(embeddings)  # doctest: +SKIP
>>> print(aekit.evaluate(embeddings))  # doctest: +SKIP

Plugin authors import from `aekit.plugin`.
"""

from __future__ import annotations

import sys

from aekit._lazy import lazy_exports
from aekit.version import __version__ as __version__

if sys.platform == "win32":  # which locks files and stops processes in other ways
    raise ImportError("aekit runs on Linux and macOS; on Windows use it in the Windows Subsystem for Linux")

TYPE_CHECKING = False  # to type checkers the same as that of `typing`, whose import is slow
if TYPE_CHECKING:
    from aekit.analysis.anomalies import find_anomalies as find_anomalies
    from aekit.analysis.clustering import find_clusters as find_clusters
    from aekit.analysis.curation import curate as curate
    from aekit.analysis.drift import measure_drift as measure_drift
    from aekit.analysis.duplicates import find_duplicates as find_duplicates
    from aekit.analysis.explorers import explore as explore
    from aekit.analysis.label_errors import find_label_errors as find_label_errors
    from aekit.analysis.label_propagation import propagate_labels as propagate_labels
    from aekit.analysis.projection import draw_map as draw_map
    from aekit.data.opening import open_data as open_data
    from aekit.encoder.embeddings import Embeddings as Embeddings
    from aekit.encoder.encoder import Encoder as Encoder
    from aekit.encoder.loading import load as load
    from aekit.encoder.publishing import push_to_hub as push_to_hub
    from aekit.errors import AekitError as AekitError
    from aekit.evaluation.evaluation import Evaluation as Evaluation
    from aekit.evaluation.run import evaluate as evaluate
    from aekit.evaluation.saved_predictions import open_evaluation as open_evaluation
    from aekit.index.build import build_index as build_index
    from aekit.index.vector_index import open_index as open_index
    from aekit.io.copying import copy as copy
    from aekit.objectives.autoencoder import load_autoencoder as load_autoencoder
    from aekit.objectives.likelihood import log_likelihood as log_likelihood
    from aekit.registry.session import register as register
    from aekit.workflows.applying.tasks import apply as apply
    from aekit.workflows.comparing.benchmark import bench as bench
    from aekit.workflows.comparing.comparison import Comparison as Comparison, compare as compare
    from aekit.workflows.embedding import embed as embed
    from aekit.workflows.exporting import export_encoder as export_encoder
    from aekit.workflows.finetuning.classifier import load_classifier as load_classifier
    from aekit.workflows.finetuning.run import finetune as finetune
    from aekit.workflows.fitting import fit as fit
    from aekit.workflows.saved_run import make_report as make_report
    from aekit.workflows.transformer import AekitTransformer as AekitTransformer
    from aekit.workflows.tuning.run import Tuning as Tuning, tune as tune

# Resolved on first use, so that `import aekit` stays free of torch.
_HOMES = {
    "aekit.analysis.anomalies": "find_anomalies",
    "aekit.analysis.clustering": "find_clusters",
    "aekit.analysis.curation": "curate",
    "aekit.analysis.drift": "measure_drift",
    "aekit.analysis.duplicates": "find_duplicates",
    "aekit.analysis.explorers": "explore",
    "aekit.analysis.label_errors": "find_label_errors",
    "aekit.analysis.label_propagation": "propagate_labels",
    "aekit.analysis.projection": "draw_map",
    "aekit.data.opening": "open_data",
    "aekit.encoder.embeddings": "Embeddings",
    "aekit.encoder.encoder": "Encoder",
    "aekit.encoder.loading": "load",
    "aekit.encoder.publishing": "push_to_hub",
    "aekit.errors": "AekitError",
    "aekit.evaluation.evaluation": "Evaluation",
    "aekit.evaluation.run": "evaluate",
    "aekit.evaluation.saved_predictions": "open_evaluation",
    "aekit.index.build": "build_index",
    "aekit.index.vector_index": "open_index",
    "aekit.io.copying": "copy",
    "aekit.objectives.autoencoder": "load_autoencoder",
    "aekit.objectives.likelihood": "log_likelihood",
    "aekit.registry.session": "register",
    "aekit.workflows.applying.tasks": "apply",
    "aekit.workflows.comparing.benchmark": "bench",
    "aekit.workflows.comparing.comparison": "Comparison compare",
    "aekit.workflows.embedding": "embed",
    "aekit.workflows.exporting": "export_encoder",
    "aekit.workflows.finetuning.classifier": "load_classifier",
    "aekit.workflows.finetuning.run": "finetune",
    "aekit.workflows.fitting": "fit",
    "aekit.workflows.saved_run": "make_report",
    "aekit.workflows.transformer": "AekitTransformer",
    "aekit.workflows.tuning.run": "Tuning tune",
}

# Names of other libraries and of objects that functions return.
_SOUGHT = {
    "AekitTransformer": "Pipeline Transformer",
    "Embeddings.open": "load_embeddings open_embeddings read_embeddings",
    "Embeddings.similarity": "cosine_similarity similarity",
    "Encoder.save": "save save_encoder",
    "build_index": "Index VectorIndex create_index",
    "build_index(embeddings).search_ids": "nearest nearest_neighbors neighbors knn",
    "draw_map": "plot project projection tsne umap visualize",
    "embed": "encode transform",
    "embed(encoder, data, out=folder)": "save_embeddings",
    "open_evaluation": "load_evaluation read_evaluation",
    "evaluate": "score",
    "find_anomalies": "Anomalies outliers",
    "find_clusters": "Clusters hdbscan kmeans",
    "fit": "train pretrain",
    "load_classifier": "predict",
    "load": "load_encoder from_pretrained load_model",
    "open_data": "Data Dataset dataset datasets load_data load_dataset read",
    "open_index": "load_index read_index",
    "open_index(folder).search": "search",
    "the command `aekit plugins`": "list_plugins plugins",
}

if not TYPE_CHECKING:
    __getattr__, __all__ = lazy_exports(__name__, _HOMES, _SOUGHT)

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
