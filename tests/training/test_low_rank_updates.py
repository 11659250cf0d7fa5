"""Low-rank updates of a pretrained transformer: what changes, what stays, what is saved, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from commands import FAST
from interrupting import StopsAfter
from safetensors.torch import save_file

import aekit
from aekit.errors import RecipeError
from aekit.training.phases import Interrupted

RANK = 3


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Settings of a short training of a tiny transformer with random weights from a file."""
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", num_classes=3, img_size=32).state_dict(), path)
    timm_options = {"encoder.timm.model": "test_vit", "encoder.timm.size": 32}
    return FAST | timm_options | {"encoder.weights": str(path), "train.batch_size": 16, "train.lr": 0.01}


def fit(settings: dict[str, object], **options: object) -> aekit.Encoder:
    return aekit.fit(images(), backbone="timm", pretexts="vicreg", dim=8, overrides=settings, **options)


def test_only_the_linear_layers_and_the_head_change_and_those_by_the_rank(settings: dict[str, object]) -> None:
    before = fit(settings | {"train.epochs": 0, "encoder.dim": 0})
    whole = fit(settings)
    adapted = fit(settings | {"train.low_rank": RANK, "train.epochs": 2})
    start, full = before.backbone.state_dict(), whole.backbone.state_dict()
    linear = {
        f"{name}.weight" for name, layer in adapted.backbone.named_modules() if isinstance(layer, torch.nn.Linear)
    }
    assert len(linear) > 8 and adapted.backbone.state_dict().keys() == start.keys()
    for name, tensor in adapted.backbone.state_dict().items():
        if name in linear:
            change = torch.linalg.svdvals(tensor - start[name])
            assert change[0] > 1e-4 and change[RANK] < 1e-4 * change[0], name
            assert torch.linalg.matrix_rank(full[name] - start[name]) > RANK, "without it, the change has any rank"
        else:
            assert torch.equal(tensor, start[name]), name
    count = sum(RANK * sum(start[name].shape) for name in linear)
    assert adapted.record["low_rank"] == {"rank": RANK, "layers": len(linear), "parameters": count}
    assert all(parameter.requires_grad for parameter in adapted.parameters())


def test_the_saved_encoder_is_a_plain_one_and_an_interrupted_run_resumes(
    settings: dict[str, object], tmp_path: Path
) -> None:
    settings = settings | {"train.low_rank": RANK, "train.epochs": 2, "train.layer_decay": 0.8}
    whole = fit(settings, out=tmp_path / "whole", report=False)
    loaded = aekit.load(tmp_path / "whole")
    assert loaded.digest == whole.digest and not any("parametrizations" in name for name in loaded.state_dict())
    assert np.array_equal(loaded.embed(images()).vectors, whole.embed(images()).vectors)
    assert "rank 3, of" in (tmp_path / "whole" / "encoder" / "README.md").read_text()
    with pytest.raises(Interrupted):
        fit(settings, out=tmp_path / "stopped", report=False, progress=StopsAfter(3))
    assert fit(settings, out=tmp_path / "stopped", report=False, resume=True).digest == whole.digest


def test_frozen_stages_get_no_updates(settings: dict[str, object]) -> None:
    settings = settings | {"train.low_rank": RANK, "encoder.frozen": 4}
    start = fit(settings | {"train.epochs": 0, "train.low_rank": 0, "encoder.dim": 0})
    adapted = fit(settings)
    changed = {
        int(name.split(".")[1])
        for name, tensor in adapted.backbone.state_dict().items()
        if not torch.equal(tensor, start.backbone.state_dict()[name])
    }
    assert changed and min(changed) >= 4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"encoder.weights": ""}, "train.low_rank = 3: keeps the weights of the backbone, which are random"),
        ({"train.low_rank": 4000}, "train.low_rank = 4000: expected at most 64, the shorter side of the smallest"),
        ({"train.low_rank": -1}, "train.low_rank = -1: expected greater than or equal to 0"),
        ({"layerwise.epochs": 1}, "train.low_rank = 3: cannot train single layers"),
    ],
)
def test_mistakes_are_reported_in_one_line(
    settings: dict[str, object], changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(RecipeError, match=expected):
        fit(settings | {"train.low_rank": RANK} | changes)


def test_other_backbones_and_fine_tuning_are_refused(tmp_path: Path) -> None:
    earlier = aekit.fit(images(), backbone="conv", dim=4, overrides=FAST, out=tmp_path / "run")
    again = FAST | {"train.low_rank": 2, "encoder.weights": str(tmp_path / "run")}
    with pytest.raises(RecipeError, match="backbone 'conv' has no linear layers to update; expected a transformer"):
        aekit.fit(images(), backbone="conv", dim=4, overrides=again)
    with pytest.raises(RecipeError, match=r"train\.low_rank = 2: fine-tuning has no low-rank updates"):
        aekit.finetune(earlier, images(), labels=np.arange(32) % 2, low_rank=2)
