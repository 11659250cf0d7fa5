"""Distillation: losses against loops over pairs and triples, teachers by name, views that are kept, what the student learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.pretexts.distillation import (
    ANGLE_WEIGHT,
    Distillation,
    cosine_distance,
    relational_distance,
    relations,
    same_neighbor,
    smooth_l1,
)
from commands import FAST, Command, Said
from torch import Tensor
from torch.nn import functional as F

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.loading import load
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import AekitError, RecipeError
from aekit.objectives import teacher as teachers
from aekit.objectives.base import Batch, PretextObjective
from aekit.objectives.weighted_sum import WeightedSum
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(count: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def in_memory(images: np.ndarray) -> Samples:
    return load_samples(ArraySource(images), np.arange(len(images)), torch.device("cpu"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose scaling is not that of its students."""
    settings = FAST | {"encoder.scaling": "standard", "encoder.mlp.hidden": [12]}
    encoder = aekit.fit(random_images(), dim=6, backbone="mlp", overrides=settings)
    return encoder.save(tmp_path_factory.mktemp("teacher") / "encoder")


def task(
    teacher: str | Path, samples: Samples | None = None, said: Said | None = None, **options: Any
) -> tuple[Distillation, Samples]:
    samples = samples or in_memory(random_images())
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "conv", "dim": 5, "conv": {"channels": [4, 6]}},
        "objective": {"pretexts": ["distillation"], "distillation": {"teacher": str(teacher), **options}},
    }
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    objective.set_display(said or Said())
    objective.start(samples)
    assert isinstance(objective, PretextObjective) and isinstance(objective.pretext, Distillation)
    return objective.pretext, samples


def test_relations_agree_with_loops_over_pairs_and_triples() -> None:
    code, target = (torch.randn(6, width, generator=generator(width)) for width in (3, 7))
    loss = 0.0
    distances = [torch.tensor([[float((a - b).norm()) for b in x] for a in x]) for x in (code, target)]
    ours, theirs = (each * 30 / each.sum() for each in distances)
    loss += float(F.smooth_l1_loss(ours, theirs))
    angles = torch.zeros(2, 6, 6, 6)
    for number, x in enumerate((code, target)):
        for i in range(6):
            for j in range(6):
                for k in range(6):
                    if i != j and i != k:
                        angles[number, i, j, k] = F.cosine_similarity(x[j] - x[i], x[k] - x[i], dim=0)
    loss += ANGLE_WEIGHT * float(F.smooth_l1_loss(*angles))
    assert relational_distance(code, target).item() == pytest.approx(loss, rel=1e-3)
    turned = code @ torch.linalg.qr(torch.randn(3, 3, generator=generator()))[0]
    assert relational_distance(code, 5 * turned + 1).item() < 1e-5, "it depends on scale, place or direction"
    for both in (torch.zeros(3, 2, requires_grad=True), torch.full((3, 2), 7.0, requires_grad=True)):  # identical codes
        relational_distance(both, target[:3]).backward()
        assert both.grad is not None and both.grad.isfinite().all()
    assert relations(torch.zeros(2, 3))[0].isfinite().all()


def test_the_other_losses_and_the_measure_are_what_they_say() -> None:
    first, second = torch.randn(2, 5, 4, generator=generator())
    expected = 1 - sum(float(a @ b / a.norm() / b.norm()) for a, b in zip(first, second)) / 5
    assert cosine_distance(first, second).item() == pytest.approx(expected, abs=1e-6)
    wide = (first - second).abs()
    assert smooth_l1(first, second).item() == pytest.approx(
        torch.where(wide < 1, wide**2 / 2, wide - 0.5).mean().item(), abs=1e-6
    )
    target = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    mirrored = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]])
    assert same_neighbor(target * 3, target) == 1 and same_neighbor(mirrored, target) < 1


@pytest.mark.parametrize("views", [1, 3, "fresh"])
def test_the_features_are_the_teachers_of_the_view_that_the_student_sees(teacher: Path, views: Any) -> None:
    pretext, samples = task(teacher, views=views)
    seen: list[Tensor] = []
    pretext.encoder.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    targets: list[Tensor] = []
    pretext._distance = lambda name, code, predicted, target: targets.append(target) or code.sum()  # type: ignore
    network = load(teacher)
    for number, batch in enumerate(Batches(samples, 16, seed=0).epoch(0)):
        pretext.positions = batch.positions
        x = pretext.encoder.preprocess(batch.raw)
        pretext.loss(x, generator(number))
        raw = (255 * seen[-1]).round().byte()
        with torch.no_grad():
            expected = network(raw) if views != "fresh" else network.encode(network.preprocess(255 * seen[-1]))
        torch.testing.assert_close(targets[-1] + pretext.mean, expected, rtol=2e-2, atol=2e-2)
        unchanged = (seen[-1] - x).abs().flatten(1).amax(1) < 1e-6
        assert unchanged.all() if views == 1 else not unchanged.all()
        assert views != 3 or unchanged.any(), "the sample itself is one of the views"
    assert pretext.encoder.record["teacher"]["digest"] == network.digest


def test_views_are_kept_for_the_same_samples_and_the_same_teacher(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    first, second = Said(), Said()
    (one, _), (other, _) = task(teacher, said=first, views=2), task(teacher, said=second, views=2)
    assert one.kept and other.kept and np.array_equal(one.kept.features, other.kept.features)
    assert not any("read from" in line for line in first.lines)
    assert [line for line in second.lines if "read from" in line] == [
        f"teachers: read from {tmp_path / 'teachers'}, where an earlier command kept them"
    ]
    for samples, options in [(in_memory(random_images(seed=1)), {"views": 2}), (None, {"views": 3})]:
        said = Said()
        task(teacher, samples, said, **options)
        assert not any("read from" in line for line in said.lines)
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    said = Said()
    alone, _ = task(teacher, said=said, views=2)
    assert alone.kept and np.array_equal(alone.kept.features, one.kept.features)
    assert any("teachers: not kept for later runs: " in line for line in said.lines)
    monkeypatch.setattr(teachers, "MAX_BYTES", 5000)
    with pytest.raises(RecipeError, match=r"distillation.views = 99: takes 0.0 GiB; expected at most \d, or 'fresh'"):
        task(teacher, views=99)


def test_a_student_comes_to_agree_with_its_teacher_on_other_samples(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = (load_digits().images[:, None] * 15).astype(np.uint8)
    parent = aekit.fit(digits[:600], dim=12, backbone="mlp", overrides=FAST | {"train.epochs": 4})
    parent.save(tmp_path / "teacher")
    settings = {
        "objective.distillation.teacher": str(tmp_path / "teacher"),
        "train.precision": "fp32",
        "train.lr": 5e-3,
    }
    settings |= {"objective.distillation.views": 2, "objective.distillation.crop_scale": 0.9}

    def neighbors(vectors: np.ndarray) -> np.ndarray:
        unit = vectors - vectors.mean(0)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        similarities = unit @ unit.T
        np.fill_diagonal(similarities, -1)
        return np.argsort(-similarities, 1)[:, :5]

    reference = neighbors(parent.embed(digits[900:1300]).vectors)
    shared = {}
    for epochs in (1, 15):
        student = aekit.fit(
            digits[:600],
            pretexts="distillation",
            backbone="mlp",
            dim=8,
            epochs=epochs,
            overrides=settings | {"encoder.mlp.hidden": [64]},
        )
        ours = neighbors(student.embed(digits[900:1300]).vectors)
        shared[epochs] = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(ours, reference)])
    assert shared[15] > 0.5 and shared[15] > shared[1] + 0.05, shared


def test_the_teacher_is_recorded_but_no_part_of_what_is_saved(
    teacher: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "images.npy", random_images())
    monkeypatch.chdir(tmp_path)
    fast = [text for name, value in FAST.items() for text in ("--set", f"{name}={value}")]
    told = command(
        *("fit", "images.npy", "-o", "run", "--pretext", "distillation", "--dim", 4, "--no-report", *fast),
        *("--set", f"objective.distillation.teacher={teacher}", "--set", "encoder.conv.channels=[4,6]"),
    )
    assert told.code == 0, told.err
    digest = load(teacher).digest
    assert f"teacher: encoder {digest[:12]} (encoder), 6 features, 16 views of each sample; augmentation" in told.err
    again = aekit.load("run")
    assert again.record["teacher"] == {
        "network": f"encoder {digest[:12]} (encoder)",
        "from": "encoder",
        "digest": digest,
    }
    assert digest in (tmp_path / "run" / "encoder" / "README.md").read_text()
    assert "same_neighbor" in (tmp_path / "run" / "log.jsonl").read_text()
    assert json.loads((tmp_path / "run" / "encoder" / "encoder.json").read_text())["teacher"]["digest"] == digest
    assert not any("teacher" in name for name in again.state_dict())


def test_it_is_trained_beside_another_task_and_teaches_itself_without_a_teacher(teacher: Path) -> None:
    samples = in_memory(random_images())
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "conv", "dim": 5, "conv": {"channels": [4, 6]}},
        "objective": {"pretexts": ["simclr", "distillation"], "distillation": {"teacher": str(teacher), "views": 2}},
    }
    whole = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    assert isinstance(whole, WeightedSum)
    whole.start(samples)
    terms = whole.loss(next(Batches(samples, 16, seed=0).epoch(0)), generator())
    assert {"simclr", "distillation", "distillation/cosine", "distillation/relational"} <= terms.keys()
    assert whole.loss(Batch(samples.batch(torch.arange(8))), generator())["loss"].isfinite()
    alone, _ = task("auto", views=1)  # there is no pretrained network at hand
    assert "teacher: the encoder itself with its random initial weights" in alone.note
    x = torch.rand(9, 1, 8, 8, generator=generator())
    torch.testing.assert_close(alone.encoder.eval().encode(x), alone.teacher(x), rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"teacher": "nowhere"}, "objective.distillation.teacher = 'nowhere': expected the folder of an aekit encoder"),
        ({"teacher": "conv:resnet8"}, "teacher = 'conv:resnet8': backbone 'conv' has no pretrained networks"),
        ({"losses": ["cosin"]}, "losses"),
        ({"losses": []}, "losses"),
        ({"views": 0}, "views"),
        ({"views": "all"}, "views"),
    ],
)
def test_mistakes_are_reported_in_one_line(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(AekitError, match=expected) as caught:
        task(**{"teacher": "initial"} | options)
    assert "\n" not in str(caught.value)
