"""The linear autoencoder, compared with scikit-learn's PCA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.backbone import TiedLayer
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.objectives.base import Batch
from aekit.testing import conformance
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

# The conformance kit tests variant and backbone with default options; with init = 'pca' the loss cannot fall.
test_tied_conforms = conformance("backbone", "linear", {"tied": True})

LINEAR: dict[str, Any] = {"backbone": "linear"}


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """(1797, 1, 8, 8) in 0..1."""
    return (load_digits().data / 16).astype(np.float32).reshape(-1, 1, 8, 8)


def make_samples(array: np.ndarray) -> Samples:
    return load_samples(ArraySource(array), np.arange(len(array)), torch.device("cpu"))


def linear(
    array: np.ndarray, dim: int, encoder: dict[str, Any], loss: str = "mse", init: str = "random"
) -> Autoencoder:
    data = make_samples(array)
    values = {
        "data": {"source": "memory"},
        "encoder": encoder | {"dim": dim},
        "objective": {"variants": ["linear"], "linear": {"init": init}, "loss": loss},
    }
    objective = make_objective(make_recipe(values), data.spec, fit_preprocess(data)[0])
    objective.start(data)
    assert isinstance(objective, Autoencoder)
    return objective


def scaled_and_reconstructed(objective: Autoencoder, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, F) samples as the network sees them, and their reconstructions."""
    raw = torch.from_numpy(array)
    return tuple(x.flatten(1).double().numpy() for x in (objective.encoder.preprocess(raw), objective.reconstruct(raw)))


def linear_maps(objective: Autoencoder) -> dict[str, np.ndarray]:
    """(F, D) matrices of the encoder and of the decoder."""
    objective.eval()
    shape, dim = objective.encoder.spec.shape, objective.encoder.dim
    with torch.no_grad():
        entries = torch.eye(int(np.prod(shape))).unflatten(1, shape)
        encoded = objective.encoder.encode(entries) - objective.encoder.encode(0 * entries)
        reconstructed = objective.decoder(torch.eye(dim)) - objective.decoder(torch.zeros(dim, dim))
    return {"encoder": encoded.numpy(), "decoder": reconstructed.flatten(1).numpy().T}


@pytest.mark.parametrize(
    "encoder",
    [LINEAR, {"backbone": "linear", "linear": {"tied": True}}, {"backbone": "mlp", "mlp": {"hidden": []}}],
    ids=["linear", "tied", "mlp"],
)
@pytest.mark.parametrize("kind", ["images", "table"])
def test_started_at_pca_it_is_pca(digits: np.ndarray, encoder: dict[str, Any], kind: str) -> None:
    table = np.random.default_rng(0).normal(5, 3, (300, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    array = digits if kind == "images" else table
    objective = linear(array, 5, encoder, init="pca")
    x, reconstructed = scaled_and_reconstructed(objective, array)
    pca = PCA(5, svd_solver="full").fit(x)
    assert reconstructed == pytest.approx(pca.inverse_transform(pca.transform(x)), abs=2e-5)
    code = objective.encoder(torch.from_numpy(array)).detach().numpy()
    assert np.abs(code) == pytest.approx(np.abs(pca.transform(x)), abs=2e-4), "the components themselves, up to sign"
    for name, map_of in linear_maps(objective).items():
        assert subspace_angles(map_of, pca.components_.T).max() < 1e-3, name
    explained = pca.explained_variance_ratio_.sum()
    assert objective.notes() == [
        f"linear: starts at the principal components, which explain {explained:.1%} of the variance"
    ]
    assert isinstance(objective.decoder.expand[0], TiedLayer if encoder.get("linear") else nn.Linear)


def test_a_code_with_room_to_spare_starts_at_the_whole_sample(digits: np.ndarray) -> None:
    objective = linear(digits[:, :, :3, :3], 12, LINEAR, init="pca")
    x, reconstructed = scaled_and_reconstructed(objective, digits[:, :, :3, :3])
    assert reconstructed == pytest.approx(x, abs=1e-5)


def test_trained_from_random_weights_it_finds_the_subspace(digits: np.ndarray, tmp_path: Path) -> None:
    settings = {"lr": 0.1, "batch_size": 256, "weight_decay": 0.0, "precision": "fp32"}
    overrides = {"objective.loss": "mse"} | {f"train.{name}": value for name, value in settings.items()}
    run: dict[str, Any] = {"variants": ["linear"], "backbone": "linear", "dim": 5, "epochs": 150}
    aekit.fit(digits, out=tmp_path / "run", overrides=overrides, **run)
    trained = load_autoencoder(tmp_path / "run")
    x, reconstructed = scaled_and_reconstructed(trained, digits)
    pca = PCA(5, svd_solver="full").fit(x)
    error, best = np.square(reconstructed - x).sum(), np.square(pca.inverse_transform(pca.transform(x)) - x).sum()
    assert best <= error < 1.01 * best
    assert subspace_angles(linear_maps(trained)["decoder"], pca.components_.T).max() < 0.05
    # The encoder's rows are arbitrary where the samples do not vary: compare the codes.
    centered = x - pca.mean_
    assert subspace_angles(centered @ linear_maps(trained)["encoder"], centered @ pca.components_.T).max() < 0.05
    first = linear(digits, 5, LINEAR)
    assert subspace_angles(linear_maps(first)["decoder"], pca.components_.T).max() > 0.5, (
        "it was not there from the start"
    )


@pytest.mark.parametrize(
    "encoder",
    [
        {"backbone": "mlp", "mlp": {"hidden": [20]}},
        {"backbone": "mlp", "mlp": {"hidden": [20], "activation": "tanh"}},
        {"backbone": "conv", "conv": {"channels": [4], "norm": "none"}},
        {"backbone": "conv"},
    ],
)
def test_a_network_that_is_not_linear_is_refused(digits: np.ndarray, encoder: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"set encoder\.backbone to 'linear', or to 'mlp' with"):
        linear(digits, 5, encoder)


def test_a_deep_linear_network_is_linear_but_has_no_analytic_start(digits: np.ndarray) -> None:
    deep = {"backbone": "mlp", "mlp": {"hidden": [20], "activation": "none"}}
    linear(digits, 5, deep)
    with pytest.raises(RecipeError, match=r"^linear\.init = 'pca': needs a backbone without layers; set encoder"):
        linear(digits, 5, deep, init="pca")


def test_other_losses_are_refused_at_the_first_step(digits: np.ndarray) -> None:
    batch = Batch(torch.from_numpy(digits[:20]))
    assert linear(digits, 5, LINEAR).loss(batch, torch.Generator())["loss"].isfinite()
    for loss in ("auto", "bce", "huber"):
        with pytest.raises(RecipeError, match=r"^objective\.loss: variant 'linear' needs the plain squared error"):
            linear(digits, 5, LINEAR, loss).loss(batch, torch.Generator())


def test_checking_the_network_keeps_its_modes(digits: np.ndarray) -> None:
    objective = linear(digits, 5, LINEAR)
    objective.train()
    objective.encoder.head.eval()
    objective.start(make_samples(digits))
    assert objective.decoder.training and objective.encoder.training and not objective.encoder.head.training


def test_variant_and_backbone_of_that_name_on_the_command_line(command: Any, tmp_path: Path) -> None:
    run = ("fit", "sklearn:digits", "--variant", "linear", "--dim", "5", "--epochs", "1")
    assert "set encoder.backbone to 'linear'" in command(*run, "-o", tmp_path / "refused", "--backbone", "mlp").error
    chosen = ("--backbone", "linear", "--set", "objective.loss=mse", "--set", "objective.linear.init=pca")
    command.ok(*run, "-o", tmp_path / "run", *chosen)
