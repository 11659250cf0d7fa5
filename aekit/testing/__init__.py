"""The conformance kit: check built-in and other plugins against the contracts.

In a plugin's tests, one line creates a test for each check::

    from aekit.testing import conformance

    test_conformance = conformance("variant", "my-variant")

On the command line it is ``aekit plugins test my-variant``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aekit.testing import backbones, entries, evaluators, indexes, objectives, pretexts, ranks, sources, state
from aekit.testing.evaluators import evaluator_cases
from aekit.testing.indexes import index_cases
from aekit.testing.kit import CaseMaker, Check, CheckOutcome, ConformanceRun, Report
from aekit.testing.sources import source_cases
from aekit.testing.trials import trials

__all__ = ["CHECKS", "Check", "CheckOutcome", "Report", "check", "checks_for", "conformance", "outcomes"]

CHECKS: tuple[Check, ...] = tuple(
    check
    for module in (entries, objectives, pretexts, state, ranks, backbones, sources, evaluators, indexes)
    for check in vars(module).values()
    if isinstance(check, Check)
)
"""All checks, in the order in which reports show them."""

MAKERS: dict[str, CaseMaker] = {
    "variant": trials,
    "pretext": trials,
    "backbone": trials,
    "source": source_cases,
    "evaluator": evaluator_cases,
    "index": index_cases,
}


def checks_for(kind: str) -> list[Check]:
    """Return the checks that apply to a kind of plugin."""
    return [check for check in CHECKS if kind in check.kinds]


def check(kind: str, name: str, options: Mapping[str, Any] | None = None) -> Report:
    """Run all checks of its kind on a registered plugin.

    Args:
        kind: one of `aekit.registry.discovery.KINDS`.
        name: name as in a recipe.
        options: options to test it with, instead of its defaults.

    Raises:
        PluginError: there is no such plugin, or it cannot be used.
        RecipeError: the options are not valid.
    """
    bench = ConformanceRun(kind, name, options or {}, CHECKS, MAKERS)
    return Report(bench.plugin, list(bench.report()))


def outcomes(kind: str, name: str, options: Mapping[str, Any] | None = None) -> Iterator[CheckOutcome]:
    """Run the checks as `check` does, and yield the outcomes one at a time."""
    return ConformanceRun(kind, name, options or {}, CHECKS, MAKERS).report()


def conformance(kind: str, name: str, options: Mapping[str, Any] | None = None) -> Callable[..., None]:
    """Return a pytest test of a plugin, parametrized by its checks. Assign it to a name that begins with ``test``."""
    import pytest

    bench = ConformanceRun(kind, name, options or {}, CHECKS, MAKERS)

    @pytest.mark.parametrize("check", bench.checks, ids=lambda one: one.name)
    def test(check: Check) -> None:
        outcome = bench.run(check)
        if outcome.failure and bench.failed.setdefault(outcome.root, check.name) != check.name:
            pytest.skip(f"fails as {bench.failed[outcome.root]} does: {outcome.failure}")
        assert not outcome.failure, f"{kind} {name}, {check.name} ({check.description}): {outcome.failure}"
        if outcome.status == "skipped":
            pytest.skip(outcome.reason)

    return test
