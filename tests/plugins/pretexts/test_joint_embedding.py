"""Joint-embedding tasks: losses against loops over pairs and entries, teachers, stopped gradients, resuming."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.pretexts.barlow_twins import cross_correlations
from aekit_plugins.pretexts.byol import BYOL, distance
from aekit_plugins.pretexts.dino import DINO, cross_entropy, entropy
from aekit_plugins.pretexts.simclr import nt_xent
from aekit_plugins.pretexts.simsiam import SimSiam, mean_cosine_similarity
from aekit_plugins.pretexts.vicreg import covariances, variance_hinge
from commands import Command
from interrupting import check_restored
from torch import Tensor, nn

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.base import Batch, Objective, PretextObjective
from aekit.objectives.joint_embedding import (
    JointEmbeddingTask,
    MomentumTeacher,
    cosine_ramp,
    cosine_similarities,
    mlp,
    nearest_is_pair,
    project_together,
    projection_std,
)
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

NAMES = ["simclr", "byol", "simsiam", "barlow-twins", "vicreg", "dino"]
SMALL: dict[str, Any] = {"hidden": 12, "width": 6}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def held(count: int = 64) -> Samples:
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    return load_samples(ArraySource(images), np.arange(count), torch.device("cpu"))


def objective(name: str, samples: Samples | None = None, seed: int = 0, **options: Any) -> Objective:
    samples = samples or held()
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "conv", "dim": 5, "conv": {"channels": [4, 6]}},
        "objective": {"pretexts": [name], name: SMALL | options},
        "train": {"seed": seed},
    }
    made = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    made.start(samples)
    return made.train()


def task(name: str, **options: Any) -> Any:
    made = objective(name, **options)
    assert isinstance(made, PretextObjective)
    return made.pretext


def fixed_views(pretext: JointEmbeddingTask, count: int = 7) -> tuple[Tensor, Tensor]:
    """Makes the task see these two views, whatever it is given."""
    first, second = torch.rand(2, count, 1, 8, 8, generator=generator(3))
    pretext.two_views = lambda x, generator: (first, second)  # type: ignore[method-assign]
    return first, second


def projected(seed: int = 0, count: int = 6, width: int = 4) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, count, width, generator=generator(seed))
    return first, second


def unit(row: Tensor) -> Tensor:
    return row / row.norm()


def test_nt_xent_is_a_sum_over_pairs() -> None:
    """Equation 1 of the paper: l(i, j) over all 2 N views, k running over all but i."""
    first, second = projected()
    rows = [unit(row) for row in [*first, *second]]
    total, count = 0.0, len(first)
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = sum(math.exp(float(rows[i] @ rows[k]) / 0.3) for k in range(2 * count) if k != i)
        total -= math.log(math.exp(float(rows[i] @ rows[partner]) / 0.3) / others)
    assert nt_xent(first, second, 0.3).item() == pytest.approx(total / (2 * count), rel=1e-5)
    assert nt_xent(first, first, 1e-2).item() < 1e-3, "a view that is found is no loss"


def test_barlow_twins_counts_the_diagonal_and_the_rest() -> None:
    pretext = task("barlow-twins", redundancy=0.3)
    a, b = (z.detach().double() for z in project_together(pretext.project, *fixed_views(pretext)))
    count, width = a.shape
    on = off = 0.0
    for i in range(width):
        for j in range(width):
            x, y = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
            # As the batch norm does that the paper's code divides by.
            c = float(
                (x * y).sum() / ((x.square().sum() / count + 1e-5) * (y.square().sum() / count + 1e-5)).sqrt() / count
            )
            on, off = (on + (1 - c) ** 2, off) if i == j else (on, off + c**2)
    logged = pretext.loss(torch.zeros(7, 1, 8, 8), generator())
    assert logged["loss"].item() == pytest.approx(on + 0.3 * off, rel=1e-4)
    assert logged["redundancy"].item() == pytest.approx((off / (width * (width - 1))) ** 0.5, rel=1e-3)


def test_cross_correlations_are_those_of_numpy() -> None:
    first, second = projected(count=50)
    expected = np.corrcoef(first.T, second.T)[:4, 4:]
    assert cross_correlations(first, second).numpy() == pytest.approx(expected, abs=1e-4)


def test_vicreg_has_three_terms() -> None:
    pretext = task("vicreg", invariance=2.0, variance=3.0, covariance=0.5)
    a, b = (z.detach().double() for z in project_together(pretext.project, *fixed_views(pretext)))
    count, width = a.shape
    invariance = sum(float((x - y).square().sum()) for x, y in zip(a, b)) / (count * width)
    variance = covariance = 0.0
    for z in (a, b):
        for i in range(width):
            deviation = math.sqrt(float(z[:, i].var()) + 1e-4)
            variance += max(0.0, 1 - deviation) / width / 2  # the paper's code halves the sum of both views
            for j in range(width):
                if i != j:
                    c = float(((z[:, i] - z[:, i].mean()) * (z[:, j] - z[:, j].mean())).sum()) / (count - 1)
                    covariance += c**2 / width
    logged = pretext.loss(torch.zeros(7, 1, 8, 8), generator())
    assert logged["invariance"].item() == pytest.approx(invariance, rel=1e-4)
    assert logged["variance"].item() == pytest.approx(variance, rel=1e-4)
    assert logged["covariance"].item() == pytest.approx(covariance, rel=1e-4)
    assert logged["loss"].item() == pytest.approx(2 * invariance + 3 * variance + 0.5 * covariance, rel=1e-4)


def test_vicreg_asks_nothing_of_projections_that_vary_and_are_uncorrelated() -> None:
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert variance_hinge(signs, signs).item() == 0 and covariances(signs, signs).item() == 0
    assert variance_hinge(0 * signs, signs).item() == pytest.approx((1 - 0.01) / 2)


def test_byol_compares_each_prediction_with_the_teachers_other_view() -> None:
    """|q / |q| - z' / |z'||^2, in both directions (equation 2 and below)."""
    pretext = task("byol")
    with torch.no_grad():
        for weight in pretext.teacher.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator(1)))
    views = fixed_views(pretext)
    with torch.no_grad():
        told = project_together(pretext.predictor, *project_together(pretext.project, *views))
    targets = project_together(pretext.teacher, *views)
    expected = sum(
        float((unit(told[one][row]) - unit(targets[1 - one][row])).square().sum()) / 7
        for one in (0, 1)
        for row in range(7)
    )
    assert pretext.loss(torch.zeros(7, 1, 8, 8), generator())["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_simsiam_is_minus_the_mean_cosine_of_both_directions() -> None:
    pretext = task("simsiam")
    with torch.no_grad():
        targets = project_together(pretext.project, *fixed_views(pretext))
        told = project_together(pretext.predictor, *targets)
    expected = -sum(
        float(unit(told[one][row]) @ unit(targets[1 - one][row])) / 14 for one in (0, 1) for row in range(7)
    )
    assert pretext.loss(torch.zeros(7, 1, 8, 8), generator())["loss"].item() == pytest.approx(expected, rel=1e-4)


def dino_loss(pretext: DINO, x: Tensor, seed: int) -> tuple[float, Tensor]:
    """Algorithm 1 of the paper with further parts, written out; and the mean of the teacher's outputs."""
    drawn = generator(seed)
    large = [pretext.augmentation(x, drawn), pretext.augmentation(x, drawn)]
    small = [pretext.local_augmentation(x, drawn) for _ in range(pretext.local_crops)]
    with torch.no_grad():
        told = project_together(pretext.project, *large, *small)
        outputs = project_together(pretext.teacher, *large)
    total = pairs = 0.0
    for i, output in enumerate(outputs):
        target = torch.softmax((output - pretext.center) / pretext.teacher_temperature, 1)
        for j, student in enumerate(told):
            if i != j:
                logarithm = torch.log(torch.softmax(student / pretext.student_temperature, 1))
                total += -float((target * logarithm).sum()) / len(x)
                pairs += 1
    return total / pairs, torch.cat(outputs).mean(0)


def test_dino_says_the_teachers_assignment_of_large_parts_and_moves_the_center() -> None:
    pretext = task("dino", prototypes=9, local_crops=3, center_momentum=0.7)
    x = torch.rand(7, 1, 8, 8)
    before = pretext.center.clone()
    expected, mean = dino_loss(pretext, x, seed=4)
    assert pretext.loss(x, generator(4))["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert torch.equal(pretext.center, before), "the center moves after the step"
    pretext.after_step()
    assert torch.allclose(pretext.center, 0.7 * before + 0.3 * mean, atol=1e-6)
    assert pretext.local_augmentation.crop_scale == (0.2, 0.5) and pretext.augmentation.crop_scale == (0.5, 1.0)


def test_dinos_center_begins_at_the_mean_output() -> None:
    samples = held()
    made = objective("dino", samples, prototypes=9)
    assert isinstance(made, PretextObjective) and isinstance(made.pretext, DINO)
    outputs = made.pretext.teacher(made.encoder.preprocess(samples.batch(torch.arange(64))))
    assert torch.allclose(made.pretext.center, outputs.mean(0), atol=1e-5)
    assert made.pretext.center.abs().max() > 0.01


def test_dinos_prototypes_are_directions_and_its_entropies_those_of_shares() -> None:
    head = task("dino", prototypes=9).projector
    x = torch.randn(7, 5)
    assert head(x).abs().max() <= 1 + 1e-6
    assert entropy(torch.tensor([[0.25] * 4, [1.0, 0.0, 0.0, 0.0]])).tolist() == pytest.approx([math.log(4), 0.0])
    with torch.autocast("cpu", torch.bfloat16):
        assert (cosine_similarities(x, x).diagonal() - 1).abs().max() < 1e-6, "in float32"
    with pytest.raises(
        RecipeError,
        match=r"^objective\.dino\.local_crop_scale = 0\.6: expected at most objective\.dino\.global_crop_scale = 0\.5$",
    ):
        task("dino", local_crop_scale=0.6)
    certain = torch.eye(3)
    assert cross_entropy([certain], [certain, 100 * certain], 1.0).item() == pytest.approx(0, abs=1e-6)


def test_dinos_cross_entropy_is_the_papers_loop_over_crops() -> None:
    targets = [torch.rand(4, 6).softmax(1) for _ in range(2)]
    logits = [torch.randn(4, 6) for _ in range(5)]
    losses = [
        -sum(target[row, k] * (output[row] / 0.1).log_softmax(0)[k] for row in range(4) for k in range(6)) / 4
        for t, target in enumerate(targets)
        for s, output in enumerate(logits)
        if s != t  # the same crop
    ]
    assert len(losses) == 8
    assert cross_entropy(targets, logits, 0.1).item() == pytest.approx(float(sum(losses)) / 8, rel=1e-5)


@pytest.mark.parametrize(
    ("momentum", "progress", "expected"),
    [(0.99, 0.0, 0.99), (0.99, 0.5, 0.995), (0.99, 1.0, 1.0), (0.996, 0.25, 1 - 0.004 * (math.sqrt(0.5) + 1) / 2)],
)
def test_the_momentum_rises_to_one_as_half_a_cosine(momentum: float, progress: float, expected: float) -> None:
    assert cosine_ramp(momentum, progress) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["byol", "dino"])
def test_the_teacher_follows_after_the_step(name: str) -> None:
    """With the momentum of that step, from weights that the optimizer has just set."""
    samples, settings = held(), Settings(epochs=1, batch_size=16, precision="fp32", lr=0.05)
    made = objective(name, samples, momentum=0.8)
    assert isinstance(made, PretextObjective) and isinstance(made.pretext, (BYOL, DINO))
    steps = train(State.start(made, settings), Batches(samples, 16, 0), settings)

    def student() -> list[Tensor]:
        parts = (made.encoder.backbone, made.encoder.head, made.pretext.projector)
        return [weight.detach().clone() for part in parts for weight in part.parameters()]

    expected = student()
    for step in range(3):
        next(steps)
        rate = cosine_ramp(0.8, step / 4)
        expected = [rate * theirs + (1 - rate) * ours for theirs, ours in zip(expected, student())]
        for found, weight in zip(made.pretext.teacher.parameters(), expected):
            assert torch.allclose(found, weight, atol=1e-6)


@pytest.mark.parametrize("name", ["byol", "dino"])
def test_the_teacher_is_the_tasks_own_and_is_not_trained(name: str) -> None:
    made = objective(name)
    assert isinstance(made, PretextObjective)
    teacher = made.pretext.teacher
    assert isinstance(teacher, MomentumTeacher)
    ours = {id(parameter) for parameter in teacher.parameters()}
    assert ours and not ours & {id(parameter) for parameter in made.trained()}
    assert not [key for key in made.encoder.state_dict() if "teacher" in key or "projector" in key]
    kept = {key for key in made.state_dict() if key.startswith("pretext.teacher.")}
    assert {f"pretext.teacher.{key}" for key in teacher.state_dict()} == kept
    made.loss(Batch(held().batch(torch.arange(16))), generator())["loss"].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in made.encoder.parameters())


def test_a_teacher_starts_from_the_weights_that_training_starts_from() -> None:
    """Whatever has set weights since it was made, such as a variant that begins at PCA."""
    samples = held()
    for name in ("byol", "dino"):
        made = objective(name, samples)
        with torch.no_grad():
            made.encoder.head.weight.fill_(0.5)
        made.start(samples)
        assert isinstance(made, PretextObjective) and isinstance(made.pretext.teacher, MomentumTeacher)
        assert torch.equal(made.pretext.teacher.encoder_head.weight, made.encoder.head.weight)


def test_norms_that_stand_still_in_the_student_do_so_in_the_teacher() -> None:
    made = objective("byol")
    assert isinstance(made, PretextObjective)
    made.encoder.frozen = 1
    teacher = made.train().pretext.teacher
    assert isinstance(teacher, MomentumTeacher)
    norms = [module.training for module in teacher.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == [False, True] and not any(module.training for module in made.eval().modules())


def test_targets_get_no_gradient() -> None:
    for compare in (distance, mean_cosine_similarity):
        told, target = (z.requires_grad_() for z in projected())
        compare(told, target).backward()
        assert told.grad is not None and told.grad.abs().sum() > 0 and target.grad is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        task("byol").teacher(torch.rand(4, 1, 8, 8)).sum().backward()


def test_simsiams_gradient_is_that_of_constants_as_targets() -> None:
    pretext: SimSiam = task("simsiam")
    views = fixed_views(pretext)
    pretext.loss(torch.zeros(7, 1, 8, 8), generator())["loss"].backward()
    found = [parameter.grad.clone() for parameter in pretext.encoder.parameters() if parameter.grad is not None]
    pretext.encoder.zero_grad()
    with torch.no_grad():
        constants = project_together(pretext.project, *views)
    told = project_together(pretext.predictor, *project_together(pretext.project, *views))
    cosine = nn.CosineSimilarity(dim=1)
    (-(cosine(told[0], constants[1]).mean() + cosine(told[1], constants[0]).mean()) / 2).backward()
    expected = [parameter.grad for parameter in pretext.encoder.parameters() if parameter.grad is not None]
    assert len(found) == len(expected) > 0
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected))


def test_losses_are_computed_in_float32_under_autocast() -> None:
    first, second = projected(count=32, width=16)
    for compare in (
        lambda a, b: nt_xent(a, b, 0.1),
        cross_correlations,
        covariances,
        variance_hinge,
        distance,
        mean_cosine_similarity,
    ):
        exact = compare(first, second)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(compare(first, second), exact)
    with torch.autocast("cpu", torch.bfloat16):
        assert (first @ second.T).dtype == torch.bfloat16
        assert project_together(nn.Linear(16, 4), first)[0].dtype == torch.float32


def test_matched_and_spread() -> None:
    first = torch.eye(4)
    assert nearest_is_pair(first, 3 * first).all()
    assert nearest_is_pair(first, first[[1, 0, 2, 3]]).tolist() == [False, False, True, True]
    assert projection_std(torch.ones(50, 8)).item() == pytest.approx(0, abs=1e-6)
    assert projection_std(torch.randn(20000, 8, generator=generator())).item() == pytest.approx(1, abs=0.02)


def test_projectors_are_linear_maps_with_norms_between() -> None:
    layers = mlp(5, 12, 6)
    assert [type(layer).__name__ for layer in layers] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert mlp(5, 6)(torch.rand(2, 5)).shape == (2, 6)
    ends = mlp(5, 12, 12, 6, norm_last=True)
    z = ends(torch.randn(40, 5))
    assert len(ends) == 8 and torch.allclose(z.std(0, correction=0), torch.ones(6), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_logged_and_shown(name: str) -> None:
    made = objective(name)
    raw = held().batch(torch.arange(8))
    logged = made.loss(Batch(raw), generator())
    assert {"simclr": "pair_accuracy", "barlow-twins": "agreement", "vicreg": "variance", "dino": "used"}.get(
        name, "projection_std"
    ) in logged
    assert 0 <= logged["projection_std"].item() <= 1.5
    assert made.notes() and made.notes()[0].startswith("augmentation: ")
    assert isinstance(made, PretextObjective)
    x = made.encoder.preprocess(raw)
    rows = made.eval().pretext.visualize(x, generator())
    shown, texts = list(rows.values())[:3], list(rows.values())[3]
    assert torch.equal(shown[0], x) and not torch.equal(shown[1], shown[2])  # type: ignore[arg-type]
    assert isinstance(texts, list) and len(texts) == 8


@pytest.mark.parametrize("name", ["byol", "dino"])
def test_a_run_restored_in_the_middle_ends_bit_equal(name: str, tmp_path: Path) -> None:
    """Teacher, center and norms included."""
    samples, settings = held(), Settings(epochs=2, batch_size=16, precision="fp32")
    check_restored(lambda seed: objective(name, samples, seed=seed), samples, settings, 3, tmp_path)


@pytest.mark.parametrize("kind", ["vector", "series", "clip"])
def test_other_kinds_of_samples(kind: str) -> None:
    shape = {"vector": (10,), "series": (2, 16), "clip": (1, 4, 8, 8)}[kind]
    array = np.random.default_rng(0).standard_normal((48, *shape)).astype(np.float32)
    encoder = aekit.fit(ArraySource(array, kind=kind), pretexts=["simclr"], dim=4, epochs=1)  # type: ignore[arg-type]
    assert encoder.embed(array).vectors.shape == (48, 4)


def test_with_an_autoencoder(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
    settings = {"objective.weights": {"byol": 0.1}, "encoder.conv.channels": [4, 6], "objective.byol": SMALL}
    aekit.fit(
        images, variants=["denoising"], pretexts=["byol"], dim=4, epochs=2, overrides=settings, out=tmp_path / "run"
    )
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    assert {"autoencoder", "byol", "byol/projection_std", "loss"} <= records[-1].keys()
    for record in records:
        assert record["loss"] == pytest.approx(record["autoencoder"] + 0.1 * record["byol"], rel=1e-4)


def test_by_command_line(tmp_path: Path, command: Command) -> None:
    run = tmp_path / "run"
    options = ["--set", "objective.simclr.hidden=32", "--set", "train.batch_size=64", "--dim", "8"]
    command.ok("fit", "sklearn:digits", "-o", run, "--pretext", "simclr", "--epochs", "3", *options)
    said = aekit.load(run)
    assert said.dim == 8 and "pair_accuracy" in (run / "log.jsonl").read_text("utf-8")
    assert "first view" in (run / "report.html").read_text("utf-8")
    assert "temperature = 0.2" in command.ok("plugins", "show", "simclr")
    bold = ["--pretext", "simclr", "--set", "objective.simclr.strength=bold"]
    wrong = command("fit", "sklearn:digits", "-o", tmp_path / "other", *bold)
    assert "objective.simclr.strength = 'bold': expected 'weak', 'default' or 'strong'" in wrong.error


def test_views_are_told_apart_better_after_training() -> None:
    """On digits, of 64 second views, the share whose nearest is their own rises."""
    from sklearn.datasets import load_digits

    images = (load_digits().images * 15.9).astype(np.uint8)[:, None]
    samples = load_samples(ArraySource(images), np.arange(len(images)), torch.device("cpu"))
    settings = Settings(epochs=8, batch_size=64, lr=4e-3, precision="fp32")
    state = State.start(objective("simclr", samples, hidden=64, width=32), settings)
    records = list(train(state, Batches(samples, 64, 0), settings))
    before, after = (np.mean([record["pair_accuracy"] for record in part]) for part in (records[:10], records[-10:]))
    assert after > 2 * before
    assert records[-1]["projection_std"] > 0.5
