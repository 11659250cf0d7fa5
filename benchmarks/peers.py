"""Compare aekit, end to end, with the libraries that are used for the same work, on the same data and the same networks.

    python benchmarks/peers.py [--repeats 3] [--only pythae,timm] [--processor-time] [--profile]

Install them with benchmarks/requirements.txt; a library that is missing is left out, and named. Each row runs the public
function of both from data to result: from arrays or a folder of photographs to a trained network on the disk, anomaly scores,
vectors or accuracies. Runs alternate, after one that is not counted, so that other load on the machine affects both. The table
has medians and ranges of seconds, and the ratio of medians; aekit is to be 1.5 times as fast. `--profile` adds where aekit's
time goes in rows below that.

aekit trains at its automatic precision, which is bfloat16 where the processor multiplies in it, unless a row says fp32.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import logging
import os
import pstats
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scaling import processor_seconds
from torch import nn

import aekit

TARGET = 1.5
DIGITS, BATCH, EPOCHS = 6400, 128, 2
FRAMING = {"size": 224, "resize": "torchvision", "crop_pct": 0.875, "interpolation": "bicubic", "channels": 3}

Run = Callable[[], object]


class Row(NamedTuple):
    """Work that both do.

    Attributes:
        peer: name of the library.
        work: what is done.
        theirs, ours: do it.
    """

    peer: str
    work: str
    theirs: Run
    ours: Run


# Autoencoders on digits


def digits() -> np.ndarray:
    """Return (N, 28, 28) uint8 images of MNIST."""
    source = aekit.open_data("torchvision:MNIST")
    return source.read(source.rows_of("train")[:DIGITS])[0][:, 0]


def pythae_rows(folder: Path) -> Iterator[Row]:
    from pythae.models import AE, VAE, AEConfig, VAEConfig
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    logging.disable(logging.WARNING)
    images = digits()
    networks = {"plain": (AE, AEConfig), "vae": (VAE, VAEConfig)}
    for variant, (model, config) in networks.items():

        def theirs(model: type = model, config: type = config) -> None:
            network = model(config(input_dim=(1, 28, 28), latent_dim=16))
            settings = BaseTrainerConfig(
                output_dir=str(folder / "pythae"),
                num_epochs=EPOCHS,
                per_device_train_batch_size=BATCH,
                learning_rate=1e-3,
            )
            TrainingPipeline(network, settings)(images[:, None] / np.float32(255))

        for precision in ("auto", "fp32"):

            def ours(variant: str = variant, precision: str = precision) -> None:
                overrides = {"encoder.mlp.hidden": [512], "objective.loss": "mse", "train.precision": precision}
                aekit.fit(
                    images, variants=variant, backbone="mlp", dim=16, epochs=EPOCHS, batch_size=BATCH, lr=1e-3,
                    overrides=overrides, out=new(folder), report=False,
                )  # fmt: skip

            name = "autoencoder" if variant == "plain" else "variational autoencoder"
            title = f"{name} 784-512-16, {DIGITS} digits, {EPOCHS} epochs" + ", fp32" * (precision == "fp32")
            yield Row("pythae", title, theirs, ours)


# Anomalies in a table


def pyod_rows(folder: Path) -> Iterator[Row]:
    from pyod.models.auto_encoder import AutoEncoder

    from aekit.testing.samples import blobs

    table, _ = blobs(10_000, 8, dim=32)
    hidden = [64, 32]

    def theirs() -> np.ndarray:
        detector = AutoEncoder(
            epoch_num=EPOCHS, batch_size=BATCH, hidden_neuron_list=hidden, dropout_rate=0.0, verbose=0
        )
        return detector.fit(table).decision_scores_

    def ours() -> np.ndarray:
        run = new(folder)
        overrides = {"encoder.mlp.hidden": hidden[:1]}
        aekit.fit(
            table, variants="plain", backbone="mlp", dim=hidden[1], epochs=EPOCHS, batch_size=BATCH, lr=1e-3,
            overrides=overrides, out=run, report=False,
        )  # fmt: skip
        autoencoder = aekit.load_autoencoder(run)
        return autoencoder.errors(torch.from_numpy(table)).numpy()

    yield Row("pyod", f"autoencoder 32-64-32 on 10,000 rows, {EPOCHS} epochs, and their anomaly scores", theirs, ours)


# Probes


def sklearn_rows(folder: Path) -> Iterator[Row]:
    from probe import clouds
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from aekit.evaluation.linear.probe import SEARCH_TOLERANCE, fit_logistic

    vectors, classes = clouds(5_000, 64, 10)
    train, test = slice(4_000), slice(4_000, None)
    strengths = np.geomspace(1e-4, 1e2, 7)

    def theirs() -> list[float]:
        scaler = StandardScaler().fit(vectors[train])
        x, held_out = scaler.transform(vectors[train]), scaler.transform(vectors[test])
        models = [LogisticRegression(C=strength, max_iter=1000).fit(x, classes[train]) for strength in strengths]
        return [model.score(held_out, classes[test]) for model in models]

    def ours() -> list[float]:
        path = fit_logistic(vectors[train], classes[train], strengths, max_iterations=1000, tolerance=SEARCH_TOLERANCE)
        return (path.predict(vectors[test]) == classes[test]).mean(axis=1).tolist()

    yield Row("scikit-learn", "logistic regression on 4,000 x 64, 10 classes, 7 values of C", theirs, ours)


# Photographs


def photographs() -> list[Path]:
    return sorted((Path(os.environ["AEKIT_DATA"]) / "caltech10").rglob("*.jpg"))


def timm_rows(folder: Path) -> Iterator[Row]:
    import timm
    from embed import lite0
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config
    from torch.utils.data import DataLoader, Dataset

    files = photographs()[::5]
    part = folder / "photographs"
    part.mkdir()
    for number, file in enumerate(files):
        (part / f"{number:04}.jpg").write_bytes(file.read_bytes())
    weights = Path(os.environ["AEKIT_DATA"]) / "weights" / "efficientnet_lite0_in1k.safetensors"
    source = aekit.open_data(part, {"images": FRAMING})
    encoder = lite0(source, weights)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval().to(memory_format=torch.channels_last)
    transform = create_transform(**resolve_model_data_config(network))

    class Photographs(Dataset):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> torch.Tensor:
            return transform(Image.open(part / f"{index:04}.jpg").convert("RGB"))

    @torch.inference_mode()
    def theirs() -> torch.Tensor:
        batches = DataLoader(Photographs(), 64, num_workers=torch.get_num_threads())
        return torch.cat([network(x.to(memory_format=torch.channels_last)) for x in batches])

    def ours() -> np.ndarray:
        return encoder.embed(aekit.open_data(part, {"images": FRAMING}), precision="fp32", progress=False).vectors

    yield Row("timm", f"a folder of {len(files)} photographs by EfficientNet-Lite0 at 224, fp32", theirs, ours)


def lightly_rows(folder: Path) -> Iterator[Row]:
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from torch.utils.data import DataLoader
    from torchvision.models import resnet18

    size, batch, part = 64, 32, folder / "photographs"
    part.mkdir()
    for number, file in enumerate(photographs()[::8][:96]):
        (part / f"{number:04}.jpg").write_bytes(file.read_bytes())

    def backbone() -> nn.Module:
        network = resnet18()
        network.fc = nn.Identity()
        return network

    def theirs() -> nn.Module:
        encoder, head, criterion = backbone(), SimCLRProjectionHead(512, 512, 128), NTXentLoss(0.2)
        optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 1e-3)
        data = LightlyDataset(str(part), transform=SimCLRTransform(input_size=size))
        batches = DataLoader(data, batch, shuffle=True, drop_last=True, num_workers=torch.get_num_threads())
        for _ in range(EPOCHS):
            for (a, b), _, _ in batches:
                loss = criterion(head(encoder(a)), head(encoder(b)))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return encoder

    for precision in ("auto", "fp32"):

        def ours(precision: str = precision) -> aekit.Encoder:
            overrides = {"data.images.size": size, "objective.simclr.width": 128, "train.precision": precision}
            return aekit.fit(
                part, pretexts="simclr", backbone=backbone, dim=0, epochs=EPOCHS, batch_size=batch, lr=1e-3,
                overrides=overrides,
            )  # fmt: skip

        title = f"SimCLR, ResNet-18, 96 photographs at 64, {EPOCHS} epochs" + ", fp32" * (precision == "fp32")
        yield Row("lightly", title, theirs, ours)


PEERS: dict[str, tuple[str, Callable[[Path], Iterator[Row]]]] = {
    "pythae": ("pythae", pythae_rows),
    "pyod": ("pyod", pyod_rows),
    "scikit-learn": ("sklearn", sklearn_rows),
    "timm": ("timm", timm_rows),
    "lightly": ("lightly", lightly_rows),
}
"""Name -> the package that it is imported as, and its rows."""


def new(folder: Path) -> Path:
    """Return a path in a folder at which there is nothing yet."""
    return folder / f"run-{time.monotonic_ns()}"


@contextmanager
def quiet() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def alternate(runs: dict[str, Run], repeats: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return name -> seconds of each run but the first, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = clock()
            with quiet():
                run()
            if turn:
                seconds[name].append(clock() - started)
    return seconds


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):6.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def profiled(run: Run) -> str:
    """Return the ten functions that take the most time of their own."""
    profile, text = cProfile.Profile(), io.StringIO()
    with quiet():
        profile.runcall(run)
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(10)
    lines = [line for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[lines.index(next(x for x in lines if "tottime" in x)) :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(PEERS), help="names of libraries, separated by commas")
    parser.add_argument("--processor-time", action="store_true", help="count that, which other work disturbs less")
    parser.add_argument("--profile", action="store_true", help="show where aekit's time goes in rows below the target")
    arguments = parser.parse_args()
    clock = processor_seconds if arguments.processor_time else time.perf_counter
    kind = "processor seconds" if arguments.processor_time else "seconds"
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {kind}: median (range) of {arguments.repeats}\n"
    )
    print("| library | work | theirs | aekit | ratio |\n|---|---|---|---|---|")
    for name in arguments.only.split(","):
        package, rows = PEERS[name]
        if find_spec(package) is None:
            print(f"| {name} | not installed; see benchmarks/requirements.txt | | | |")
            continue
        with tempfile.TemporaryDirectory() as folder:
            for row in rows(Path(folder)):
                seconds = alternate({"theirs": row.theirs, "ours": row.ours}, arguments.repeats, clock)
                ratio = statistics.median(seconds["theirs"]) / statistics.median(seconds["ours"])
                print(
                    f"| {row.peer} | {row.work} | {spread(seconds['theirs'])} | {spread(seconds['ours'])} | {ratio:.1f} |",
                    flush=True,
                )
                if arguments.profile and ratio < TARGET:
                    print(profiled(row.ours))


if __name__ == "__main__":
    main()
