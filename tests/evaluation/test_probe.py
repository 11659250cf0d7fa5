"""The batched logistic regression against scikit-learn's, and the minimizer under it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_classification
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from aekit.errors import DataError
from aekit.evaluation.linear import _design_matrix as design, _regressions as regressions, probe
from aekit.evaluation.linear._lbfgs import MEMORY, _direction, _Memory, minimize
from aekit.evaluation.linear.draws import fit_draws
from aekit.evaluation.linear.probe import LogisticPath, fit_logistic
from aekit.nn.pca import leading_directions

Data = tuple[np.ndarray, np.ndarray]
CPU = torch.device("cpu")


def ill_conditioned() -> Data:
    """Columns that are nearly copies of one another, on scales from 1e-3 to 1e3."""
    x, y = make_classification(400, 12, n_informative=6, n_redundant=4, n_classes=3, flip_y=0.1, random_state=0)
    generator = np.random.default_rng(0)
    x = np.hstack([x, x[:, :6] + 1e-3 * generator.standard_normal((len(x), 6))])
    return x * np.logspace(-3, 3, x.shape[1]) + 100, y


def separable() -> Data:
    """Three clouds far apart: without the penalty the coefficients would grow forever."""
    y = np.arange(150) % 3
    return np.random.default_rng(1).standard_normal((150, 5)) + 20 * np.eye(5)[y], y


DATA = {
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "two classes": lambda: load_breast_cancer(return_X_y=True),
    "ill-conditioned": ill_conditioned,
    "separable": separable,
}


def reference(
    path: LogisticPath, x: np.ndarray, y: np.ndarray, strength: float
) -> tuple[LogisticRegression, np.ndarray]:
    standardized = (x - path.mean) * path.scale
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10, max_iter=500)
    return model.fit(standardized, y), standardized


@pytest.mark.parametrize("name", DATA)
def test_probabilities_agree_with_scikit_learn_to_the_third_decimal(name: str) -> None:
    x, y = DATA[name]()
    strengths = [1e-4, 1e-2, 1.0, 1e2]
    path = fit_logistic(x, y, strengths, device=CPU, max_iterations=1000)
    assert path.converged.all()
    for number, strength in enumerate(strengths):
        model, standardized = reference(path, x, y, strength)
        assert np.abs(path.probabilities(x, number) - model.predict_proba(standardized)).max() < 5e-4
    assert np.array_equal(path.predict(x)[2], path.classes[path.probabilities(x, 2).argmax(axis=1)])


@pytest.mark.parametrize("name", DATA)
def test_coefficients_agree_where_they_are_determined(name: str) -> None:
    x, y = DATA[name]()
    path = fit_logistic(x, y, [0.1, 1.0], device=CPU, max_iterations=2000, tolerance=1e-13)
    for number, strength in enumerate([0.1, 1.0]):
        model, _ = reference(path, x, y, strength)
        coef, intercept = path.coef[number], path.intercept[number]
        if len(path.classes) == 2:  # scikit-learn keeps the difference of the two rows
            coef, intercept = coef[[1]] - coef[[0]], intercept[[1]] - intercept[[0]]
        np.testing.assert_allclose(coef, model.coef_, atol=5e-4)
        # Among several classes only differences of intercepts are determined.
        common = 0 if len(path.classes) == 2 else model.intercept_.mean()
        np.testing.assert_allclose(intercept, model.intercept_ - common, atol=5e-4)


def test_float32_blocks_and_groups_give_what_float64_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = load_digits(return_X_y=True)
    strengths = [1e-3, 1e-1, 1e1]
    exact = fit_logistic(x, y, strengths, device=CPU)
    monkeypatch.setattr(design, "MAX_FLOAT64_SIZE", 0)
    monkeypatch.setattr(regressions, "_LOGITS", 0)  # blocks of 256
    monkeypatch.setattr(probe, "_MEMORY", 0)  # one strength at a time
    rough = fit_logistic(x.astype(np.float32), y, strengths, device=CPU)
    assert rough.coef.dtype == np.float32
    assert rough.converged.all()
    for number in range(3):
        assert np.abs(rough.probabilities(x, number) - exact.probabilities(x, number)).max() < 5e-4


def test_features_too_wide_to_factor_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = load_wine(return_X_y=True)
    exact = fit_logistic(x, y, [1.0], device=CPU)
    monkeypatch.setattr(regressions, "_MAX_FACTORED", 4)
    assert np.abs(fit_logistic(x, y, [1.0], device=CPU).probabilities(x) - exact.probabilities(x)).max() < 5e-4


def test_each_strength_is_fitted_as_if_it_were_alone() -> None:
    x, y = load_iris(return_X_y=True)
    together = fit_logistic(x, y, [1e-3, 1.0, 1e3], device=CPU)
    for number, strength in enumerate([1e-3, 1.0, 1e3]):
        alone = fit_logistic(x, y, [strength], device=CPU)
        assert np.abs(alone.probabilities(x) - together.probabilities(x, number)).max() < 5e-4
    assert together.iterations[0] < together.iterations[2]  # the easy one stopped early


def test_shuffled_labels_leave_it_at_chance() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((2000, 16)), generator.integers(0, 4, 2000)
    path = fit_logistic(x[:1000], y[:1000], [1e-3, 1.0], device=CPU)
    assert np.abs((path.predict(x[1000:]) == y[1000:]).mean(axis=1) - 0.25).max() < 0.05


def test_constant_columns_and_large_offsets_do_no_harm() -> None:
    x, y = load_iris(return_X_y=True)
    odd = np.hstack([x, np.full((len(x), 1), 7.0), x[:, :1] + 1e6])
    path = fit_logistic(odd, y, [1.0], device=CPU)
    assert path.scale[4] == 0 and (path.coef[:, :, 4] == 0).all()
    assert (path.predict(odd)[0] == y).mean() > 0.95
    np.testing.assert_allclose(path.intercept.sum(axis=1), 0, atol=1e-9)


def test_collapsed_features_give_the_commonest_class() -> None:
    y = np.array(["b"] * 30 + ["a"] * 10)
    path = fit_logistic(np.ones((40, 3)), y, [1.0], device=CPU)
    assert (path.predict(np.ones((2, 3))) == "b").all()
    np.testing.assert_allclose(path.probabilities(np.ones((1, 3))), [[0.25, 0.75]], atol=1e-3)


def test_one_class_and_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match=r"4 training samples are all \['cat'\]: expected two classes"):
        fit_logistic(np.eye(4), np.array(["cat"] * 4), [1.0])
    with pytest.raises(DataError, match="not finite"):
        fit_logistic(np.array([[1.0], [np.nan]]), np.array([0, 1]), [1.0])


class Quadratics:
    """``x' diag(scales) x / 2 - sum(x)`` for several scales, without any guess at the curvature."""

    def __init__(self, scales: Tensor) -> None:
        self.scales, self.asked = scales, torch.zeros(len(scales), dtype=torch.int64)

    def evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        self.asked[which] += 1
        return (self.scales[which] * x**2 / 2 - x).sum(1), self.scales[which] * x - 1

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        return gradient

    def update_preconditioner(self, which: Tensor, x: Tensor) -> None:
        pass


def test_minimizer_solves_independent_problems_and_leaves_arrived_ones_alone() -> None:
    scales = torch.stack([torch.ones(6), torch.logspace(-1, 1, 6), torch.logspace(-2, 2, 6)]).double()
    problems = Quadratics(scales)
    end = minimize(problems, torch.zeros(3, 6, dtype=torch.float64), tolerance=1e-14, max_iterations=500)
    assert end.converged.all()
    torch.testing.assert_close(end.x, 1 / scales, rtol=1e-4, atol=1e-6)
    assert problems.asked[0] == 2 < problems.asked[1] < problems.asked[2]


class Preconditioned(Quadratics):
    """The same, with the curvature known."""

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        return gradient / self.scales[which]


def two_loops(pairs: list[tuple[Tensor, Tensor]], gradient: Tensor, scales: Tensor) -> Tensor:
    """Return the direction (P,) of the recursion as in Nocedal and Wright, algorithm 7.4, pair by pair."""
    q, alphas, curved = gradient, [], [(s, y) for s, y in pairs if s @ y > 0]
    for step, change in reversed(curved):
        alphas.append((step @ q) / (step @ change))
        q = q - alphas[-1] * change
    newest = pairs[-1] if pairs[-1][0] @ pairs[-1][1] > 0 else None
    factor = 1.0 if newest is None else float(newest[1] @ (newest[1] / scales) / (newest[0] @ newest[1]))
    result = q / scales / factor
    for (step, change), alpha in zip(curved, reversed(alphas)):
        result = result + (alpha - (change @ result) / (step @ change)) * step
    return -result


def test_directions_are_those_of_the_two_loops_of_each_problem() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.rand(3, 6, generator=generator, dtype=torch.float64) + 0.5
    memory = _Memory(torch.zeros(3, 6, dtype=torch.float64))
    pairs: list[list[tuple[Tensor, Tensor]]] = [[], [], []]
    for number in range(2 * MEMORY + 3):
        step = torch.randn(3, 6, generator=generator, dtype=torch.float64)
        change = step * (torch.rand(3, 6, generator=generator, dtype=torch.float64) + 0.2)
        if number % 4 == 3:
            change[1] = -change[1]  # no curvature: the pair counts for nothing
        accepted = torch.tensor([True, True, number % 3 == 0])
        memory.add(accepted, step, change)
        for problem in torch.nonzero(accepted)[:, 0].tolist():
            pairs[problem] = [*pairs[problem], (step[problem], change[problem])][-MEMORY:]
        gradient = torch.randn(3, 6, generator=generator, dtype=torch.float64)
        expected = [two_loops(pairs[n], gradient[n], scales[n]) for n in range(3)]
        direction = _direction(torch.arange(3), gradient, Preconditioned(scales), memory)
        torch.testing.assert_close(direction, torch.stack(expected), rtol=1e-8, atol=1e-10)
    kept = torch.tensor([True, False, True])
    memory.keep(kept)
    direction = _direction(torch.tensor([0, 2]), gradient[kept], Preconditioned(scales), memory)
    torch.testing.assert_close(direction, torch.stack(expected)[kept], rtol=1e-8, atol=1e-10)


def test_minimizer_says_where_iterations_ran_out() -> None:
    scales = torch.stack([torch.ones(6), torch.logspace(-3, 3, 6)]).double()
    end = minimize(Quadratics(scales), torch.zeros(2, 6, dtype=torch.float64), tolerance=1e-14, max_iterations=3)
    assert end.converged.tolist() == [True, False]
    assert end.iterations[1] == 3


def wide_problem(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw (N, D) features with a falling spectrum and (N,) classes that depend on them."""
    rng = np.random.default_rng(3)
    scales = 1 / np.arange(1, min(width, 60) + 1)
    x = (rng.normal(size=(count, len(scales))) * scales) @ rng.normal(size=(len(scales), width))
    x += 0.05 * rng.normal(size=(count, width))
    return x.astype(np.float32), (x[:, :3] @ rng.normal(size=(3, 4))).argmax(1)


def test_a_fit_in_the_span_of_few_samples_is_that_of_scikit_learn() -> None:
    x, y = wide_problem(80, 300)
    features = design.design_of(x, CPU)[0][:, :-1]
    span = design.span_of(features)
    assert span is not None and span.coordinates.shape[1] <= 80
    axes = span.coefficients(torch.eye(span.coordinates.shape[1]), features)
    torch.testing.assert_close(axes @ axes.T, torch.eye(len(axes)).to(axes), rtol=0, atol=1e-6)
    torch.testing.assert_close(span.coordinates @ axes, features, rtol=0, atol=1e-5)
    products = span.coordinates.double().T @ span.coordinates.double() / len(x)
    torch.testing.assert_close(products, torch.diag(span.variances), rtol=0, atol=1e-6)
    path = fit_logistic(x, y, [0.01, 1.0], device=CPU)
    for number, strength in enumerate(path.strengths):
        reference = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(features.numpy(), y)
        assert np.abs(path.probabilities(x, number) - reference.predict_proba(features.numpy())).max() < 1e-3


@pytest.mark.parametrize("leading", [5, 20])
def test_leading_directions_that_guide_the_search_do_not_change_its_end(
    leading: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = wide_problem(400, 60)
    exact = fit_logistic(x, y, [0.01, 1.0], device=CPU)
    monkeypatch.setattr(regressions, "_MAX_FACTORED", 10)
    monkeypatch.setattr(regressions, "_LEADING", leading)
    variances, directions = regressions.principal_directions(design.design_of(x, CPU)[0])
    assert directions is not None and directions.shape == (60, leading) and len(variances) == leading + 1
    guided = fit_logistic(x, y, [0.01, 1.0], device=CPU)
    assert guided.converged.all()
    for number in range(2):
        assert np.abs(guided.probabilities(x, number) - exact.probabilities(x, number)).max() < 1e-3


def test_coefficients_along_few_directions_are_those_of_the_projected_features() -> None:
    x, y = wide_problem(400, 60)
    features = design.design_of(x, CPU)[0][:, :-1]
    path = fit_logistic(x, y, [0.1], max_directions=12, device=CPU)
    leading = leading_directions(features, 12)
    assert leading is not None
    variances, axes = leading
    exact = np.linalg.svd(features.numpy(), full_matrices=False)[1][:12] ** 2 / len(x)
    assert 0.95 * exact.sum() < float(variances.sum()) <= exact.sum() * (1 + 1e-6)
    projected = (features @ axes).numpy()
    reference = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(projected, y)
    assert np.abs(path.probabilities(x) - reference.predict_proba(projected)).max() < 1e-3
    assert np.linalg.matrix_rank(path.coef[0], tol=1e-4) <= 4
    everything = fit_logistic(x, y, [0.1], max_directions=60, device=CPU)
    assert np.abs(everything.probabilities(x) - fit_logistic(x, y, [0.1], device=CPU).probabilities(x)).max() < 1e-6


def test_a_fit_that_starts_from_models_of_similar_samples_ends_at_the_same_minimum_in_fewer_steps() -> None:
    x, y = load_digits(return_X_y=True)
    fitted, rest = fit_logistic(x[:1200], y[:1200], [1e-4, 1e-2, 1.0], tolerance=probe.SEARCH_TOLERANCE), x[1200:]
    cold, warm = (fit_logistic(x, y, [1e-2], start=start) for start in (None, fitted))
    np.testing.assert_allclose(warm.probabilities(rest), cold.probabilities(rest), atol=1e-3)
    assert warm.converged[0] and 2 * warm.iterations[0] < cold.iterations[0]


def test_a_fit_of_separable_classes_does_not_start_from_large_coefficients() -> None:
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat(np.arange(6), 34))[:200]
    factors = generator.normal(size=(200, 250))
    factors[np.arange(200), labels] += 2
    x = (factors @ generator.normal(size=(250, 2000))).astype(np.float32)
    searched = fit_logistic(x[:160], labels[:160], [1.0, 1e3], tolerance=probe.SEARCH_TOLERANCE)
    cold, warm = (fit_logistic(x, labels, [1e3], start=start) for start in (None, searched))
    assert warm.converged[0] and warm.iterations[0] == cold.iterations[0] < 100


def test_a_start_from_which_a_fit_does_not_converge_is_left_for_the_origin() -> None:
    x, y = load_digits(return_X_y=True)
    far = fit_logistic(x[:300], y[:300], [1e3], tolerance=probe.SEARCH_TOLERANCE)
    far = replace(far, coef=1e3 * far.coef)
    cold, warm = (fit_logistic(x, y, [1e-2], max_iterations=60, start=start) for start in (None, far))
    assert cold.converged[0] and warm.converged[0] and warm.iterations[0] == cold.iterations[0]


def test_the_preconditioner_of_a_start_near_the_minimum_is_the_hessian_along_the_leading_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1.0, 3.0, 0.5, 2.0] * 3, dtype=torch.float64)
    data = torch.randn(300, 12, generator=generator, dtype=torch.float64) * scales
    x = torch.cat([data, torch.ones(300, 1)], 1)
    y, penalty = torch.randint(0, 40, (300,), generator=generator), torch.tensor([0.01], dtype=torch.float64)
    problems = regressions.Regressions(
        x,
        y,
        40,
        penalty,
        scales**2,
        None,
        loss=regressions.softmax_loss,
        coupled=True,
        seen=None,
        counts=torch.tensor([300]),
    )
    assert problems.leading is not None
    assert sorted(problems.leading.tolist()) == [0, 1, 3, 4, 5, 7, 8, 9, 11, 12]  # 9 of 12, and the intercept: 40 x 10
    weights = torch.randn(40, 13, generator=generator, dtype=torch.float64) / 10

    def loss(along: Tensor) -> Tensor:
        moved = weights.clone()
        moved[:, problems.leading] = along.view(40, -1)
        return torch.nn.functional.cross_entropy(x @ moved.T, y) + penalty[0] / 2 * moved[:, :-1].square().sum()

    exact = torch.autograd.functional.hessian(loss, weights[:, problems.leading].flatten())
    approximate = problems._leading_hessian((x @ weights.T).softmax(1).T, penalty[0])
    assert float((approximate - exact).abs().max()) < 2e-3 * float(exact.abs().max())
    assert float(torch.linalg.eigvalsh(approximate).min()) > 0


@pytest.mark.parametrize("classes", [2, 10])
def test_models_of_several_draws_are_those_of_each(classes: int) -> None:
    x, y = load_digits(n_class=classes, return_X_y=True)
    generator = np.random.default_rng(0)
    rows = np.stack(
        [np.concatenate([generator.permutation(np.flatnonzero(y == c))[:8] for c in range(classes)]) for _ in "ab"]
    )
    draws, labels = ((x - x.mean(0)) / 4).astype(np.float32)[rows], y[rows]
    fold_of = np.stack([generator.permutation(len(rows[0])) % 3 for _ in "ab"])
    strengths, tolerance = [1e-2, 1.0], 1e-6
    together = fit_draws(draws, labels, strengths, tolerance=tolerance, held_out=fold_of)
    for draw in range(2):
        settings = {"tolerance": tolerance, "standardize": False}
        path = fit_logistic(draws[draw], labels[draw], strengths, held_out=fold_of[draw], **settings)  # type: ignore[arg-type]
        for number, weights in enumerate(together[draw].reshape(6, classes, -1)):
            odds = np.exp(draws[draw] @ weights[:, :-1].T + weights[:, -1])
            np.testing.assert_allclose(
                odds / odds.sum(1, keepdims=True), path.probabilities(draws[draw], number), atol=0.01
            )
    alone = fit_draws(draws, labels, np.array([[1e-2], [1.0]]), tolerance=1e-9)
    model = LogisticRegression(C=1.0, max_iter=10_000, tol=1e-8).fit(draws[1], labels[1])
    coef = np.vstack([-model.coef_, model.coef_]) / 2 if classes == 2 else model.coef_
    np.testing.assert_allclose(alone[1, 0, 0, :, :-1], coef, atol=0.01)
