"""Push folders to the Hugging Face Hub, each in one commit, so that a reader sees all of it or nothing new."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aekit.errors import OutputError
from aekit.io._remote_cache import names_to_copy
from aekit.io._remote_files import RemotePlace, error_status
from aekit.progress import Progress

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD, LOCAL_PLACE = "README.md", 'aekit.load("this/folder")'
"""The file that the Hub shows as the page of a repository, and the call in it that is made to name the repository."""
_PLACE = re.compile(r"(?P<type>models/|datasets/)?(?P<name>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.*))?")
_OTHER_TYPES = ("buckets", "spaces", "kernels")
_OF_THE_HUB = re.compile(r"\.gitattributes|README\.md|LICENSE[^/]*")


@dataclass(frozen=True)
class HubFolder:
    """A folder of a repository on the Hub.

    Attributes:
        type: of the repository: "model" or "dataset".
        name: such as "user/model".
        revision: branch; None: the main one.
        path: of the folder, with a slash at its end; "": the whole repository.
    """

    type: str
    name: str
    revision: str | None
    path: str


def hub_folder(url: str | os.PathLike[str]) -> HubFolder | None:
    """Return the folder of a repository that a URL such as ``hf://user/model@branch`` names, or None for any other place.

    Raises:
        OutputError: an ``hf://`` URL without the name of a repository.
    """
    scheme, _, place = os.fspath(url).partition(":")
    place = place.strip("/")
    if scheme.lower() != "hf" or place.partition("/")[0] in _OTHER_TYPES:
        return None
    parts = _PLACE.fullmatch(place)
    if parts is None:
        raise OutputError(f"{os.fspath(url)}: expected the name of a repository, such as hf://user/model")
    kind = "dataset" if parts["type"] == "datasets/" else "model"
    return HubFolder(kind, parts["name"], parts["revision"], f"{parts['path']}/" if parts["path"] else "")


def push_folder(
    folder: Path, url: str, *, private: bool | None = None, message: str | None = None, progress: Progress
) -> int:
    """Make a folder on the Hub hold the files of a local one, in one commit; a repository that is missing is made.

    Files that are there with other content are replaced, and stay in the history of the repository.

    Args:
        folder: local folder.
        url: such as ``hf://user/model`` or ``hf://user/model@branch``.
        private: whether a new repository is private; None: what the account or organization has as default.
        message: of the commit; None: one that names the version of aekit.
        progress: is told what was made and replaced.

    Returns:
        number of files of the folder.

    Raises:
        OutputError: the place holds something else, is public where `private` was asked for or the reverse, or cannot be
            written.
    """
    from aekit.version import __version__

    place = RemotePlace(url, writes=True)
    target = hub_folder(place.url)
    if target is None:
        raise OutputError(f"{place.shown}: expected a repository of models or data sets, such as hf://user/model")
    from huggingface_hub import HfApi

    with place.quiet():
        repository = _Repository(place, target, HfApi())
        before = repository.open(private, progress)
        contents = _contents(folder, place.shown)
        present = repository.files(before)
        for name in present:
            if name not in contents and not (_OF_THE_HUB.fullmatch(name)):
                raise OutputError(
                    f"{place.shown}: holds {name!r}, which is not part of {folder}; choose another repository, or remove it there"
                )
        after = repository.commit(contents, before, message or f"Push with aekit {__version__}")
        now = repository.files(after)
    for name in contents:
        if name not in now:
            raise OutputError(f"{place.shown}: {name!r} was left out by the Hub; see .gitignore in the repository")
    changed = [name for name in contents if now[name] != present.get(name)]
    replaced = sum(name in present for name in changed)
    if changed:
        history = f"; {replaced} of them replace others, which stay in its history" if replaced else ""
        progress.say(f"{place.shown}: {len(changed)} of {len(contents)} files in commit {after[:12]}{history}")
    else:
        progress.say(f"{place.shown}: is up to date")
    return len(names_to_copy(folder))


def _contents(folder: Path, shown: str) -> dict[str, str | bytes]:
    """Return the content for each name: the path of a local file, or the bytes of the card.

    A run has the card of its encoder.
    """
    contents: dict[str, str | bytes] = {name: str(folder / name) for name in names_to_copy(folder)}
    card = next((folder / name for name in (CARD, f"encoder/{CARD}") if name in contents), None)
    if card is not None:
        place = f'aekit.load("{shown.rstrip("/")}")'
        contents[CARD] = card.read_bytes().replace(LOCAL_PLACE.encode(), place.encode("utf-8", "surrogateescape"))
    return contents


@dataclass
class _Repository:
    place: RemotePlace
    target: HubFolder
    api: HfApi

    def open(self, private: bool | None, progress: Progress) -> str:
        """Return the hash of the last commit; makes the repository and the branch if they are missing."""
        from huggingface_hub.errors import RevisionNotFoundError

        name, kind, branch = self.target.name, self.target.type, self.target.revision
        info = self._info()
        if info is None:
            make = partial(self.api.create_repo, name, repo_type=kind, private=private, exist_ok=True)
            self.place.patiently(make)
            info = self._info()
            if info is None:
                raise OutputError(f"{self.place.shown}: was made, but cannot be read with this token")
            progress.say(f"{self.place.shown}: new {'private' if info.private else 'public'} repository")
        if private is not None and bool(info.private) != private:
            there, asked = ("private", "public") if info.private else ("public", "private")
            raise OutputError(
                f"{self.place.shown}: exists and is {there}, but {asked} was asked for; change it on the Hub, or choose another"
            )
        if branch is None:
            return str(info.sha)

        def on_branch() -> Any:
            try:
                return self.api.repo_info(name, repo_type=kind, revision=branch)
            except RevisionNotFoundError:
                self.api.create_branch(name, repo_type=kind, branch=branch, exist_ok=True)
                return self.api.repo_info(name, repo_type=kind, revision=branch)

        return str(self.place.patiently(on_branch).sha)

    def _info(self) -> Any:
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        def info() -> Any:
            try:
                return self.api.repo_info(self.target.name, repo_type=self.target.type)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None

        return self.place.patiently(info)

    def files(self, commit: str) -> dict[str, str]:
        """Return the hash of each file of the folder in a commit."""

        def listing() -> dict[str, str]:
            tree = self.api.list_repo_tree(
                self.target.name, repo_type=self.target.type, recursive=True, revision=commit
            )
            files = {entry.path: entry.blob_id for entry in tree if hasattr(entry, "blob_id")}
            start = self.target.path
            return {name.removeprefix(start): blob for name, blob in files.items() if name.startswith(start)}

        return self.place.patiently(listing)

    def commit(self, contents: dict[str, str | bytes], parent: str, message: str) -> str:
        """Upload files and commit them on top of `parent`; returns the hash of the commit."""
        from huggingface_hub import CommitOperationAdd

        operations = [CommitOperationAdd(self.target.path + name, content) for name, content in contents.items()]
        make: Callable[[], Any] = partial(
            self.api.create_commit,
            self.target.name,
            operations,
            commit_message=message,
            repo_type=self.target.type,
            revision=self.target.revision,
            parent_commit=parent,
        )
        try:  # once: its uploads are repeated inside, and a commit whose answer was lost is there
            return str(make().oid)
        except Exception as error:
            if error_status(error) == 412:
                raise OutputError(
                    f"{self.place.shown}: another program has pushed there meanwhile; run again"
                ) from None
            raise self.place.failure(error) from None
