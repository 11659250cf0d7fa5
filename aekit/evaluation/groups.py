"""Names that select several evaluators at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from aekit.registry.discovery import registry

ALL, QUICK = "all", "quick"
"""Every installed evaluator, slow ones included; the evaluators that are tagged as quick."""


def expand_groups(names: Iterable[str], *, labeled: bool = False) -> list[str]:
    """Replace ``all`` and ``quick`` by the names of their evaluators, each once; other names stay as they are.

    Args:
        names: names of evaluators and groups.
        labeled: whether there are labels: ``quick`` are then those that use them, as clustering takes longer and tells less.
    """
    available = registry().by_kind("evaluator")
    counts = Counter(plugin.name for plugin in available)
    expanded = dict[str, None]()
    for name in names:
        if name in (ALL, QUICK):
            needed = set() if name == ALL else {QUICK, "labels"} if labeled else {QUICK}
            members = [plugin for plugin in available if needed <= set(plugin.entry.tags)]
            expanded |= {p.name if counts[p.name] == 1 else p.qualified: None for p in members}
        else:
            expanded[name] = None
    return list(expanded)
