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


class _Memory:
    """The last steps and changes of the gradient of A problems, and their products.

    Attributes:
        steps, changes: (A, M, P) pairs, each in a slot; zeros where there is none, or where the curvature is not positive.
        products: (A, M, M) of each step with each change.
        taken: (A,) number of pairs that were added.
        order: (A, M) slots from the oldest pair to the newest.
    """

    def __init__(self, start: Tensor) -> None:
        self.steps = start.new_zeros(len(start), MEMORY, start.shape[1])
        self.changes, self.products = torch.zeros_like(self.steps), start.new_zeros(len(start), MEMORY, MEMORY)
        self.taken = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        self.order = torch.arange(MEMORY, device=start.device).repeat(len(start), 1)

    def keep(self, which: Tensor) -> None:
        """Drop all problems but those of a mask (A,)."""
        parts = self.steps, self.changes, self.products, self.taken, self.order
        self.steps, self.changes, self.products, self.taken, self.order = (part[which] for part in parts)

    def add(self, accepted: Tensor, step: Tensor, change: Tensor) -> None:
        """Add the pair (A, P) of each accepted problem in place of its oldest."""
        product = _dot(step, change)
        curved = product > 1e-12 * (_dot(step, step) * _dot(change, change)).sqrt()
        rows = torch.nonzero(accepted)[:, 0]
        slot = self.taken[rows] % MEMORY
        used = curved[rows, None]
        new_step, new_change = torch.where(used, step[rows], 0.0), torch.where(used, change[rows], 0.0)
        self.steps[rows, slot], self.changes[rows, slot] = new_step, new_change
        whole = len(rows) == len(accepted)
        steps, changes = (self.steps, self.changes) if whole else (self.steps[rows], self.changes[rows])
        self.products[rows, slot] = (changes @ new_step[..., None])[..., 0]
        self.products[rows, :, slot] = (steps @ new_change[..., None])[..., 0]
        self.taken = self.taken + accepted
        self.order = (self.order + accepted[:, None]) % MEMORY

    def newest(self) -> Tensor:
        """Return the newest change (A, P) of each problem."""
        return self.changes[torch.arange(len(self.taken), device=self.taken.device), (self.taken - 1) % MEMORY]

    def newest_rho(self) -> Tensor:
        """Return (A,) one over the product of the newest pair, 0 where there is none."""
        slot = (self.taken - 1) % MEMORY
        product = self.products[torch.arange(len(slot), device=slot.device), slot, slot]
        return torch.where(product > 0, 1 / product, torch.zeros_like(product))

    def products_by_age(self) -> Tensor:
        """Return (A, M, M) products of each step, oldest first, with the same and newer changes; 1 for a pair of zeros."""
        ordered = self.products.gather(1, self.order[..., None].expand_as(self.products))
        ordered = ordered.gather(2, self.order[:, None].expand_as(ordered)).triu()
        diagonal = ordered.diagonal(dim1=1, dim2=2)
        diagonal += diagonal == 0
        return ordered

    def along(self, vectors: Tensor, x: Tensor) -> Tensor:
        """Return (A, M, 1) products of steps or changes, oldest first, with (A, P)."""
        return (vectors @ x[..., None]).gather(1, self.order[..., None])

    def combined(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """Return the sum (A, P) of steps or changes with weights (A, M, 1), oldest first."""
        by_slot = torch.zeros_like(weights).scatter_(1, self.order[..., None], weights)
        return (by_slot.mT @ vectors)[:, 0]


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
    memory = _Memory(start)
    for evaluation in count(1):
        slope = _dot(gradient, direction)
        converged = -slope / 2 <= tolerance
        done = converged | (taken >= max_iterations) | (halvings > _HALVINGS)
        if done.any():
            finished = which[done]
            end.x[finished], end.value[finished] = x[done], value[done]
            end.iterations[finished], end.converged[finished] = taken[done], converged[done]
            state = (which, x, value, gradient, direction, length, halvings, taken, slope)
            which, x, value, gradient, direction, length, halvings, taken, slope = (part[~done] for part in state)
            memory.keep(~done)
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

        memory.add(accepted, trial - x, new_gradient - gradient)

        keep = accepted[:, None]
        x, gradient = torch.where(keep, trial, x), torch.where(keep, new_gradient, gradient)
        shorter = _interpolated(length, value, new_value, slope)
        value = torch.where(accepted, new_value, value)
        length = torch.where(accepted, torch.ones_like(length), shorter)
        halvings = torch.where(accepted, torch.zeros_like(halvings), halvings + 1)
        taken = taken + accepted
        if accepted.any():
            new_direction = _direction(which, gradient, problems, memory)
            direction = torch.where(keep, new_direction, direction)
    return end


def _direction(which: Tensor, gradient: Tensor, problems: Problems, memory: _Memory) -> Tensor:
    """Return the search directions (A, P) of all problems.

    The two loops of the recursion over the pairs are two triangular systems in the products of steps and changes (Byrd,
    Nocedal and Schnabel, Math. Program. 63, 1994), so that the memory is read four times rather than copied pair by pair.
    """
    newest, older = memory.newest(), memory.products_by_age()
    alpha = torch.linalg.solve_triangular(older, memory.along(memory.steps, gradient), upper=True)
    q = gradient - memory.combined(memory.changes, alpha)
    curvature = _dot(newest, problems.precondition(which, newest)) * memory.newest_rho()
    result = (
        problems.precondition(which, q) / torch.where(curvature > 0, curvature, torch.ones_like(curvature))[:, None]
    )
    diagonal = older.diagonal(dim1=1, dim2=2)[..., None]
    right = diagonal * alpha - memory.along(memory.changes, result)
    correction = torch.linalg.solve_triangular(older.mT, right, upper=False)
    return -(result + memory.combined(memory.steps, correction))


def _interpolated(length: Tensor, value: Tensor, new_value: Tensor, slope: Tensor) -> Tensor:
    """Return the minimum of the parabola through both values and the first slope, within a tenth to a half of `length`."""
    parabola = -slope * length**2 / (2 * (new_value - value - slope * length))
    parabola = torch.where(parabola.isfinite(), parabola, 0.1 * length)
    return torch.minimum(torch.maximum(parabola, 0.1 * length), 0.5 * length)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return (A,) dot products of (A, P) rows."""
    return (a * b).sum(1)
