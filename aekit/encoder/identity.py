"""Read the descriptions of encoders, find their folders, and compare the encoders of artifacts.

Nothing here imports torch, which takes longer than a search by id. `aekit.encoder._digest` computes what identifies an encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from aekit.data.spec import SpecRecord
from aekit.errors import DataError, IdentityError
from aekit.io.manifest_models import MAX_DIM, Checksums, Count, Dim, Manifest, OriginRecord, PluginRecord, Sha256
from aekit.io.manifests import read_manifest
from aekit.io.remote import local_copy, remote_exists
from aekit.io.remote_urls import is_remote, join_url
from aekit.registry.discovery import Plugin

Mode = Literal["unit", "standard", "none"]
"""How the preprocessing of an encoder scales values."""

PRECOMPUTED = "precomputed"
"""Kind of vectors that another program made, so that no encoder belongs to them."""
FORMAT = 2
DESCRIPTION, WEIGHTS = "encoder.json", "weights.safetensors"
CHECK_TOLERANCE, CHECKED = 1e-3, 16
"""Largest difference of the check values, and their number."""


class BackboneRecord(Manifest):
    """The backbone in an architecture."""

    name: str
    options: dict[str, Any]


class HeadRecord(Manifest):
    """The variant in an architecture that provides the head."""

    variant: str
    options: dict[str, Any]


class ArchitectureRecord(Manifest):
    """The architecture of an encoder, as `aekit.encoder.encoder.build_encoder` takes it."""

    backbone: BackboneRecord
    head: HeadRecord | None
    dim: Annotated[int, Field(ge=0, le=MAX_DIM)]
    normalize: bool
    hidden: list[Dim] | None = None


class PreprocessRecord(Manifest):
    """What the coefficients of a preprocessing do not say."""

    mode: Mode
    unit: bool
    centered: bool = False


class BackboneProgram(Manifest):
    """The programs of a backbone, as `aekit.encoder.programs.save_programs` describes them."""

    stages: Annotated[list[str], Field(min_length=1)]
    features_shape: Annotated[list[Dim], Field(min_length=1)]
    decodes: bool


class ProgramsRecord(Manifest):
    """The parts of an encoder that are kept as programs."""

    backbone: BackboneProgram | None = None
    head: str | None = None

    @property
    def files(self) -> list[str]:
        """Names of their files."""
        return [*(self.backbone.stages if self.backbone else []), *([self.head] if self.head else [])]


class EncoderManifest(Manifest):
    """Entries of ``encoder.json``. The weights have no checksum of their own: the digest is computed from them."""

    digest: Sha256
    spec: SpecRecord
    architecture: ArchitectureRecord
    preprocess: PreprocessRecord
    plugins: Annotated[list[PluginRecord], Field(min_length=1, max_length=2)]
    check: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=CHECKED)]
    programs: ProgramsRecord = ProgramsRecord()
    sha256: Checksums = Field(default_factory=dict)
    data: OriginRecord | None = None
    frozen: Count = 0
    trained: dict[str, Any] = Field(default_factory=dict)
    objective: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    weights: dict[str, Any] = Field(default_factory=dict)
    finetuned: dict[str, Any] = Field(default_factory=dict)
    exports: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_together(self) -> EncoderManifest:
        kinds = ["backbone", *(["variant"] if self.architecture.head else [])]
        if [plugin.kind for plugin in self.plugins] != kinds:
            raise ValueError(f"plugins: expected those of the architecture: {' and '.join(kinds)}")
        if missing := [name for name in self.programs.files if name not in self.sha256]:
            raise ValueError(f"sha256: has no entry for {missing[0]!r}")
        return self


def find_encoder_folder(path: str | Path) -> Path:
    """Return the encoder folder at `path`: the folder itself, or ``encoder`` in a folder of a run, embeddings or an index."""
    if is_remote(path):
        inner = join_url(str(path), "encoder")
        path = local_copy(inner if remote_exists(join_url(inner, DESCRIPTION)) else str(path))
    for folder in (Path(path), Path(path) / "encoder"):
        if (folder / DESCRIPTION).is_file():
            return folder
    if (Path(path) / "recipe.toml").is_file():
        raise DataError(f"{path}: this run has no encoder yet; finish it with aekit fit --resume")
    raise DataError(f"{path}: no encoder here; expected the folder of an encoder, a run, embeddings or an index")


def read_description(path: str | Path) -> dict[str, Any]:
    """Read ``encoder.json``, without building the encoder.

    Raises:
        DataError: there is no encoder at `path`.
        IdentityError: it is damaged, or of another format.
    """
    return read_manifest(find_encoder_folder(path) / DESCRIPTION, EncoderManifest, kind="encoder", version=FORMAT)


def check_same_encoder(ours: str, theirs: str, *, what: str, maker: str) -> None:
    """Check that two artifacts come from the same encoder.

    Raises:
        IdentityError: the digests differ.
    """
    if ours != theirs:
        raise IdentityError(f"{what} comes from encoder {ours[:12]}, but {maker} from encoder {theirs[:12]}")


class _Vectors(Protocol):
    """Embeddings or an index, of one encoder in one precision."""

    @property
    def digest(self) -> str: ...
    @property
    def precision(self) -> str: ...


def check_same_maker(ours: _Vectors, theirs: _Vectors, *, what: str, maker: str) -> None:
    """Check that vectors come from the same encoder in the same precision.

    Raises:
        IdentityError: the digests or the precisions differ.
    """
    check_same_encoder(ours.digest, theirs.digest, what=what, maker=maker)
    if ours.precision != theirs.precision:
        here, there = ours.precision, theirs.precision
        raise IdentityError(f"{what} was computed in {here}, but {maker} in {there}; embed with precision {here}")


def version_changes(records: list[dict[str, str]], plugins: Sequence[Plugin]) -> str:
    """Describe plugins whose installed version differs from the one that made the encoder, or return ``""``."""
    changes = [
        f"{plugin.kind} {plugin.name!r} is {plugin.distribution} {plugin.version} here, "
        f"the encoder was made with {record['distribution']} {record['version']}: "
        f"pip install '{record['distribution']}=={record['version']}'"
        for record, plugin in zip(records, plugins)
        if (plugin.distribution, plugin.version) != (record["distribution"], record["version"])
    ]
    return f" ({'; '.join(changes)})" if changes else ""
