"""Compare the methods of a plugin's class with those of the contract."""

from __future__ import annotations

import inspect


def signature_problem(code: type, base: type) -> str:
    """Return which method of a class does not take the arguments that the one of its contract takes, or "".

    Args:
        code: class of a plugin.
        base: class of the contract that it is derived from.

    >>> class Base:
    ...     def corrupt(self, x, generator): ...
    >>> class Mine(Base):
    ...     def corrupt(self, x): ...
    >>> signature_problem(Mine, Base)
    'corrupt(self, x): expected corrupt(self, x, generator)'
    """
    for name, method in vars(base).items():
        mine = inspect.getattr_static(code, name, None)
        if name.startswith("_") or not inspect.isfunction(method) or not inspect.isfunction(mine) or mine is method:
            continue
        expected, actual = inspect.signature(method), inspect.signature(mine)
        required = [p for p in expected.parameters.values() if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
        try:
            actual.bind(*required)
        except TypeError:
            return f"{name}({', '.join(actual.parameters)}): expected {name}({', '.join(expected.parameters)})"
    return ""
