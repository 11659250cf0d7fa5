"""Adam and AdamW by torch's fused kernel, without the rest of torch.optim: a step of a small network takes a third less of the
optimizer's time, and starting takes a second less, as torch.optim imports torch's compiler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aekit.io.processes import is_part, local_part

EPSILON = 1e-8


class FusedAdam:
    """Update parameters as ``torch.optim.Adam(..., fused=True)`` does, bit for bit, or as ``torch.optim.AdamW``.

    Attributes:
        param_groups: as in torch.optim: ``params``, ``lr`` and ``weight_decay`` of each group, and whatever else it came with.
        state: parameter -> its ``step``, ``exp_avg`` and ``exp_avg_sq``; parameters that never had a gradient have none.

    Args:
        groups: of parameters, with their ``weight_decay``.
        lr: learning rate of all groups, until it is changed in `param_groups`.
        betas: decay of the averages of the gradient and of its square.
        decoupled: whether weights decay as in AdamW, not by a penalty as in Adam.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float], *, decoupled: bool
    ) -> None:
        self.param_groups = [{"lr": lr, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.betas = betas
        self._in_parts = any(is_part(parameter) for group in groups for parameter in group["params"])
        self._update = torch._fused_adamw_ if decoupled else torch._fused_adam_

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            by_dtype: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameters, gradients = by_dtype.setdefault(parameter.dtype, ([], []))
                    parameters.append(parameter)
                    gradients.append(parameter.grad)
            for parameters, gradients in by_dtype.values():
                states = [self.state.get(parameter) or self._start(parameter) for parameter in parameters]
                if self._in_parts:
                    parameters, gradients = ([local_part(t) for t in several] for several in (parameters, gradients))
                steps = [state["step"] for state in states]
                torch._foreach_add_(steps, 1)
                self._update(
                    parameters,
                    gradients,
                    [state["exp_avg"] for state in states],
                    [state["exp_avg_sq"] for state in states],
                    [],
                    steps,
                    lr=group["lr"],
                    beta1=self.betas[0],
                    beta2=self.betas[1],
                    weight_decay=group["weight_decay"],
                    eps=EPSILON,
                    amsgrad=False,
                    maximize=False,
                )

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        # The kernel walks through memory: averages have the layout of their parameter.
        averages = {name: torch.zeros_like(local_part(parameter)) for name in ("exp_avg", "exp_avg_sq")}
        self.state[parameter] = {"step": torch.zeros((), device=parameter.device), **averages}
        return self.state[parameter]
