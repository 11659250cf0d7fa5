"""Several processes that share each batch train as a single one does; threads stand for them here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.shared_samples import SharedSamples, computed_by_shares, load_shared_samples
from aekit.data.source import ArraySource, Source
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import DataError, TrainingError
from aekit.io.processes import Ranks, agreeing, decide
from aekit.nn.gather import Share, batch_mean, batch_sum, first_samples, gather, own_rows, sharing, synchronized_norms
from aekit.objectives.base import Objective
from aekit.progress import SILENT
from aekit.registry.discovery import registry
from aekit.testing import MAKERS, checks_for
from aekit.testing.kit import ConformanceRun
from aekit.testing.ranks import run_ranks
from aekit.training import optimizer
from aekit.training.build import make_objective
from aekit.training.distributed import check_same_state
from aekit.training.phases import make_phases, train_phases
from aekit.training.recipe import make_recipe

CPU = torch.device("cpu")
OPTIONS = [
    ("variant", "sparse-kl", {"average_over": "running"}),
    ("variant", "sparse-kl", {"average_over": "all", "update_interval": 2}),
    ("variant", "vae", {"free_bits": 0.5}),
    ("variant", "dip", {"kind": "i"}),
    ("variant", "beta-tc", {"estimate": "stratified"}),
    ("variant", "contractive", {"method": "exact", "second_order_weight": 0.1}),
    ("variant", "contractive", {"probes": 5, "batch_fraction": 0.3}),
    ("variant", "denoising", {"noise": "gaussian", "levels": [0.1, 0.5]}),
    ("variant", "denoising", {"noise": "salt-and-pepper", "alpha": 2.0}),
    ("pretext", "rotation", {"copies": "one", "angles": 8}),
    ("pretext", "colorization", {"target": "regression"}),
    ("pretext", "inpainting", {"mask": "block"}),
    ("pretext", "temporal-order", {"question": "whether"}),
    ("pretext", "masked", {"normalize": True}),
]


def agree(kind: str, name: str, options: dict[str, Any]) -> str:
    """Return why the losses and the state of two processes are not those of a single one, or ""."""
    (one,) = [one for one in checks_for(kind) if one.name == "processes-agree"]
    return ConformanceRun(kind, name, options, [one], MAKERS).run(one).failure


@pytest.mark.parametrize(("kind", "name", "options"), OPTIONS)
def test_other_options_agree_too(kind: str, name: str, options: dict[str, Any]) -> None:
    assert not agree(kind, name, options)


def test_the_kit_holds_every_variant_and_task_to_a_single_process() -> None:
    """That every plugin passes it is a test of the kit."""
    for kind in ("variant", "pretext", "backbone"):
        assert registry().by_kind(kind)
        assert [one for one in checks_for(kind) if one.name == "processes-agree" and not one.optional]


def with_share(total: int, function: Callable[[Ranks, torch.Generator], Any], size: int = 2) -> list[Any]:
    """Return what a function gives on each rank, within its share of a batch."""

    def run(ranks: Ranks) -> Any:
        generator = torch.Generator()
        with sharing(Share(ranks, total), range(size + 1), generator):
            return function(ranks, generator)

    return run_ranks(run, size)


@pytest.mark.parametrize(("total", "size"), [(8, 2), (7, 2), (7, 3), (3, 3)])
def test_rows_are_gathered_in_order_with_their_gradients(total: int, size: int) -> None:
    rows, weights = torch.randn(total, 3), torch.randn(total, 3)

    def compute(ranks: Ranks, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        own = rows[ranks.rank :: size].clone().requires_grad_()
        everything = gather(own)
        (weights * everything.cumsum(0) ** 2).sum().backward()
        assert own.grad is not None
        return everything.detach(), own.grad, own_rows(everything.detach())

    whole = rows.clone().requires_grad_()
    (weights * whole.cumsum(0) ** 2).sum().backward()
    assert whole.grad is not None
    for rank, (everything, gradient, own) in enumerate(with_share(total, compute, size)):
        assert torch.equal(everything, rows)
        assert torch.equal(own, rows[rank::size])
        # Every rank computes the same loss; the objective is their weighted mean.
        assert torch.allclose(gradient, size * whole.grad[rank::size], atol=1e-5)


def test_several_rows_of_a_sample_stay_in_their_order() -> None:
    rows = torch.arange(10.0).view(2, 5)  # two rows for each of five samples
    for everything in with_share(5, lambda ranks, _: gather(rows[:, ranks.rank :: 2].flatten())):
        assert torch.equal(everything, rows.flatten())
    with pytest.raises(ValueError, match="expected a row for each of"):
        with_share(5, lambda ranks, _: gather(torch.zeros(7)))


def test_second_derivatives_pass_through_the_gather() -> None:
    rows = torch.randn(6, 2)

    def penalty(own: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(gather(own).pow(3).sum(), own, create_graph=True)
        return batch_mean(slope.square().sum(1))

    def compute(ranks: Ranks, generator: torch.Generator) -> Tensor:
        own = rows[ranks.rank :: 2].clone().requires_grad_()
        penalty(own / 2).backward()  # the sum of two equal losses: half of each
        assert own.grad is not None
        return own.grad

    one, two = with_share(6, compute)
    # Twice the derivative of the sum of (2 * 3 (x / 2)^2)^2 over six samples.
    expected = 3 * torch.stack([rows[0::2], rows[1::2]]) ** 3
    assert torch.allclose(torch.stack([one, two]), expected, rtol=1e-4)


def test_means_and_sums_are_those_of_the_whole_batch() -> None:
    x = torch.randn(7, 4)
    for mean, column, total in with_share(
        7, lambda r, _: (batch_mean(x[r.rank :: 2]), batch_mean(x[r.rank :: 2], 0), batch_sum(x[r.rank :: 2].sum()))
    ):
        assert torch.allclose(mean, x.mean()) and torch.allclose(column, x.mean(0)) and torch.allclose(total, x.sum())
    assert torch.equal(batch_mean(x), x.mean()) and gather(x) is x and own_rows(x) is x


def test_the_first_samples_of_a_batch_are_shared_too() -> None:
    def compute(ranks: Ranks, generator: torch.Generator) -> tuple[int, Tensor]:
        with first_samples(3) as count:
            return count, torch.rand(count, 4, generator=generator)

    (first, drawn), (second, others) = with_share(8, compute)
    assert (first, second) == (2, 1)
    assert torch.equal(torch.cat([drawn[:1], others, drawn[1:]]), torch.rand(3, 4, generator=seeded(0)))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "draw",
    [
        lambda n, g: torch.rand(n, 3, generator=g),
        lambda n, g: torch.randn((2, n, 5), generator=g),
        lambda n, g: torch.randint(7, (n,), generator=g),
        lambda n, g: torch.randint(2, 9, size=(3 * n, 2), generator=g),
        lambda n, g: torch.empty(n, 3).normal_(1.0, 2.0, generator=g),
    ],
)
def test_draws_for_samples_do_not_depend_on_the_number_of_processes(draw: Callable[..., Tensor]) -> None:
    for total in (16, 15):
        whole = draw(total, seeded(0))
        axis = next(axis for axis, length in enumerate(whole.shape) if length % total == 0)
        for rank, own in enumerate(with_share(total, lambda r, g: draw(len(range(r.rank, total, 2)), g))):  # noqa: B023
            expected = whole.unflatten(axis, (-1, total)).movedim(axis + 1, 0)[rank::2].movedim(0, axis + 1)
            assert torch.equal(own, expected.flatten(axis, axis + 1))


@pytest.mark.parametrize("size", [(), (3,), (5, 7), (11, 16)])
def test_no_draws_are_equal_on_two_ranks_by_accident(size: tuple[int, ...]) -> None:
    one, two = with_share(26, lambda ranks, generator: torch.rand(size, generator=generator))
    assert not torch.equal(one, two)
    one, two = with_share(26, lambda ranks, generator: torch.bernoulli(torch.full((13, 4), 0.5), generator=generator))
    assert not torch.equal(one, two)


def test_an_order_of_gathered_rows_is_the_same_everywhere() -> None:
    for order in with_share(9, lambda ranks, generator: torch.randperm(9, generator=generator)):
        assert torch.equal(order, torch.randperm(9, generator=seeded(0)))


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_batch_norms_see_the_whole_batch(options: dict[str, Any]) -> None:
    x, norms = torch.randn(7, 3, 5) * 4 + 100, [nn.BatchNorm1d(3, **options) for _ in range(3)]

    def compute(ranks: Ranks, generator: torch.Generator) -> Tensor:
        with synchronized_norms(norms[ranks.rank]):
            return norms[ranks.rank](x[ranks.rank :: 2])

    expected, shared = norms[2](x), with_share(7, compute)
    for rank in range(2):
        assert torch.allclose(shared[rank], expected[rank::2], atol=1e-4)
        assert "forward" not in vars(norms[rank])
        for name, tensor in norms[2].state_dict().items():
            assert torch.allclose(norms[rank].state_dict()[name], tensor, rtol=1e-5), name


class Counting(ArraySource):
    """An array that counts its reads, and some of whose samples cannot be used."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array, kind="vector")
        self.read_rows: list[int] = []

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.read_rows += indices.tolist()
        return super().read(indices)


def test_each_rank_reads_its_share_alone() -> None:
    array = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    array[[2, 5]] = np.nan
    alone = load_samples(Counting(array), np.arange(11), CPU)

    def load(ranks: Ranks) -> tuple[Samples, Tensor, Tensor, list[int], Source]:
        source = Counting(array)
        samples = load_shared_samples(source, np.arange(11), CPU, ranks)
        assert isinstance(samples, SharedSamples)
        order = torch.tensor([8, 0, 3, 3, 5])
        return samples, samples.batch(order), samples.shared_batch(order), source.read_rows, source

    for rank, (samples, whole, share, read, source) in enumerate(run_ranks(load)):
        assert read == list(range(rank, 11, 2))
        assert np.array_equal(samples.rows, alone.rows) and len(source.skipped) == 2
        assert torch.equal(whole, alone.batch(torch.tensor([8, 0, 3, 3, 5])))
        assert torch.equal(share, whole[rank::2])


@pytest.mark.parametrize("count", [11, 1])
def test_a_rank_all_of_whose_share_is_unusable_gets_the_samples_of_others(count: int) -> None:
    array = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    array[1::2] = np.nan
    alone = load_samples(Counting(array), np.arange(count), CPU)

    def load(ranks: Ranks) -> tuple[Samples, Tensor, Tensor, Tensor]:
        samples = load_shared_samples(Counting(array), np.arange(count), CPU, ranks)
        order = torch.arange(len(samples)).flip(0)
        doubled = computed_by_shares(samples, lambda part: torch.cat([raw * 2 for raw in part.chunks(4)]))
        return samples, samples.batch(order), samples.shared_batch(order), doubled

    for rank, (samples, whole, share, doubled) in enumerate(run_ranks(load)):
        assert np.array_equal(samples.rows, alone.rows) and len(samples.rows) == -(-count // 2)
        assert torch.equal(whole, alone.batch(torch.arange(len(alone)).flip(0)))
        assert torch.equal(share, whole[rank::2]) and torch.equal(doubled, whole.flip(0) * 2)

    def load_none(ranks: Ranks) -> Samples:
        return load_shared_samples(Counting(np.full_like(array, np.nan)), np.arange(count), CPU, ranks)

    with pytest.raises(DataError, match=f"none of {count} samples can be used"):
        run_ranks(load_none)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_samples_keep_their_dtype_on_the_way(dtype: str) -> None:
    array = (np.random.default_rng(0).random((9, 1, 4, 4)) * 200).astype(dtype)
    alone = load_samples(ArraySource(array), np.arange(9), CPU)

    def load(ranks: Ranks) -> Tensor:
        return load_shared_samples(ArraySource(array), np.arange(9), CPU, ranks).batch(torch.arange(9))

    for batch in run_ranks(load):
        expected = alone.batch(torch.arange(9))
        assert batch.dtype == expected.dtype and np.array_equal(batch.numpy(), expected.numpy())


def test_an_error_of_one_rank_is_raised_by_all() -> None:
    def load(ranks: Ranks) -> str:
        try:
            with agreeing(ranks):
                if ranks.rank == 1:
                    raise DataError("b.png: is cut off")
        except DataError as error:
            return str(error)
        return ""

    assert run_ranks(load) == ["b.png: is cut off"] * 2
    assert run_ranks(lambda ranks: decide(ranks, lambda: ranks.rank), 3) == [0, 0, 0]


RECIPES: dict[str, dict[str, Any]] = {
    "frozen": {"encoder.frozen": 1},
    "frozen, corrupted": {"encoder.frozen": 1, "objective.variants": ["denoising"]},
    "layers": {"layerwise.epochs": 2, "objective.variants": ["denoising"]},
    "lbfgs": {"train.optimizer": "lbfgs", "train.batch_size": 13},
    "sum": {"objective.variants": ["plain"], "objective.pretexts": ["simclr"]},
    "low-rank updates": {"train.low_rank": 2, "objective.variants": ["plain"], "objective.pretexts": ["vicreg"]},
}


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_recipes_give_the_weights_of_a_single_process(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "LBFGS_ITERATIONS", 2)  # each multiplies the rounding errors
    array = np.random.default_rng(0).random((40, 1, 6, 6)).astype(np.float32)
    values = {"encoder.backbone": "mlp", "encoder.dim": 4, "train.epochs": 2, "train.optimizer": "sgd"}
    if "train.low_rank" in changes:  # they adapt a trained backbone
        trained = aekit.fit(array, backbone="mlp", dim=4, epochs=1)
        values["encoder.weights"] = str(trained.save(tmp_path / "encoder"))
    settings = values | {"train.precision": "fp32", "train.lr": 1e-3, "train.batch_size": 16} | changes
    recipe = make_recipe({"data": {"source": "array"}}, settings)
    source = ArraySource(array)
    preprocess = fit_preprocess(load_samples(source, np.arange(40), CPU))[0]
    objectives = [make_objective(recipe, source.spec, preprocess) for _ in range(3)]

    def fit(samples: Samples, objective: Objective, folder: Path | None) -> float | None:
        phases = make_phases(recipe, objective, samples, None, None)
        return train_phases(phases, folder, resume=False, progress=SILENT).loss

    def share(ranks: Ranks) -> float | None:
        samples = load_shared_samples(ArraySource(array), np.arange(40), CPU, ranks)
        (tmp_path / str(ranks.rank)).mkdir()
        return fit(samples, objectives[ranks.rank], tmp_path / str(ranks.rank))

    loss = fit(load_samples(source, np.arange(40), CPU), objectives[2], None)
    shared, _ = run_ranks(share)
    assert shared == pytest.approx(loss, rel=1e-5)
    for name, tensor in objectives[2].state_dict().items():
        for objective in objectives[:2]:
            assert torch.allclose(objective.state_dict()[name], tensor, rtol=1e-5, atol=1e-6), name
    assert (tmp_path / "0" / "log.jsonl").is_file() and not list((tmp_path / "1").iterdir())


def test_a_state_that_differs_between_processes_is_refused() -> None:
    array = np.random.default_rng(0).random((8, 1, 4, 4)).astype(np.float32)
    recipe = make_recipe({"data": {"source": "array"}, "encoder": {"backbone": "mlp", "dim": 2}})
    preprocess = fit_preprocess(load_samples(ArraySource(array), np.arange(8), CPU))[0]
    objectives = [make_objective(recipe, ArraySource(array).spec, preprocess) for _ in range(2)]

    def check(ranks: Ranks) -> None:
        check_same_state(objectives[ranks.rank], ranks)

    run_ranks(check)
    with torch.no_grad():
        next(objectives[1].parameters()).view(-1)[0] += 1
    with pytest.raises(TrainingError, match="differs between the processes"):
        run_ranks(check)
