"""Measure heat maps of `aekit.find_anomalies` on images with planted defects, against two baselines without a network.

    python benchmarks/heatmaps.py textures                  # drawn textures, 3 seeds
    python benchmarks/heatmaps.py photographs               # those of $AEKIT_DATA/caltech10

Each seed plants new defects (`recipes/heatmaps/plant.py`), and trains a new autoencoder on the images without defects. Its
heat maps of reconstruction and patches are compared with those of patches of EfficientNet-Lite0 ($AEKIT_DATA/weights).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import aekit

PLANT = Path(__file__).parents[1] / "recipes" / "heatmaps" / "plant.py"
WEIGHTS = Path(os.environ.get("AEKIT_DATA", ".")) / "weights" / "efficientnet_lite0_in1k.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["textures", "photographs"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--test", type=int, default=10, help="test images of each kind")
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    results: dict[tuple[str, str], list[float]] = {}
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for key, value in trial(seed, arguments).items():
            results.setdefault(key, []).append(value)
            print(seed, *key, f"{value:.3f}", flush=True)
    names = dict.fromkeys(name for name, _ in results)
    metrics = list(dict.fromkeys(metric for _, metric in results))
    print(f"\n| {arguments.kind} | {' | '.join(metrics)} |\n|---|{'---|' * len(metrics)}")
    for name in names:
        cells = [spread(results.get((name, metric), [])) for metric in metrics]
        print(f"| {name} | {' | '.join(cells)} |")


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "".join(map(str, values))


def trial(seed: int, arguments: argparse.Namespace) -> dict[tuple[str, str], float]:
    """Plant defects, train, and return the metrics of each heat map by its name."""
    spec = importlib.util.spec_from_file_location("plant", PLANT)
    assert spec is not None and spec.loader is not None
    plant = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plant)
    measured: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images"
        plant.write_data_set(arguments.kind, data, seed, arguments.side, arguments.train, arguments.test)
        common: dict[str, Any] = {"seed": seed, "progress": False}
        trained = {"epochs": arguments.epochs, "overrides": {"evaluate.evaluators": []}}
        frozen = {
            "backbone": "timm",
            "dim": 0,
            "epochs": 0,
            "overrides": {
                "encoder.timm.model": "tf_efficientnet_lite0",
                "encoder.weights": str(WEIGHTS),
                "evaluate.evaluators": [],
            },
        }
        for name, settings in {"autoencoder": trained, "EfficientNet-Lite0": frozen}.items():
            run = Path(folder) / name
            aekit.fit(data, out=run, **common, **settings)  # type: ignore[arg-type]
            found = aekit.find_anomalies(run, data, split="test", baselines=name == "autoencoder", **common)
            assert found.heatmaps is not None
            for heat_map, metrics in found.heatmaps.metrics.items():
                own = heat_map in found.heatmaps.maps
                for metric, value in metrics.items():
                    measured[f"{heat_map} ({name})" if own else heat_map, metric.replace("_", " ")] = value.value
            measured[f"patches ({name})", "image auroc"] = found.metrics["patches"]["auroc"].value
            if "reconstruction" in found.metrics:
                measured[f"reconstruction ({name})", "image auroc"] = found.metrics["reconstruction"]["auroc"].value
    return measured


if __name__ == "__main__":
    main()
