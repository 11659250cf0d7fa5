"""Everything that a plugin may import from aekit; nothing else is promised to plugin authors.

The contracts are `Variant`, `Pretext`, `Backbone`, `Source`, `Index`, an evaluator's `Result`, `Metric` and `Split`, and
`Entry` and `hookimpl` to register them. The other names are the building blocks of the built-in plugins. Layers and tasks
to share are in `aekit.nn` and `aekit.objectives`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aekit._lazy import lazy_exports

if TYPE_CHECKING:
    from aekit.data.opening import open_data as open_data
    from aekit.data.samples import Samples as Samples
    from aekit.data.source import ArraySource as ArraySource, Source as Source
    from aekit.data.spec import Column as Column, Kind as Kind, SampleSpec as SampleSpec
    from aekit.encoder.backbone import Backbone as Backbone
    from aekit.encoder.encoder import Encoder as Encoder
    from aekit.encoder.preprocessing import Preprocess as Preprocess
    from aekit.errors import AekitError as AekitError, DataError as DataError, RecipeError as RecipeError
    from aekit.evaluation.metrics.intervals import bootstrap as bootstrap
    from aekit.evaluation.results import Metric as Metric, Result as Result, Split as Split
    from aekit.index.vector_index import Index as Index
    from aekit.objectives.base import (
        Batch as Batch,
        Objective as Objective,
        Pretext as Pretext,
        Step as Step,
        Variant as Variant,
    )
    from aekit.objectives.restoration import RestorationTask as RestorationTask
    from aekit.registry.hookspecs import API_VERSION as API_VERSION, Entry as Entry, hookimpl as hookimpl
    from aekit.registry.options import Field as Field

# Resolved on first use, so that a hook module does not import torch.
_HOMES = {
    "aekit.data.opening": "open_data",
    "aekit.data.samples": "Samples",
    "aekit.data.source": "ArraySource Source",
    "aekit.data.spec": "Column Kind SampleSpec",
    "aekit.encoder.backbone": "Backbone",
    "aekit.encoder.encoder": "Encoder",
    "aekit.encoder.preprocessing": "Preprocess",
    "aekit.errors": "AekitError DataError RecipeError",
    "aekit.evaluation.metrics.intervals": "bootstrap",
    "aekit.evaluation.results": "Metric Result Split",
    "aekit.index.vector_index": "Index",
    "aekit.objectives.base": "Batch Objective Pretext Step Variant",
    "aekit.objectives.restoration": "RestorationTask",
    "aekit.registry.hookspecs": "API_VERSION Entry hookimpl",
    "aekit.registry.options": "Field",
}

if not TYPE_CHECKING:
    __getattr__, __all__ = lazy_exports(__name__, _HOMES)
