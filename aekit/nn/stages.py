"""Splitting of third-party networks into stages, by tracing one forward pass.

A pass is sequential if each module takes exactly the output of the one before it. This holds for most networks; then the
modules can be applied one after the other instead of calling the network. Methods of the network, such as the embedding of
positions, can be steps too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


class NotSequentialError(Exception):
    """Raised when something happens between two modules, or a module takes more than one input; says where."""


@dataclass
class Call:
    """Recorded call of a module or of a method of the network.

    Attributes:
        name: of the module or the method.
        args: its positional arguments.
        kwargs: its keyword arguments.
        output: its return value.
        before, after: number of in-place writes to its input and output at the time.
        children: the calls made within it.
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
        """Return the output that goes on to the next module: the first one, if a method returns several."""
        return self.output[0] if self.is_method and isinstance(self.output, tuple) else self.output


@dataclass(frozen=True)
class Plan:
    """Split of a network into stages.

    Attributes:
        stages: the steps of each stage.
        called: names of the network's children that are called in a pass, by steps or within methods.
    """

    stages: list[list[Call]]
    called: frozenset[str]

    def first(self, count: int | None) -> Plan:
        """Return a plan of the first `count` stages; None: all."""
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
    """Find the stages of a forward pass through a network, and the steps of each.

    Args:
        network: in eval mode; may be on the meta device, where this costs nothing.
        run: the forward pass, by methods of the network.
        x: input of the traced pass.
        groups: name of each weight -> the stage that it should be in.
        candidates: lists of methods of the network to use as steps, those with the finest stages first.
        extra_args: names of additional arguments that a step may have; the caller provides them.
        skip: names of steps to leave out in the end.

    Raises:
        NotSequentialError: with none of the candidates do the steps make up the whole pass.
    """
    for methods in candidates:
        groups_of = _Groups(groups, methods)
        try:
            top = _trace(network, run, x, methods)
            steps = _decompose(top, x, top.before, groups_of.is_single, extra_args)
        except NotSequentialError:
            if methods is candidates[-1]:
                raise
        else:
            break
    called = {_child(inner.name) for step in steps for inner in ([step] if not step.is_method else step.children)}
    return Plan(_grouped([step for step in steps if step.name not in skip], groups_of), frozenset(called))


def groups_by_name(names: Sequence[str]) -> dict[str, int]:
    """Group weights by the first part of their names, or the first two if these are a name and a number."""
    numbers: dict[tuple[str, ...], int] = {}
    groups = {}
    for name in names:
        parts = name.split(".")
        key = tuple(parts[:2] if len(parts) > 2 and parts[1].isdecimal() else parts[:1])
        groups[name] = numbers.setdefault(key, len(numbers))
    return groups


def build_stages(network: nn.Module, plan: Plan, adapt: Callable[[Call], nn.Module | None]) -> list[nn.Module]:
    """Build a module for each stage; each part of the network belongs to exactly one of them.

    Args:
        network: built like the traced one.
        plan: of its stages.
        adapt: returns a module for a step that needs a wrapper of its own, or None.
    """
    steps = [step for stage in plan.stages for step in stage]
    assigned = {_child(step.name) for step in steps if not step.is_method}
    # Children that are never called, such as a table of positions, go with the first method.
    uncalled = {name for name, _ in network.named_children()} - plan.called
    built: dict[str, nn.Module] = {}
    for step in (step for step in steps if step.is_method):
        parts = {_child(inner.name) for inner in step.children} - assigned | (set() if built else uncalled)
        built[step.name] = _Method(network, step.name, parts, weights=not built, kwargs=step.kwargs)
        assigned |= parts

    def module(step: Call) -> nn.Module:
        if step.name in built:
            return built[step.name]
        submodule = network.get_submodule(step.name)
        return adapt(step) or (_WithKwargs(submodule, step.kwargs) if step.kwargs else submodule)

    stages = [[module(step) for step in stage] for stage in plan.stages]
    return [nn.Sequential(*modules) if len(modules) > 1 else modules[0] for modules in stages]


def disable_dropout(network: nn.Module) -> nn.Module:
    """Disable dropout of any kind in place and return the network; its random numbers would not be reproducible."""
    for module in network.modules():
        names = ("p",) if isinstance(module, nn.modules.dropout._DropoutNd) else ("drop_prob", "drop_rate")
        for name in names:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network


class _WithKwargs(nn.Module):
    """Module called with constant keyword arguments."""

    def __init__(self, module: nn.Module, kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.module, self.kwargs = module, dict(kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ...) -> (B, ...)."""
        return self.module(x, **self.kwargs)


class _Method(nn.Module):
    """Method of a network as a module, over a shell of the network that owns the parts that no other step owns.

    Args:
        network: whose method it is; its other parts are referenced but not owned.
        name: of the method.
        parts: names of the children that it owns.
        weights: whether it owns the weights and buffers that are in no child.
        kwargs: keyword arguments of the method.
    """

    def __init__(
        self, network: nn.Module, name: str, parts: set[str], weights: bool, kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__()
        shell = object.__new__(type(network))
        shell.__dict__.update(network.__dict__)
        for kind in ("_parameters", "_buffers", "_modules"):
            others = dict(getattr(network, kind))
            owned = {key: others.pop(key) for key in list(others) if (key in parts if kind == "_modules" else weights)}
            shell.__dict__.update({kind: owned, **others})
        self.network, self.name, self.kwargs = shell, name, dict(kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ...) -> (B, ...)."""
        output = getattr(self.network, self.name)(x, **self.kwargs)
        return output[0] if isinstance(output, tuple) else output


class _Groups:
    """Groups of the weights of each module or method; weights in no child belong to the first method."""

    def __init__(self, groups: Mapping[str, int], methods: Sequence[str]) -> None:
        self.groups, self.methods = groups, methods

    def __call__(self, name: str) -> set[int]:
        if name in self.methods:
            return {group for weight, group in self.groups.items() if "." not in weight and name == self.methods[0]}
        return {group for weight, group in self.groups.items() if weight.startswith(f"{name}.")}

    def is_single(self, name: str) -> bool:
        """Return whether the weights of a step belong to at most one group, so that it need not be decomposed."""
        return len(self(name)) < 2


def _grouped(steps: Sequence[Call], groups_of: Callable[[str], set[int]]) -> list[list[Call]]:
    """Join neighboring steps of one group; steps without weights, and so without group, go with the one before."""
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


def _trace(network: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor, methods: Sequence[str]) -> Call:
    """Record all calls of a pass as a tree."""
    top = Call("", (x,), before=x._version)
    open_calls, names = [top], {module: name for name, module in network.named_modules() if name}

    def begin(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], is_method: bool = False) -> None:
        call = Call(name, args, kwargs, before=_writes(args[0] if args else None), is_method=is_method)
        open_calls[-1].children.append(call)
        open_calls.append(call)

    def end(output: Any) -> None:
        call = open_calls.pop()
        call.output = output
        call.after = _writes(call.out)

    def traced(name: str) -> Callable[..., Any]:
        method = getattr(network, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            begin(name, args, kwargs, is_method=True)
            output = method(*args, **kwargs)
            end(output)
            return output

        return wrapper

    hooks = []
    for module, name in names.items():
        hooks.append(
            module.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: begin(name, args, kwargs), with_kwargs=True
            )
        )
        hooks.append(module.register_forward_hook(lambda _, args, output: end(output)))
    network.__dict__.update({name: traced(name) for name in methods})
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


def _decompose(
    call: Call, current: Any, writes: int, is_single: Callable[[str], bool], extra_args: Sequence[str]
) -> list[Call]:
    """Return the steps from the `current` tensor, after `writes` in-place writes, to the output of the call."""
    steps: list[Call] = []
    for inner in call.children:
        if len(inner.args) != 1 or any(
            _is_data(value) and name not in extra_args for name, value in inner.kwargs.items()
        ):
            raise NotSequentialError(f"{inner.name} takes more than the output of the step before")
        if inner.args[0] is not current or inner.before != writes:
            raise NotSequentialError(f"something happens before {inner.name}")
        try:
            steps += [inner] if is_single(inner.name) else _decompose(inner, current, writes, is_single, extra_args)
        except NotSequentialError:
            steps.append(inner)
        current, writes = inner.out, inner.after
    if call.out is not current or call.after != writes:
        raise NotSequentialError(f"something happens at the end of {call.name or 'the network'}")
    if not call.children:
        return [call]
    return steps


def _is_data(value: Any) -> bool:
    return not isinstance(value, bool | int | float | str | None)
