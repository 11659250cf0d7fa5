"""L-BFGS for many independent problems at once, as one batch of tensors.

Every problem has its own direction, step size, memory and convergence; one evaluation serves all problems that have not
converged, and converged ones are excluded from the next. (Nocedal & Wright, Numerical Optimization, 2nd ed., ch. 7.2; the
acceptance near the end of a search is Hager & Zhang's approximate Wolfe condition, SIAM J. Optim. 16, 2005.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Protocol

import torch
from torch import Tensor

MEMORY = 10
"""Pairs of steps and gradient changes that each problem remembers."""
_DECREASE, _CURVATURE, _NOISE, _HALVINGS = 1e-4, 0.9, 1e-8, 25


class Problems(Protocol):
    """S smooth convex functions of P variables in float64; `which` (A,) are the numbers of the requested ones."""

    def evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values (A,) and the gradients (A, P) at (A, P)."""

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        """Multiply (A, P) by an estimate of the inverse Hessian, symmetric and positive, which the memory corrects."""

    def update_preconditioner(self, which: Tensor, x: Tensor) -> None:
        """Update the estimate at (A, P); called after 4, 8, 16, ... evaluations, and at a start other than the origin."""


@dataclass(frozen=True)
class Minimum:
    """The minima of the problems.

    Attributes:
        x: (S, P) minima.
        value: (S,) values at the minima.
        iterations: (S,) accepted steps.
        converged: (S,) bool; False if the iterations ran out, or rounding stopped the search.
    """

    x: Tensor
    value: Tensor
    iterations: Tensor
    converged: Tensor


def minimize(problems: Problems, start: Tensor, *, tolerance: float, max_iterations: int) -> Minimum:
    """Minimize each of the problems.

    Args:
        problems: S problems.
        start: (S, P) float64.
        tolerance: a problem has converged when the quadratic model predicts a smaller decrease of its value.
        max_iterations: number of accepted steps of a problem.
    """
    which = torch.arange(len(start), device=start.device)
    end = Minimum(
        start.clone(), start.new_zeros(len(start)), torch.zeros_like(which), torch.zeros_like(which, dtype=torch.bool)
    )
    x, (value, gradient) = start, problems.evaluate(which, start)
    if start.any():
        problems.update_preconditioner(which, start)
    direction = -problems.precondition(which, gradient)
    length, halvings, taken = torch.ones_like(value), torch.zeros_like(which), torch.zeros_like(which)
    steps = start.new_zeros(len(start), MEMORY, start.shape[1])
    changes, rho = torch.zeros_like(steps), start.new_zeros(len(start), MEMORY)
    for evaluation in count(1):
        slope = _dot(gradient, direction)
        converged = -slope / 2 <= tolerance
        done = converged | (taken >= max_iterations) | (halvings > _HALVINGS)
        if done.any():
            finished = which[done]
            end.x[finished], end.value[finished], end.iterations[finished], end.converged[finished] = (
                x[done],
                value[done],
                taken[done],
                converged[done],
            )
            state = (which, x, value, gradient, direction, length, halvings, taken, steps, changes, rho, slope)
            which, x, value, gradient, direction, length, halvings, taken, steps, changes, rho, slope = (
                part[~done] for part in state
            )
        if not len(which):
            break
        if evaluation >= 4 and evaluation.bit_count() == 1:
            problems.update_preconditioner(which, x)

        trial = x + length[:, None] * direction
        new_value, new_gradient = problems.evaluate(which, trial)
        new_slope = _dot(new_gradient, direction)
        enough = new_value <= value + _DECREASE * length * slope
        # Where the values differ by rounding only, the slopes decide.
        flat = (new_value <= value + _NOISE * (1 + value.abs())) & (new_slope.abs() <= _CURVATURE * slope.abs())
        accepted = enough | flat

        step, change = trial - x, new_gradient - gradient
        product = _dot(step, change)
        curved = product > 1e-12 * (_dot(step, step) * _dot(change, change)).sqrt()
        rows = torch.nonzero(accepted)[:, 0]
        slot = taken[rows] % MEMORY
        steps[rows, slot], changes[rows, slot] = step[rows], change[rows]
        rho[rows, slot] = torch.where(curved, 1 / product, torch.zeros_like(product))[rows]

        keep = accepted[:, None]
        x, gradient = torch.where(keep, trial, x), torch.where(keep, new_gradient, gradient)
        shorter = _interpolated(length, value, new_value, slope)
        value = torch.where(accepted, new_value, value)
        length = torch.where(accepted, torch.ones_like(length), shorter)
        halvings = torch.where(accepted, torch.zeros_like(halvings), halvings + 1)
        taken = taken + accepted
        if accepted.any():
            new_direction = _direction(which, gradient, problems, steps, changes, rho, taken)
            direction = torch.where(keep, new_direction, direction)
    return end


def _direction(
    which: Tensor, gradient: Tensor, problems: Problems, steps: Tensor, changes: Tensor, rho: Tensor, taken: Tensor
) -> Tensor:
    """Run the two-loop recursion for all problems; slots without a pair have rho = 0 and so change nothing."""
    rows = torch.arange(len(which), device=which.device)
    stored = min(MEMORY, int(taken.max()))
    slots = [(taken - 1 - age) % MEMORY for age in range(stored)]  # from the newest pair to the oldest
    q, alphas = gradient, []
    for slot in slots:
        alpha = rho[rows, slot] * _dot(steps[rows, slot], q)
        q = q - alpha[:, None] * changes[rows, slot]
        alphas.append(alpha)
    newest = changes[rows, slots[0]]
    curvature = _dot(newest, problems.precondition(which, newest)) * rho[rows, slots[0]]
    result = (
        problems.precondition(which, q) / torch.where(curvature > 0, curvature, torch.ones_like(curvature))[:, None]
    )
    for slot, alpha in zip(reversed(slots), reversed(alphas)):
        correction = alpha - rho[rows, slot] * _dot(changes[rows, slot], result)
        result = result + correction[:, None] * steps[rows, slot]
    return -result


def _interpolated(length: Tensor, value: Tensor, new_value: Tensor, slope: Tensor) -> Tensor:
    """Return the minimum of the parabola through both values and the first slope, within a tenth to a half of `length`."""
    parabola = -slope * length**2 / (2 * (new_value - value - slope * length))
    parabola = torch.where(parabola.isfinite(), parabola, 0.1 * length)
    return torch.minimum(torch.maximum(parabola, 0.1 * length), 0.5 * length)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return (A,) dot products of (A, P) rows."""
    return (a * b).sum(1)
