"""What a check is, how a plugin is put through all that apply to it, and the report that comes out."""

from __future__ import annotations

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

from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import validate_options

Status = Literal["passed", "failed", "skipped"]


class NotApplicableError(Exception):
    """Raised by an optional check where the plugin does not have what it looks at; the message says what."""


@dataclass(frozen=True)
class Check:
    """One thing that a plugin has to do right.

    Attributes:
        function: takes a `Case` and raises AssertionError where the plugin is at fault. Its docstring is one line, which
            the report shows.
        kinds: of plugins that it applies to.
        bare: whether the registered entry is enough for it, with nothing built.
        optional: whether it may find that it does not apply.
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
    """Makes a function a check of these kinds of plugins."""
    return lambda function: Check(function, kinds, bare, optional)


class Case:
    """A plugin with options, set up to be looked at in one situation. Kinds of plugins have cases of their own."""

    label = ""
    """What sets this case apart from the others of the plugin, such as its kind of sample."""

    def __init__(self, plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> None:
        self.plugin, self.name, self.options, self.folder = plugin, name, dict(options), folder

    @cached_property
    def code(self) -> Any:
        """What the entry's target is."""
        return self.plugin.load()


@dataclass(frozen=True)
class CheckOutcome:
    check: Check
    status: Status
    reason: str = ""

    @property
    def failure(self) -> str:
        """Why this outcome is to the plugin's discredit, or ``""``."""
        if self.status == "skipped" and not self.check.optional:
            return f"did not run: {self.reason}"
        return self.reason if self.status == "failed" else ""

    def __str__(self) -> str:
        status = "NOT RUN" if self.status == "skipped" and self.failure else self.status
        line = f"{status.upper() if self.failure else status:<8} {self.check.name:<26} {self.check.description}"
        return f"{line}\n{'':<35} -> {self.reason}" if self.reason else line


@dataclass(frozen=True)
class Report:
    """What the kit found. `ok` is False where a check failed, and where one that has to run did not."""

    plugin: Plugin
    outcomes: list[CheckOutcome] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return bool(self.outcomes) and not any(outcome.failure for outcome in self.outcomes)

    @property
    def counts(self) -> dict[str, int]:
        """Of ``passed``, ``failed``, ``skipped`` and ``not run``: checks that had to run and could not."""
        found = Counter("not run" if o.status == "skipped" and o.failure else o.status for o in self.outcomes)
        return {name: found[name] for name in ("passed", "failed", "skipped", "not run")}

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        checks = [
            {
                "check": o.check.name,
                "status": o.status,
                "optional": o.check.optional,
                "says": o.check.description,
                "reason": o.reason,
            }
            for o in self.outcomes
        ]
        return {"plugin": self.plugin.to_dict(), "ok": self.ok, "counts": self.counts, "checks": checks}

    @property
    def summary(self) -> str:
        """The counts, in words."""
        counted = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{self.plugin.kind} {self.plugin.qualified} {self.plugin.version}: {counted}"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.outcomes), self.summary])


CaseMaker = Callable[[Plugin, str, Mapping[str, Any], Path], Sequence[Case]]


class ConformanceRun:
    """A plugin on the bench: its cases are made once, for all checks.

    Args:
        kind, name: of a registered plugin.
        options: to test it with; by default its own.
        checks: all checks there are; those of the kind are run.
        makers: kind -> what makes the cases of a plugin of that kind.
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
        """The cases, or why there are none."""
        with _undisturbed():
            try:
                made = self.makers[self.kind](self.plugin, self.name, self.options, self.folder)
            except (Exception, SystemExit) as error:
                return error_line(error)
        return made or "the kit has no case for it"

    def run(self, one: Check) -> CheckOutcome:
        """Puts the plugin through one check."""
        if one.bare:
            return _outcome(one, [Case(self.plugin, self.name, self.options, self.folder)])
        if isinstance(self.cases, str):
            return CheckOutcome(one, "skipped", self.cases)
        return _outcome(one, self.cases)

    def report(self) -> Iterator[CheckOutcome]:
        """The outcomes, one at a time.

        Raises:
            RecipeError: the options to test with are not the plugin's.
        """
        if self.options:
            validate_options(self.plugin, self.options)
        for one in self.checks:
            yield self.run(one)


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
                return CheckOutcome(one, "failed", f"{where}{error_line(error)}")
    if len(skipped) == len(cases):
        return CheckOutcome(one, "skipped", "; ".join(dict.fromkeys(skipped)))
    return CheckOutcome(one, "passed")


def error_line(error: BaseException) -> str:
    """One line: an assertion speaks for itself, anything else says what it is."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, AssertionError):
        return text or "assertion failed"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def global_state() -> tuple[Any, ...]:
    """Of every global random generator that code could draw from instead of its own."""
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), (name, np.asarray(keys).tolist(), *rest), random.getstate()


@contextmanager
def leaves_global_state_alone(what: str) -> Iterator[None]:
    """Raises AssertionError where `what` draws from, or seeds, a global generator."""
    before = global_state()
    yield
    for whose, old, new in zip(("torch", "numpy", "random"), before, global_state()):
        assert old == new, (
            f"{what} changes the global random state of {whose}; draw from the generator that is passed in"
        )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Checks seed global generators to see who draws from them; whoever runs the kit must not notice.

    Samples are tiny, so more than one thread would only wait for the others.
    """
    arrays, own, threads = np.random.get_state(), random.getstate(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            np.random.set_state(arrays)
            random.setstate(own)
