"""Networks that others wrote, cut into stages without reading their code: by watching one pass through them.

A pass is a chain where each module takes exactly what the one before it gave. That holds for most networks, and where it holds,
modules can be applied one after the other instead of calling the network. What is no module, such as the embedding of positions,
can be a step too, if it is a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


class NotSequentialError(Exception):
    """Something happens between two modules, or a module takes more than one thing; says where."""


@dataclass
class Call:
    """A module, or a method of the network, at work.

    Attributes:
        name: of the module or the method.
        given: its positional arguments.
        named: the others.
        made: what it gave.
        before, after: how often the memory of what it took and gave had been written to: tensors may be changed in place.
        inner: the calls that it made.
        is_method: whether it is a method.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    before: int = 0
    after: int = 0
    children: list[Call] = field(default_factory=list)
    is_method: bool = False

    @property
    def out(self) -> Any:
        """What goes on to the next module: of several things that a method gives, the first."""
        return self.output[0] if self.is_method and isinstance(self.output, tuple) else self.output


@dataclass(frozen=True)
class Plan:
    """How a network is cut into stages.

    Attributes:
        stages: the steps of each.
        called: names of the network's children that are called in a pass, be it by steps or within a method.
    """

    stages: list[list[Call]]
    called: frozenset[str]

    def first(self, count: int | None) -> Plan:
        """The lowest stages alone; None: all."""
        return replace(self, stages=self.stages[:count])


def plan_stages(
    network: nn.Module,
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    groups: Mapping[str, int],
    candidates: Sequence[Sequence[str]],
    extra_args: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> Plan:
    """The stages that a pass through a network consists of, and the steps of each.

    Args:
        network: in eval mode; may be on the meta device, where this costs nothing.
        run: the pass, by methods of the network.
        x: what goes in; the network's modules are watched while it does.
        groups: name of each weight -> the stage that it is meant to be in.
        tries: methods of the network that are to be steps, first those that leave the finest stages.
        carried: names of arguments that a step may be given besides; the caller sees to them.
        without: steps that are left out in the end.

    Raises:
        NotAChainError: by none of the tries do the steps alone make up the pass.
    """
    for methods in candidates:
        of = _Groups(groups, methods)
        try:
            top = _watch(network, run, x, methods)
            steps = _taken_apart(top, x, top.before, of.are_one, extra_args)
        except NotSequentialError:
            if methods is candidates[-1]:
                raise
        else:
            break
    called = {_child(inner.name) for step in steps for inner in ([step] if not step.is_method else step.children)}
    return Plan(_grouped([step for step in steps if step.name not in skip], of), frozenset(called))


def groups_by_name(names: Sequence[str]) -> dict[str, int]:
    """A group for each weight, by the first word of its name, or the first two where they are a name and a number."""
    found: dict[tuple[str, ...], int] = {}
    groups = {}
    for name in names:
        words = name.split(".")
        key = tuple(words[:2] if len(words) > 2 and words[1].isdecimal() else words[:1])
        groups[name] = found.setdefault(key, len(found))
    return groups


def build_stages(network: nn.Module, plan: Plan, adapt: Callable[[Call], nn.Module | None]) -> list[nn.Module]:
    """Each stage as a module that holds its own part of the network, and no part is held twice.

    Args:
        network: built like the one that was watched.
        plan: of its stages.
        adapted: gives a module for a step that is called in a way of its own, or None.
    """
    steps = [step for stage in plan.stages for step in stage]
    taken = {_child(step.name) for step in steps if not step.is_method}
    # What is never called, such as a table of positions, goes with the first method.
    uncalled = {name for name, _ in network.named_children()} - plan.called
    built: dict[str, nn.Module] = {}
    for step in (step for step in steps if step.is_method):
        parts = {_child(inner.name) for inner in step.children} - taken | (set() if built else uncalled)
        built[step.name] = _Method(network, step.name, parts, weights=not built, named=step.kwargs)
        taken |= parts

    def module(step: Call) -> nn.Module:
        if step.name in built:
            return built[step.name]
        found = network.get_submodule(step.name)
        return adapt(step) or (_Called(found, step.kwargs) if step.kwargs else found)

    made = [[module(step) for step in stage] for stage in plan.stages]
    return [nn.Sequential(*modules) if len(modules) > 1 else modules[0] for modules in made]


def disable_dropout(network: nn.Module) -> nn.Module:
    """The same network without dropout of any kind, whose random numbers no run could repeat."""
    for module in network.modules():
        names = ("p",) if isinstance(module, nn.modules.dropout._DropoutNd) else ("drop_prob", "drop_rate")
        for name in names:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network


class _Called(nn.Module):
    """A module that is given constants besides."""

    def __init__(self, module: nn.Module, named: Mapping[str, Any]) -> None:
        super().__init__()
        self.module, self.named = module, dict(named)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        return self.module(x, **self.named)


class _Method(nn.Module):
    """A method of a network as a module, over a shell of the network that holds those of its parts that no other step holds.

    Args:
        network: whose method it is; its other parts are looked up, and not held.
        name: of the method.
        parts: names of the children that it holds.
        weights: whether it holds the weights and buffers that are in no child.
        named: arguments besides the first.
    """

    def __init__(self, network: nn.Module, name: str, parts: set[str], weights: bool, named: Mapping[str, Any]) -> None:
        super().__init__()
        shell = object.__new__(type(network))
        shell.__dict__.update(network.__dict__)
        for kind in ("_parameters", "_buffers", "_modules"):
            there = dict(getattr(network, kind))
            held = {key: there.pop(key) for key in list(there) if (key in parts if kind == "_modules" else weights)}
            shell.__dict__.update({kind: held, **there})
        self.network, self.name, self.named = shell, name, dict(named)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        made = getattr(self.network, self.name)(x, **self.named)
        return made[0] if isinstance(made, tuple) else made


class _Groups:
    """Name of a module or a method -> the groups of its weights. The first method holds what is in no child; others, nothing."""

    def __init__(self, groups: Mapping[str, int], methods: Sequence[str]) -> None:
        self.groups, self.methods = groups, methods

    def __call__(self, name: str) -> set[int]:
        if name in self.methods:
            return {group for weight, group in self.groups.items() if "." not in weight and name == self.methods[0]}
        return {group for weight, group in self.groups.items() if weight.startswith(f"{name}.")}

    def are_one(self, name: str) -> bool:
        """Whether a step of that name need not be taken apart."""
        return len(self(name)) < 2


def _grouped(steps: Sequence[Call], groups_of: Callable[[str], set[int]]) -> list[list[Call]]:
    """Joins neighboring steps of one group; what has no weights, and so no group, goes with what comes before it."""
    stages: list[list[Call]] = []
    last: int | None = None
    for step in steps:
        group = max(groups_of(step.name), default=last)
        if not stages or (last is not None and group != last):
            stages.append([])
        stages[-1].append(step)
        last = group
    return stages


def _child(name: str) -> str:
    return name.partition(".")[0]


def _watch(network: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor, methods: Sequence[str]) -> Call:
    """All calls of a pass, as a tree."""
    top = Call("", (x,), before=x._version)
    open_calls, names = [top], {module: name for name, module in network.named_modules() if name}

    def begin(name: str, given: tuple[Any, ...], named: Mapping[str, Any], is_method: bool = False) -> None:
        call = Call(name, given, named, before=_writes(given[0] if given else None), is_method=is_method)
        open_calls[-1].children.append(call)
        open_calls.append(call)

    def end(made: Any) -> None:
        call = open_calls.pop()
        call.output = made
        call.after = _writes(call.out)

    def watched(name: str) -> Callable[..., Any]:
        method = getattr(network, name)

        def called(*given: Any, **named: Any) -> Any:
            begin(name, given, named, is_method=True)
            made = method(*given, **named)
            end(made)
            return made

        return called

    hooks = []
    for module, name in names.items():
        hooks.append(
            module.register_forward_pre_hook(
                lambda _, given, named, name=name: begin(name, given, named), with_kwargs=True
            )
        )
        hooks.append(module.register_forward_hook(lambda _, given, made: end(made)))
    network.__dict__.update({name: watched(name) for name in methods})
    try:
        with torch.no_grad():
            end(run(x))
    finally:
        for hook in hooks:
            hook.remove()
        for name in methods:
            del network.__dict__[name]
    return top


def _writes(value: Any) -> int:
    return value._version if isinstance(value, Tensor) else 0


def _taken_apart(call: Call, now: Any, writes: int, whole: Callable[[str], bool], carried: Sequence[str]) -> list[Call]:
    """The steps from `now`, as it is after so many writes, to what the call gave."""
    steps: list[Call] = []
    for inner in call.children:
        if len(inner.args) != 1 or any(_is_data(value) and name not in carried for name, value in inner.kwargs.items()):
            raise NotSequentialError(f"{inner.name} takes more than what comes before it")
        if inner.args[0] is not now or inner.before != writes:
            raise NotSequentialError(f"something happens before {inner.name}")
        try:
            steps += [inner] if whole(inner.name) else _taken_apart(inner, now, writes, whole, carried)
        except NotSequentialError:
            steps.append(inner)
        now, writes = inner.out, inner.after
    if call.out is not now or call.after != writes:
        raise NotSequentialError(f"something happens at the end of {call.name or 'the network'}")
    if not call.children:
        return [call]
    return steps


def _is_data(value: Any) -> bool:
    return not isinstance(value, bool | int | float | str | None)
