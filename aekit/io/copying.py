"""Copy folders to and from object storage."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from aekit._arguments import checked_arguments
from aekit.errors import DataError, OutputError
from aekit.io._remote_cache import names_to_copy
from aekit.io._remote_files import RemotePlace
from aekit.io.atomic import atomic_folder, link_or_copy
from aekit.io.hub import hub_folder, push_folder
from aekit.io.remote import local_path, output_folder, refuse_web
from aekit.io.remote_urls import is_remote, shown_url
from aekit.progress_display import ProgressOption, open_progress


@checked_arguments
def copy(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    private: bool | None = None,
    message: str | None = None,
    progress: ProgressOption = None,
) -> int:
    """Copy a folder, such as a run or embeddings, to or from object storage.

    Data is copied first and manifests last. A copy that was interrupted goes on: what is there with the same content is not
    sent again. To the Hugging Face Hub everything goes in one commit, with the card of a run's encoder as that of the repository.

    Args:
        source: folder, or URL such as ``s3://bucket/run``.
        target: folder or URL, with nothing there but parts of the same copy.
        private: whether a new repository on the Hub is private; None: what the account or organization has as default.
        message: of the commit on the Hub.
        progress: shows messages and bars, as in `aekit.fit`.

    Returns:
        number of files in the folder.

    Raises:
        DataError: there is no such folder, it cannot be read, or a link in it leads to another place.
        OutputError: something else is at `target`, or it cannot be written.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp", out="run")
        >>> aekit.copy("run", "memory://bucket/run") > 5
        True
        >>> aekit.load("memory://bucket/run").digest == encoder.digest
        True
    """
    shown = open_progress(progress)
    on_hub = is_remote(target) and hub_folder(target) is not None
    if not on_hub and (private is not None or message is not None):
        option = "private" if private is not None else "message"
        raise OutputError(f"{shown_url(target)}: {option} is for repositories on the Hub, such as hf://user/model")
    folder = local_path(source)
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {kind}; expected a folder to copy")
    names = names_to_copy(folder)
    if not is_remote(target):
        with atomic_folder(Path(target)) as part:
            for name in names:
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, part / name)
        return len(names)
    if on_hub:
        return push_folder(folder, os.fspath(target), private=private, message=message, progress=shown)
    _check_copy(folder, set(names), os.fspath(target))
    with output_folder(target) as work:
        for name in names:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                (work / name).unlink()
            link_or_copy(folder / name, work / name)
    return len(names)


def _check_copy(folder: Path, names: set[str], url: str) -> None:
    """Refuse to copy over what is not part of the same copy."""
    place = RemotePlace(url, writes=True)
    refuse_web(place)
    for file in place.files():
        if file.name not in names or file.size != (folder / file.name).stat().st_size:
            raise OutputError(
                f"{place.shown}: holds {file.name!r}, which is not part of {folder}; choose another place, or remove it"
            )
