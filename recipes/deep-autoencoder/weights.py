"""Compare the initial weights of the mlp backbone with PyTorch's own, on networks of several depths and activations.

    python recipes/deep-autoencoder/weights.py                # --sets and --seeds shorten it

Each set is trained on three quarters of its samples, for 20 epochs. Reported are means over seeds, on the others: the part of the
variance that the reconstruction leaves unexplained, and the accuracies of a linear probe and of 10 neighbors.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable

import numpy as np
import torch
from aekit_plugins.backbones.mlp import MLP
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import aekit

NETWORKS = {
    "the default": {},
    "256, tanh": {"hidden": [256], "activation": "tanh"},
    "512-256-128-64": {"hidden": [512, 256, 128, 64]},
    "500-300-200, sigmoid": {"hidden": [500, 300, 200], "activation": "sigmoid"},
}


@aekit.register(name="mlp-of-pytorch")
class PyTorchWeights(MLP):
    """The same network with PyTorch's initial weights."""

    def __init__(self, spec, *, hidden: list[int] | None = None, activation: str = "relu") -> None:
        super().__init__(spec, hidden=hidden, activation=activation)
        _reset(self)

    def mirror(self, stage: int) -> nn.Module:
        return _reset(super().mirror(stage))


def _reset(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    return module


def images(name: str) -> tuple[np.ndarray, np.ndarray]:
    source = aekit.open_data(f"torchvision:{name}")
    rows = source.rows_of("train")[:8000]
    return source.read(rows)[0], np.asarray(source.labels)[rows].astype(str)


SETS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "wine": lambda: load_wine(return_X_y=True),
    "cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "MNIST": lambda: images("MNIST"),
    "Fashion-MNIST": lambda: images("FashionMNIST"),
}


def measure(x: np.ndarray, y: np.ndarray, backbone: str, options: dict[str, object], seed: int) -> list[float]:
    """Train on three quarters and return the unexplained part and the accuracies of probe and neighbors on the others."""
    order = np.random.default_rng(seed).permutation(len(x))
    x = np.ascontiguousarray(x[order].astype(np.uint8 if x.ndim > 2 else np.float32))
    y, count = np.asarray(y)[order], 3 * len(x) // 4
    with tempfile.TemporaryDirectory() as folder:
        settings = {f"encoder.{backbone}.{name}": value for name, value in options.items()}
        encoder = aekit.fit(
            x[:count],
            variants="plain",
            backbone=backbone,
            dim=32,
            epochs=20,
            seed=seed,
            overrides=settings,
            evaluators=[],
            out=f"{folder}/run",
            report=False,
            progress=False,
        )
        autoencoder = aekit.load_autoencoder(f"{folder}/run")
    with torch.no_grad():
        raw = torch.from_numpy(x[count:])
        target = encoder.preprocess(raw)
        error = (autoencoder.reconstruct(raw) - target).square().mean() / target.var(0, correction=0).mean()
    vectors = np.asarray(encoder.embed(x))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    fitted = [model.fit(vectors[:count], y[:count]) for model in (probe, KNeighborsClassifier(10))]
    return [float(error), *(float(model.score(vectors[count:], y[count:])) for model in fitted)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| set | network | initial weights | unexplained | probe | knn |\n|---|---|---|---|---|---|")
    for name in arguments.sets:
        x, y = SETS[name]()
        for network, options in NETWORKS.items():
            for backbone, weights in {"mlp-of-pytorch": "PyTorch", "mlp": "aekit"}.items():
                seeds = [measure(x, y, backbone, options, seed) for seed in range(arguments.seeds)]
                means = " | ".join(f"{value:.3f}" for value in np.mean(seeds, 0))
                print(f"| {name} | {network} | {weights} | {means} |", flush=True)


if __name__ == "__main__":
    main()
