"""Change what all threads of a process share, so that calls that overlap in two threads leave it as it was before both."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedSetting(Generic[T]):
    """A setting of the whole process, such as `sys.stdout`.

    Contexts that restore what they found keep the value of the first for good if two threads leave them in the order in which
    they entered. Here the last to leave restores what the first to enter found.

    Args:
        read: returns the setting.
        write: changes it; called with what `read` returned to restore it.
        choose: returns the value that applies, of those that contexts ask for, in the order in which they were entered;
            default: the last.
    """

    def __init__(
        self,
        read: Callable[[], T],
        write: Callable[[T], object],
        choose: Callable[[list[T]], T] = lambda asked: asked[-1],
    ) -> None:
        self._read, self._write, self._choose = read, write, choose
        self._lock = threading.Lock()
        self._before: T
        self._asked: dict[object, T] = {}

    @property
    def is_changed(self) -> bool:
        """Whether a thread is in a context."""
        return bool(self._asked)

    @contextmanager
    def changed_to(self, value: T) -> Iterator[None]:
        """Change the setting within the context."""
        context = object()
        with self._lock:
            if not self._asked:
                self._before = self._read()
            self._write(self._choose([*self._asked.values(), value]))
            self._asked[context] = value
        try:
            yield
        finally:
            with self._lock:
                del self._asked[context]
                self._write(self._choose([*self._asked.values()]) if self._asked else self._before)


standard_output: SharedSetting[Any] = SharedSetting(lambda: sys.stdout, lambda stream: setattr(sys, "stdout", stream))
"""Where `print` writes to."""


WarningRule = tuple[Any, str, type[Warning]]
"""Action, pattern of the message and category, as `warnings.filterwarnings` takes them."""


class _WarningFilters:
    """The filters of warnings, with the rules of the contexts that threads are in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outer: warnings.catch_warnings[None] | None = None
        self._contexts: dict[object, list[Any]] = {}

    @contextmanager
    def with_rules(self, *rules: WarningRule) -> Iterator[None]:
        """Add rules within the context; of two that fit a warning, the last applies.

        The last to leave restores the filters that the first to enter found, whatever libraries did with them meanwhile.
        """
        context = object()
        with self._lock:
            if self._outer is None:
                self._outer = warnings.catch_warnings()
                self._outer.__enter__()
            self._contexts[context] = [self._add(*rule) for rule in rules]
            self._arrange([])
        try:
            yield
        finally:
            with self._lock:
                ended = self._contexts.pop(context)
                if self._contexts:
                    self._arrange(ended)
                else:
                    self._outer.__exit__(None, None, None)
                    self._outer = None

    @staticmethod
    def _add(action: Any, message: str, category: type[Warning]) -> Any:
        """Add a rule, and return it as an entry of `warnings.filters`."""
        warnings.filterwarnings(action, message, category)
        return warnings.filters[0]

    def _arrange(self, ended: list[Any]) -> None:
        """Order the rules of all contexts by the time at which these were entered, and remove those that have ended."""
        rules = [rule for added in self._contexts.values() for rule in added]
        filters: Any = warnings.filters
        filters[:] = [*reversed(rules), *(rule for rule in filters if rule not in [*rules, *ended])]
        with warnings.catch_warnings():  # its end makes Python read the filters again
            pass


warning_rules = _WarningFilters().with_rules
