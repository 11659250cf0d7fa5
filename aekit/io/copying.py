"""Copy folders to and from object storage."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from aekit._arguments import checked_arguments
from aekit.errors import DataError, OutputError
from aekit.io._remote_cache import link_or_copy, relative_names
from aekit.io._remote_files import RemotePlace
from aekit.io.atomic import atomic_folder
from aekit.io.remote import local_path, output_folder, refuse_web
from aekit.io.remote_urls import is_remote
from aekit.progress_display import ProgressOption, open_progress


@checked_arguments
def copy(source: str | os.PathLike[str], target: str | os.PathLike[str], *, progress: ProgressOption = None) -> int:
    """Copy a folder, such as a run or embeddings, to or from object storage.

    Data is copied first and manifests last. A copy that was interrupted goes on: what is there with the same content is not
    sent again.

    Args:
        source: folder, or URL such as ``s3://bucket/run``.
        target: folder or URL, with nothing there but parts of the same copy.
        progress: shows messages and bars, as in `aekit.fit`.

    Returns:
        number of files in the folder.

    Raises:
        DataError: there is no such folder, or it cannot be read.
        OutputError: something else is at `target`, or it cannot be written.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp", out="run")
        >>> aekit.copy("run", "memory://bucket/run") > 5
        True
        >>> aekit.load("memory://bucket/run").digest == encoder.digest
        True
    """
    open_progress(progress)
    folder = local_path(source)
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {kind}; expected a folder to copy")
    names = relative_names(folder)
    if not is_remote(target):
        with atomic_folder(Path(target)) as part:
            for name in names:
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, part / name)
        return len(names)
    _check_copy(folder, set(names), os.fspath(target))
    with output_folder(target) as work:
        for name in names:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                (work / name).unlink()
            link_or_copy(folder / name, work / name)
    return len(names)


def _check_copy(folder: Path, names: set[str], url: str) -> None:
    """Refuse to copy over what is no part of the same copy."""
    place = RemotePlace(url, writes=True)
    refuse_web(place)
    for file in place.files():
        if file.name not in names or file.size != (folder / file.name).stat().st_size:
            raise OutputError(
                f"{place.shown}: holds {file.name!r}, which is no part of {folder}; choose another place, or remove it"
            )
