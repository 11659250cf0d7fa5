"""Resolve exported names on first use, so that importing a facade does not import torch."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in the package
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_exports(facade: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """Return the `__getattr__` and `__all__` of a module that hands on names of other modules.

    Args:
        facade: name of the module that exports.
        homes: module -> the names that it hands on, separated by spaces.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {facade!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    return __getattr__, sorted(home_of)
