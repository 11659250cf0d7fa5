"""Define checks, run those that apply to a plugin, and report their outcomes."""

from __future__ import annotations

import inspect
import random
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from aekit.errors import PluginError
from aekit.registry.discovery import Plugin, error_place, registry
from aekit.registry.options import validate_options

Status = Literal["passed", "failed", "skipped"]


class NotApplicableError(Exception):
    """Raised by an optional check that does not apply to a plugin; the message is the reason."""


@dataclass(frozen=True)
class Check:
    """A requirement on plugins.

    Attributes:
        function: takes a `Case`, and raises AssertionError if the plugin does not meet the requirement. Reports show its
            docstring, which is one line.
        kinds: kinds of plugins that it applies to.
        bare: whether it needs the registered entry alone, with nothing built.
        optional: whether it may not apply.
    """

    function: Callable[[Any], None]
    kinds: tuple[str, ...]
    bare: bool = False
    optional: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__.replace("_", "-")

    @property
    def description(self) -> str:
        return " ".join((self.function.__doc__ or "").split())

    def __call__(self, case: Case) -> None:
        self.function(case)


def check(*kinds: str, bare: bool = False, optional: bool = False) -> Callable[[Callable[[Any], None]], Check]:
    """Make a function a check of these kinds of plugins."""
    return lambda function: Check(function, kinds, bare, optional)


class Case:
    """A plugin with options, set up for checks in one situation. Kinds of plugins have subclasses."""

    label = ""
    """Distinguishes this case from other cases of the plugin, such as the kind of sample."""

    def __init__(self, plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> None:
        self.plugin, self.name, self.options, self.folder = plugin, name, dict(options), folder

    @cached_property
    def code(self) -> Any:
        """The class or function that the entry names."""
        return self.plugin.load()


@dataclass(frozen=True)
class CheckOutcome:
    check: Check
    status: Status
    reason: str = ""
    root: str = ""
    """The reason without the case in which it was found; checks that fail with the same one have one fault."""

    @property
    def failure(self) -> str:
        """Why the plugin fails by this outcome, or ``""``."""
        if self.status == "skipped" and not self.check.optional:
            return f"did not run: {self.reason}"
        return self.reason if self.status == "failed" else ""

    def __str__(self) -> str:
        status = "NOT RUN" if self.status == "skipped" and self.failure else self.status
        line = f"{status.upper() if self.failure else status:<8} {self.check.name:<26} {self.check.description}"
        return f"{line}\n{'':<35} -> {self.reason}" if self.reason else line


@dataclass(frozen=True)
class Report:
    """The outcomes of a plugin. `ok` is False if a check failed, or if a mandatory one did not run."""

    plugin: Plugin
    outcomes: list[CheckOutcome] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return bool(self.outcomes) and not any(outcome.failure for outcome in self.outcomes)

    @property
    def counts(self) -> dict[str, int]:
        """Number of checks that ``passed``, ``failed``, were ``skipped``, or are mandatory and were ``not run``."""
        statuses = Counter("not run" if o.status == "skipped" and o.failure else o.status for o in self.outcomes)
        return {name: statuses[name] for name in ("passed", "failed", "skipped", "not run")}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        checks = [
            {
                "check": o.check.name,
                "status": o.status,
                "optional": o.check.optional,
                "description": o.check.description,
                "reason": o.reason,
            }
            for o in self.outcomes
        ]
        return {"plugin": self.plugin.to_dict(), "ok": self.ok, "counts": self.counts, "checks": checks}

    @property
    def summary(self) -> str:
        """The counts, as text."""
        counted = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{self.plugin.kind} {self.plugin.qualified} {self.plugin.version}: {counted}"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.outcomes), *([] if self.ok else [self.place]), self.summary])

    @property
    def place(self) -> str:
        """File and line of the plugin's code."""
        try:
            code = self.plugin.load()
            code = getattr(code, "callback", code)
            return f"code: {inspect.getsourcefile(code)}, line {inspect.getsourcelines(code)[1]}"
        except (PluginError, TypeError, OSError):
            return f"code: {self.plugin.entry.target}"


CaseMaker = Callable[[Plugin, str, Mapping[str, Any], Path], Sequence[Case]]


class ConformanceRun:
    """A run of the checks of a plugin, which share its cases.

    Attributes:
        failed: reason -> name of the first check that failed with it.

    Args:
        kind, name: kind and name of a registered plugin.
        options: options to test it with; default: its defaults.
        checks: all checks; those of the kind are run.
        makers: kind -> function that makes the cases of a plugin of that kind.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        options: Mapping[str, Any],
        checks: Sequence[Check],
        makers: Mapping[str, CaseMaker],
    ) -> None:
        self.kind, self.name, self.options, self.makers = kind, name, dict(options), makers
        self.failed: dict[str, str] = {}
        self.checks = [one for one in checks if kind in one.kinds]

    @cached_property
    def plugin(self) -> Plugin:
        return registry().get(self.kind, self.name)

    @cached_property
    def folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="aekit-kit-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @cached_property
    def cases(self) -> Sequence[Case] | str:
        """The cases, or the reason why there are none."""
        with _undisturbed():
            try:
                cases = self.makers[self.kind](self.plugin, self.name, self.options, self.folder)
            except ValueError as error:
                return error_line(error)
            except (Exception, SystemExit) as error:
                return error_with_place(error, self.plugin)
        return cases or "the kit has no case for it"

    def run(self, one: Check) -> CheckOutcome:
        """Run one check on the plugin."""
        if one.bare:
            return _outcome(one, [Case(self.plugin, self.name, self.options, self.folder)])
        if isinstance(self.cases, str):
            return CheckOutcome(one, "skipped", self.cases, self.cases)
        return _outcome(one, self.cases)

    def report(self) -> Iterator[CheckOutcome]:
        """Yield the outcomes one at a time.

        Raises:
            RecipeError: the options are not valid.
        """
        if self.options:
            validate_options(self.plugin, self.options)
        reasons: set[str] = set()
        for one in self.checks:
            outcome = self.run(one)
            if outcome.root and outcome.root in reasons:
                continue  # the same fault again
            reasons |= {outcome.root} if outcome.failure else set()
            yield outcome


def _outcome(one: Check, cases: Sequence[Case]) -> CheckOutcome:
    skipped = []
    for case in cases:
        with _undisturbed():
            try:
                one(case)
            except NotApplicableError as why:
                skipped.append(str(why))
            except (Exception, SystemExit) as error:
                where = f"{case.label}: " if case.label else ""
                reason = error_with_place(error, case.plugin)
                return CheckOutcome(one, "failed", f"{where}{reason}", reason)
    if len(skipped) == len(cases):
        return CheckOutcome(one, "skipped", "; ".join(dict.fromkeys(skipped)))
    return CheckOutcome(one, "passed")


def error_with_place(error: BaseException, plugin: Plugin) -> str:
    """Format an error as one line, with the line of the plugin's code that it came from.

    An assertion of the kit is about what the code returned, and a line of aekit says where the fault is.
    """
    told = isinstance(error, (AssertionError, PluginError))
    return f"{error_line(error)}{'' if told else error_place(error, plugin.entry.target)}"


def error_line(error: BaseException) -> str:
    """Format an error as one line; errors other than assertions, and lines that name the plugin, begin with their type."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, (AssertionError, PluginError)):
        return text or "assertion failed"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def global_state() -> tuple[Any, ...]:
    """Return the state of every global random generator."""
    name, keys, *others = np.random.get_state()
    return torch.get_rng_state().tolist(), (name, np.asarray(keys).tolist(), *others), random.getstate()


@contextmanager
def leaves_global_state_alone(what: str) -> Iterator[None]:
    """Raise AssertionError if `what` draws from, or seeds, a global generator."""
    before = global_state()
    yield
    for library, old, new in zip(("torch", "numpy", "random"), before, global_state()):
        assert old == new, (
            f"{what} changes the global random state of {library}; draw from the generator that is passed in"
        )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Restore global random states afterwards, because checks seed them, and use one thread, because samples are tiny."""
    numpy_state, python_state, threads = np.random.get_state(), random.getstate(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
