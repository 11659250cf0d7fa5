"""Write and read manifests: sealed JSON whose entries a model describes, with checksums of the files next to them.

A seal is the sha256 of all other entries. It finds damage, such as a flipped bit in a threshold; it is not a signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from aekit.errors import (
    NO_THREADS,
    AekitError,
    DamagedError,
    OutOfMemoryError,
    lacks_threads,
    out_of_memory,
    print_traceback,
    printable,
)
from aekit.io.atomic import file_sha256, write_json
from aekit.io.manifest_models import Manifest, TensorsManifest
from aekit.io.special_files import special_kind

SEAL = "seal"
MAX_BYTES = 2**28
"""Largest manifest that is read: the results of a run hold some megabytes."""


def write_manifest(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a manifest in one step, with its seal."""
    write_json(path, sealed(value))


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries with their seal."""
    plain: dict[str, Any] = json.loads(json.dumps(value))  # as it will be read: names are strings, tuples are lists
    return plain | {SEAL: _seal(plain)}


def unsealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return entries without their seal, after checking it.

    Raises:
        DamagedError: it is missing, or the entries have changed.
    """
    seal = value.pop(SEAL, None)
    if seal != _seal(value):
        problem = "has no seal" if seal is None else "its entries differ from its seal"
        raise DamagedError(f"is damaged: {problem}; it was changed after aekit wrote it")
    return value


def read_manifest(path: Path, model: type[Manifest], *, kind: str = "", version: int | None = None) -> dict[str, Any]:
    """Read a manifest, and check its seal and its entries.

    Args:
        path: file that `write_manifest` wrote.
        model: of its entries.
        kind: kind of artifact, for the message about another format.
        version: the format that is expected; None: it has none.

    Returns:
        the entries, without the seal.

    Raises:
        DamagedError: it is missing or damaged, of another format, or an entry is missing or has a wrong type or value; the
            message names the first one.
    """
    value = read_entries(path)
    with explain_read_errors(path):
        if version is not None and value.get("format") != version:
            written = value.get("format")
            is_newer = type(written) is int and written > version
            advice = "it is of a newer aekit; update this one, or make it again" if is_newer else "make it again"
            raise DamagedError(
                f"{path}: {kind} format {printable(repr(written))}, this aekit reads {version}; {advice}"
            )
        try:
            unsealed(value)
        except DamagedError as error:
            raise DamagedError(f"{path}: {error}") from None
        check_entries(path, value, model)
    return value


def check_entries(path: Path, value: Any, model: type[Manifest]) -> None:
    """Check entries against their model.

    Raises:
        DamagedError: one is missing, or has a wrong type or value.
    """
    try:
        model.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        place = printable(".".join(map(str, problem["loc"])))
        expected = problem["msg"].removeprefix("Value error, ")
        raise DamagedError(f"{path}: is damaged: {f'{place}: ' if place else ''}{printable(expected)}") from None


def read_entries(path: Path) -> dict[str, Any]:
    """Read the entries of a manifest without checking them, to see which kind of manifest it is.

    Raises:
        DamagedError: the file is missing, too large, or no JSON object.
    """
    _refuse_special(path)
    with explain_read_errors(path):
        if path.stat().st_size > MAX_BYTES:
            raise DamagedError(f"{path}: is damaged: has {path.stat().st_size:,} bytes; expected {MAX_BYTES:,} at most")
        value = json.loads(path.read_text("utf-8"))
        if not isinstance(value, dict):
            raise DamagedError(f"{path}: is damaged: expected an object, not {type(value).__name__}")
    return value


class explain_read_errors:
    """Turn errors of JSON, Arrow, safetensors, FAISS and other libraries that a damaged artifact causes into one line:
    `with explain_read_errors(path): ...`.

    A class, as a search enters it for each query, for which a generator takes as long as a fifth of the search.

    Args:
        place: file or folder that is read.
        what_to_do: with a damaged one, for the message.

    Raises:
        DamagedError: any error but those of aekit.
        OutOfMemoryError: memory ran out, of which the artifact knows nothing.
    """

    __slots__ = ("_place", "_what_to_do")

    def __init__(self, place: Path, what_to_do: str = "") -> None:
        self._place, self._what_to_do = place, what_to_do

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, AekitError):
            return
        print_traceback(error)  # damaged content can raise anything
        if out_of_memory(error):
            short = NO_THREADS if lacks_threads(error) else "does not fit into the memory that is free"
            raise OutOfMemoryError(f"{self._place}: {short}") from error
        hint = f"; {self._what_to_do}" if self._what_to_do else ""
        raise DamagedError(f"{self._place}: {_reason(error)}{hint}") from error


def _reason(error: Exception) -> str:
    """Describe an error of a library in a phrase."""
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    if isinstance(error, RecursionError):
        return "is damaged: it is nested too deep"
    lines = str(error).strip().splitlines()
    text = printable(lines[0]) if lines else ""
    # Messages of these name a value without saying what is wrong with it.
    bare = isinstance(error, (LookupError, AttributeError, TypeError)) or not text
    return f"is damaged: {type(error).__name__}: {text}" if bare else f"is damaged: {text}"


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return name -> sha256 of files of a folder, for its manifest."""
    return {name: file_sha256(folder / name) for name in names}


def check_files(
    folder: Path,
    expected: Mapping[str, str],
    what_to_do: str,
    *,
    needed: Iterable[str] = (),
    manifest: str = "manifest",
) -> None:
    """Check that files of a folder are what its manifest says, before anything opens them.

    Args:
        folder: of the manifest.
        expected: name -> sha256 of each file.
        what_to_do: with a damaged folder, for the message.
        needed: names that must have a checksum.
        manifest: name of the manifest, for the message.

    Raises:
        DamagedError: a name leads out of the folder, or has no checksum; a file is missing, a link or damaged.
    """
    for name in needed:
        if name not in expected:
            raise DamagedError(f"{folder / manifest}: is damaged: sha256: has no entry for {printable(repr(name))}")
    for name, digest in expected.items():
        path = path_inside(folder, name)
        if not path.is_file():
            raise DamagedError(f"{path}: is missing; {what_to_do}")
        with explain_read_errors(path, what_to_do):
            if file_sha256(path) != digest:
                raise DamagedError(f"{path}: is damaged (its sha256 differs from the {manifest}); {what_to_do}")


@dataclass(frozen=True)
class TensorsFormat:
    """How a kind of artifact is kept: a manifest, and a file of tensors whose checksum the manifest holds.

    Attributes:
        kind: kind of artifact, for messages.
        version: of the format.
        model: of the manifest.
        manifest: name of its file.
        tensors: name of the file of tensors.
        remedy: what to do with a damaged artifact, for messages.
    """

    kind: str
    version: int
    model: type[TensorsManifest]
    manifest: str
    tensors: str
    remedy: str

    def write(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Write the manifest next to the tensors, which are already written."""
        described = {"format": self.version, **record, "sha256": checksums(folder, [self.tensors])}
        write_manifest(folder / self.manifest, described)

    def read(self, folder: Path) -> dict[str, Any]:
        """Read the manifest, and check the tensors.

        Raises:
            IdentityError: either is missing or damaged, or of another format.
        """
        record = read_manifest(folder / self.manifest, self.model, kind=self.kind, version=self.version)
        check_files(folder, record["sha256"], self.remedy, needed=[self.tensors], manifest=self.manifest)
        return record


def path_inside(folder: Path, name: str, place: str = "") -> Path:
    """Return the path of a file that a manifest names.

    Args:
        folder: of the manifest.
        name: of the file.
        place: of the name in the manifest, for the message.

    Raises:
        DamagedError: the name leads out of the folder, or the file is a link.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name or len(name) > 255:
        raise DamagedError(f"{folder}: is damaged: {place}{printable(repr(name))} is not a name inside the folder")
    path = folder / name
    _refuse_special(path)
    if path.is_symlink():
        raise DamagedError(f"{path}: is a link; expected a file inside the folder")
    return path


def _refuse_special(path: Path) -> None:
    if kind := special_kind(path):
        raise DamagedError(f"{path}: is {kind}; expected a file")


def canonical_json(value: Any) -> bytes:
    """Serialize plain nested values as JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _seal(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()
