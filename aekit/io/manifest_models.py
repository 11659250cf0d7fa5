"""Models of what manifests have in common: types of their entries, with bounds, and records of plugins and data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_DIM, MAX_SAMPLE, MAX_ROWS = 2**24, 2**28, 2**40
"""Most dimensions of an embedding, values of a sample, and rows, that a manifest may name: more would exhaust the memory."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Checksums = dict[str, Sha256]
Dim = Annotated[int, Field(ge=1, le=MAX_DIM)]
Count = Annotated[int, Field(ge=0, le=MAX_ROWS)]


class Manifest(BaseModel):
    """Base of the models of manifests. Entries that a model does not name are kept, as another version may have written them."""

    model_config = ConfigDict(extra="allow", strict=True)


class PluginRecord(Manifest):
    """A plugin that an artifact needs, as `Plugin.to_dict` returns it."""

    kind: Literal["variant", "pretext", "backbone", "source", "index", "evaluator", "command"]
    name: str
    distribution: str
    version: str


class OriginRecord(Manifest):
    """The data that an artifact was made from, as `Source.origin` has it; of data in memory, its name alone."""

    data: str
    source: str | None = None
    options: dict[str, Any] | None = None
    made_by: str | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> OriginRecord:
        if self.source is not None and self.options is None:
            raise ValueError("options: Field required")
        return self


class TensorsManifest(Manifest):
    """Base of the models of manifests with a file of tensors next to them."""

    sha256: Checksums
