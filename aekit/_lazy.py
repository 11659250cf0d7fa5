"""Resolve exported names on first use, so that importing a facade does not import torch."""

from __future__ import annotations

import gc
from importlib import import_module

TYPE_CHECKING = False  # as in the package
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any


class QuickImports:
    """Import modules, within the context, without garbage collections.

    Modules stay, so there is nothing to collect; looking for it takes a tenth of the import of torch.

    Attributes:
        freezes: whether later collections pass over everything that exists after the imports. It saves a tenth of a second each;
            a process that is more than one command would never collect what it no longer needs of it.
    """

    freezes = False

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.freezes:
            gc.freeze()
        if self._collects:
            gc.enable()


def lazy_exports(
    facade: str, homes: Mapping[str, str], sought: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], list[str]]:
    """Return the `__getattr__` and `__all__` of a module that hands on names of other modules.

    Args:
        facade: name of the module that exports.
        homes: module -> the names that it hands on, separated by spaces.
        sought: what to use -> names, separated by spaces, that it has elsewhere: the message on such a name says so.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    use_for = {name: use for use, names in (sought or {}).items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in home_of:
            near = [use_for[name]] if name in use_for else _containing(name, home_of) or _similar(name, home_of)
            hint = f"; did you mean {' or '.join(near)}?" if near and not name.startswith("_") else ""
            raise AttributeError(f"module {facade!r} has no attribute {name!r}{hint}")
        with QuickImports():
            return getattr(import_module(home_of[name]), name)

    return __getattr__, sorted(home_of)


def _containing(name: str, known: Mapping[str, str]) -> list[str]:
    return [other for other in sorted(known) if _plain(name) in _plain(other)]


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _similar(name: str, known: Mapping[str, str]) -> list[str]:
    from difflib import get_close_matches  # takes longer to import than all of the package

    return get_close_matches(name, known, n=1, cutoff=0.7)
