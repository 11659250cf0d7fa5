"""L-BFGS over many independent problems at once, as one batch of tensors.

Every problem keeps its own direction, step size, memory and convergence; one evaluation serves all that are still moving,
and those that have arrived are left out of the next. (Nocedal & Wright, Numerical Optimization, 2nd ed., ch. 7.2; the
acceptance near the end of a search is Hager & Zhang's approximate Wolfe condition, SIAM J. Optim. 16, 2005.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(which (A,), x (A, P)) -> (value (A,), gradient (A, P))`` for the problems numbered `which`."""
Precondition = Callable[[Tensor, Tensor], Tensor]
"""``(which (A,), gradient (A, P)) -> (A, P)``: a guess at the inverse Hessian, symmetric and positive."""

MEMORY = 10
"""Pairs of steps and gradient changes that each problem remembers."""
_DECREASE, _CURVATURE, _NOISE, _HALVINGS = 1e-4, 0.9, 1e-9, 25


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


def minimise(
    function: Function, start: Tensor, precondition: Precondition, *, tolerance: float = 1e-9, max_iterations: int = 1000
) -> Minimum:
    """Minimises S smooth convex functions of P numbers.

    Args:
        function: values and gradients, in float64.
        start: (S, P) float64.
        precondition: what the first direction is made with, and what the memory corrects.
        tolerance: a problem has converged when a further step would lower its value by less, by the quadratic model.
        max_iterations: accepted steps of one problem.
    """
    count = len(start)
    which = torch.arange(count, device=start.device)
    end = Minimum(start.clone(), start.new_zeros(count), torch.zeros_like(which), torch.zeros_like(which, dtype=torch.bool))
    x, (value, gradient) = start, function(which, start)
    direction = -precondition(which, gradient)
    length, halvings, taken = torch.ones_like(value), torch.zeros_like(which), torch.zeros_like(which)
    steps = start.new_zeros(count, MEMORY, start.shape[1])
    changes, rho = torch.zeros_like(steps), start.new_zeros(count, MEMORY)
    while True:
        slope = _dot(gradient, direction)
        arrived = -slope / 2 <= tolerance
        over = arrived | (taken >= max_iterations) | (halvings > _HALVINGS)
        if over.any():
            at = which[over]
            end.x[at], end.value[at], end.iterations[at], end.converged[at] = x[over], value[over], taken[over], arrived[over]
            state = (which, x, value, gradient, direction, length, halvings, taken, steps, changes, rho, slope)
            which, x, value, gradient, direction, length, halvings, taken, steps, changes, rho, slope = (
                part[~over] for part in state
            )
        if not len(which):
            return end

        there = x + length[:, None] * direction
        new_value, new_gradient = function(which, there)
        new_slope = _dot(new_gradient, direction)
        enough = new_value <= value + _DECREASE * length * slope
        # Within rounding of the value only the slopes can be trusted.
        level = (new_value <= value + _NOISE * (1 + value.abs())) & (new_slope.abs() <= _CURVATURE * slope.abs())
        accepted = enough | level

        step, change = there - x, new_gradient - gradient
        product = _dot(step, change)
        curved = accepted & (product > 1e-12 * (_dot(step, step) * _dot(change, change)).sqrt())
        rows = torch.nonzero(curved)[:, 0]
        slot = taken[rows] % MEMORY
        steps[rows, slot], changes[rows, slot], rho[rows, slot] = step[rows], change[rows], 1 / product[rows]

        keep = accepted[:, None]
        x, gradient = torch.where(keep, there, x), torch.where(keep, new_gradient, gradient)
        shorter = _interpolated(length, value, new_value, slope)
        value = torch.where(accepted, new_value, value)
        length = torch.where(accepted, torch.ones_like(length), shorter)
        halvings = torch.where(accepted, torch.zeros_like(halvings), halvings + 1)
        taken = taken + accepted
        if accepted.any():
            turned = _direction(which, gradient, precondition, steps, changes, rho, taken)
            direction = torch.where(keep, turned, direction)


def _direction(
    which: Tensor, gradient: Tensor, precondition: Precondition, steps: Tensor, changes: Tensor, rho: Tensor, taken: Tensor
) -> Tensor:
    """The two-loop recursion for all problems; slots that hold no pair have rho = 0 and so change nothing."""
    rows = torch.arange(len(which), device=which.device)
    slots = [(taken - 1 - age) % MEMORY for age in range(MEMORY)]  # from the newest pair to the oldest
    left, shares = gradient, []
    for slot in slots:
        share = rho[rows, slot] * _dot(steps[rows, slot], left)
        left = left - share[:, None] * changes[rows, slot]
        shares.append(share)
    newest = changes[rows, slots[0]]
    bent = _dot(newest, precondition(which, newest)) * rho[rows, slots[0]]
    result = precondition(which, left) / torch.where(bent > 0, bent, torch.ones_like(bent))[:, None]
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
