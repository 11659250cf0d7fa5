"""L-BFGS over many independent problems at once, as one batch of tensors.

Every problem keeps its own direction, step size, memory and convergence; one evaluation serves all that are still moving,
and those that have arrived are left out of the next. (Nocedal & Wright, Numerical Optimization, 2nd ed., ch. 7.2; the
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
    """S smooth convex functions of P numbers. `which` (A,) numbers those that are asked for; all in float64."""

    def evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """(A, P) -> values (A,) and gradients (A, P)."""

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        """(A, P) -> (A, P) by a guess at the inverse Hessian, symmetric and positive, which the memory corrects."""

    def update_preconditioner(self, which: Tensor, x: Tensor) -> None:
        """Renews the guess at (A, P). Called after 4, 8, 16, ... evaluations, and at a start that is not the origin."""


@dataclass(frozen=True)
class Minimum:
    """Where the problems ended.

    Attributes:
        x: (S, P).
        value: (S,).
        iterations: (S,) accepted steps.
        converged: (S,) bool; False where the iterations ran out, or where rounding kept the search from going on.
    """

    x: Tensor
    value: Tensor
    iterations: Tensor
    converged: Tensor


def minimize(problems: Problems, start: Tensor, *, tolerance: float, max_iterations: int) -> Minimum:
    """Minimizes each of the problems.

    Args:
        problems: S of them.
        start: (S, P) float64.
        tolerance: a problem has converged when a further step would lower its value by less, by the quadratic model.
        max_iterations: accepted steps of one problem.
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
        arrived = -slope / 2 <= tolerance
        over = arrived | (taken >= max_iterations) | (halvings > _HALVINGS)
        if over.any():
            at = which[over]
            end.x[at], end.value[at], end.iterations[at], end.converged[at] = (
                x[over],
                value[over],
                taken[over],
                arrived[over],
            )
            state = (which, x, value, gradient, direction, length, halvings, taken, steps, changes, rho, slope)
            which, x, value, gradient, direction, length, halvings, taken, steps, changes, rho, slope = (
                part[~over] for part in state
            )
        if not len(which):
            break
        if evaluation >= 4 and evaluation.bit_count() == 1:
            problems.update_preconditioner(which, x)

        there = x + length[:, None] * direction
        new_value, new_gradient = problems.evaluate(which, there)
        new_slope = _dot(new_gradient, direction)
        enough = new_value <= value + _DECREASE * length * slope
        # Within rounding of the value only the slopes can be trusted.
        level = (new_value <= value + _NOISE * (1 + value.abs())) & (new_slope.abs() <= _CURVATURE * slope.abs())
        accepted = enough | level

        step, change = there - x, new_gradient - gradient
        product = _dot(step, change)
        curved = product > 1e-12 * (_dot(step, step) * _dot(change, change)).sqrt()
        rows = torch.nonzero(accepted)[:, 0]
        slot = taken[rows] % MEMORY
        steps[rows, slot], changes[rows, slot] = step[rows], change[rows]
        rho[rows, slot] = torch.where(curved, 1 / product, torch.zeros_like(product))[rows]

        keep = accepted[:, None]
        x, gradient = torch.where(keep, there, x), torch.where(keep, new_gradient, gradient)
        shorter = _interpolated(length, value, new_value, slope)
        value = torch.where(accepted, new_value, value)
        length = torch.where(accepted, torch.ones_like(length), shorter)
        halvings = torch.where(accepted, torch.zeros_like(halvings), halvings + 1)
        taken = taken + accepted
        if accepted.any():
            turned = _direction(which, gradient, problems, steps, changes, rho, taken)
            direction = torch.where(keep, turned, direction)
    return end


def _direction(
    which: Tensor, gradient: Tensor, problems: Problems, steps: Tensor, changes: Tensor, rho: Tensor, taken: Tensor
) -> Tensor:
    """The two-loop recursion for all problems; slots that hold no pair have rho = 0 and so change nothing."""
    rows = torch.arange(len(which), device=which.device)
    known = min(MEMORY, int(taken.max()))
    slots = [(taken - 1 - age) % MEMORY for age in range(known)]  # from the newest pair to the oldest
    left, shares = gradient, []
    for slot in slots:
        share = rho[rows, slot] * _dot(steps[rows, slot], left)
        left = left - share[:, None] * changes[rows, slot]
        shares.append(share)
    newest = changes[rows, slots[0]]
    bent = _dot(newest, problems.precondition(which, newest)) * rho[rows, slots[0]]
    result = problems.precondition(which, left) / torch.where(bent > 0, bent, torch.ones_like(bent))[:, None]
    for slot, share in zip(reversed(slots), reversed(shares)):
        correction = share - rho[rows, slot] * _dot(changes[rows, slot], result)
        result = result + correction[:, None] * steps[rows, slot]
    return -result


def _interpolated(length: Tensor, value: Tensor, new_value: Tensor, slope: Tensor) -> Tensor:
    """The minimum of the parabola through both values and the first slope, kept within a tenth to a half of `length`."""
    parabola = -slope * length**2 / (2 * (new_value - value - slope * length))
    parabola = torch.where(parabola.isfinite(), parabola, 0.1 * length)
    return torch.minimum(torch.maximum(parabola, 0.1 * length), 0.5 * length)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(A, P), (A, P) -> (A,)."""
    return (a * b).sum(1)
