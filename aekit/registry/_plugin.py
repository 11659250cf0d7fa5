"""A registered plugin, and calls of its code that name it where they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from aekit.errors import AekitError, PluginError, failure_of_the_machine, print_traceback
from aekit.registry._distributions import GROUP
from aekit.registry._failures import describe_error, error_place
from aekit.registry.hookspecs import Entry
from aekit.shared_settings import standard_output

SESSION = "<session>"
"""Distribution of plugins that are objects of the running session."""


@dataclass(frozen=True)
class Plugin:
    """A registered plugin and the distribution it came with."""

    kind: str
    entry: Entry
    distribution: str
    version: str

    @property
    def listed(self) -> bool:
        """Whether lists and defaults include it."""
        return True

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def qualified(self) -> str:
        return f"{self.distribution}/{self.name}"

    def to_dict(self) -> dict[str, str]:
        """Return the record of the plugin that saved artifacts keep."""
        return {"kind": self.kind, "name": self.name, "distribution": self.distribution, "version": self.version}

    def load(self) -> Any:
        """Import and return the plugin's class or function.

        Raises:
            PluginError: the module or the attribute is missing, or importing it fails.
        """
        module, _, attribute = self.entry.target.partition(":")
        try:
            with prints_to_stderr():
                code: Any = import_module(module)
                for part in attribute.split("."):
                    code = getattr(code, part)
        except (Exception, SystemExit) as error:
            print_traceback(error)
            raise PluginError(
                f"{self} is broken: importing {self.entry.target} failed with {describe_error(error)}"
            ) from error
        return code

    def made(self, *args: Any, **options: Any) -> Any:
        """Call its code, and return what that returns. Code of others that fails has its error told in one line.

        Raises:
            ValueError: as the plugin, which refuses something.
            PluginError: the code of another distribution, or of the session, fails, or makes a module that was not initialized.
        """
        try:
            made = self.load()(*args, **options)
        except (AekitError, ValueError):
            raise
        except (Exception, SystemExit) as error:
            if self.distribution == GROUP:
                raise
            raise failure_of_the_machine(error) or self.failure(error) from error
        if _is_module(made) and "_parameters" not in vars(made):
            raise PluginError(f"{self}: its __init__ does not call super().__init__")
        return made

    def __str__(self) -> str:
        if self.distribution == SESSION:
            return f"{self.kind} {self.name!r} of this session"
        return f"{self.kind} {self.name!r} of {self.distribution} {self.version}"

    def failure(self, error: BaseException) -> PluginError:
        """Describe in one line an error that its code raised, with the file and the line; ``--debug`` prints the traceback."""
        print_traceback(error)
        return PluginError(f"{self} failed with {describe_error(error)}{error_place(error, self.entry.target)}")


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Send what plugins print to standard error, as standard output is for results."""
    with standard_output.changed_to(sys.stderr):
        yield


def _is_module(value: Any) -> bool:
    """Return whether a value is a module of torch, which may not be imported."""
    return any(f"{base.__module__}.{base.__name__}" == "torch.nn.modules.module.Module" for base in type(value).__mro__)
