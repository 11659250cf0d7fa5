"""Read the manifest of a folder: entries of the expected types, files inside the folder, bytes as their checksums say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from aekit.errors import IdentityError
from aekit.io.atomic import file_sha256, read_json

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SHOWN = 200
"""Characters of a value from a file that a message shows."""


class Manifest(BaseModel):
    """Base of the models of manifests. Entries that a model does not name are kept, as another version may have written them."""

    model_config = ConfigDict(extra="allow", strict=True)


def read_manifest(path: Path, model: type[Manifest]) -> dict[str, Any]:
    """Read a manifest and check its entries.

    Raises:
        IdentityError: it is damaged, or an entry is missing or has a wrong type or value; the message names the first one.
    """
    value = read_json(path)
    try:
        model.model_validate(value)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise IdentityError(f"{path}: is damaged: {f'{place}: ' if place else ''}{problem['msg']}") from None
    return dict(value)


def check_files(folder: Path, checksums: Mapping[str, str], what_to_do: str) -> None:
    """Check that files of a folder are what its manifest says, before anything opens them.

    Args:
        folder: of the manifest.
        checksums: name -> sha256 of each file.
        what_to_do: with a damaged folder, for the message.

    Raises:
        IdentityError: a name leads out of the folder; a file is missing, a link or damaged.
    """
    for name, expected in checksums.items():
        path = path_inside(folder, name)
        if not path.is_file():
            raise IdentityError(f"{path}: is missing; {what_to_do}")
        if file_sha256(path) != expected:
            raise IdentityError(f"{path}: is damaged (its sha256 differs from the manifest); {what_to_do}")


def path_inside(folder: Path, name: str, place: str = "") -> Path:
    """Return the path of a file that a manifest names.

    Args:
        folder: of the manifest.
        name: of the file.
        place: of the name in the manifest, for the message.

    Raises:
        IdentityError: the name leads out of the folder, or the file is a link.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise IdentityError(f"{folder}: is damaged: {place}{name[:SHOWN]!r} is no name inside the folder")
    path = folder / name
    if path.is_symlink():
        raise IdentityError(f"{path}: is a link; expected a file inside the folder")
    return path
