"""What is asked for and cannot be done: splits, labels, resumed runs, plugins, samples that are too few or too large."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from unusual.harness import Area, Listener

import aekit
from aekit.data.source import ArraySource
from aekit.evaluation.labels import read_labels
from aekit.evaluation.splits import make_split
from aekit.index.build import build_index
from aekit.io.weights import save_weights
from aekit.objectives.base import Batch, Objective
from aekit.registry.discovery import _disabled_by_command_line, registry
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.phases import Phase, run_phase
from aekit.training.settings import Settings

AREA = Area(__name__)


def _numbers(count: int = 40, columns: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)


def _encoder(data: object = None, **settings: object) -> aekit.Encoder:
    values = {"dim": 2, "epochs": 1, "variants": ["plain"]} | settings
    return aekit.fit(_numbers() if data is None else data, **values)  # type: ignore[arg-type]


def _images(count: int = 70, size: tuple[int, int] = (8, 8), dtype: str = "uint8") -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255, (count, 3, *size))
    return (pixels / 255).astype(dtype) if dtype.startswith("float") else pixels.astype(dtype)


def _splits(count: int = 40) -> np.ndarray:
    return np.array(["train"] * (count - 10) + ["test"] * 10)


# Splits


@AREA.refused("a split of data that has no splits", "no split 'test': the data has no splits")
def _(folder: Path, listener: Listener) -> None:
    _encoder().embed(_numbers(), split="test")


@AREA.refused("a misspelled split of data that has no splits", "no split 'tset': the data has no splits")
def _(folder: Path, listener: Listener) -> None:
    np.save("x.npy", _numbers())
    _encoder().save("encoder")
    listener.command("embed", "encoder", "x.npy", "--split", "tset", "-o", "embeddings", "-q")


@AREA.refused("a split that the data does not have", "no samples in split 'tset'; available: test, train")
def _(folder: Path, listener: Listener) -> None:
    _encoder().embed(ArraySource(_numbers(), splits=_splits()), split="tset")


@AREA.refused("data.split = 'validation' for training, and no splits", "no split 'validation': the data has no splits")
def _(folder: Path, listener: Listener) -> None:
    _encoder(overrides={"data.split": "validation"})


@AREA.refused("anomalies of a split of data that has no splits", "no split 'test': the data has no splits")
def _(folder: Path, listener: Listener) -> None:
    aekit.find_anomalies(_encoder(), _numbers(), split="test")


@AREA.refused("apply to a split of data that has no splits", "no split 'test': the data has no splits")
def _(folder: Path, listener: Listener) -> None:
    np.save("x.npy", _numbers())
    _encoder("x.npy", out="run", report=False)
    listener.command("apply", "run", "x.npy", "--split", "test", "-o", "out")


@AREA.right("--split all of data that has no splits")
def _(folder: Path, listener: Listener) -> None:
    assert len(_encoder().embed(_numbers(), split="all")) == 40


@AREA.right("a split that the data has")
def _(folder: Path, listener: Listener) -> None:
    embeddings = _encoder().embed(ArraySource(_numbers(), splits=_splits()), split="test")
    assert list(embeddings.ids) == [f"test-{number}" for number in range(10)]


# Labels in a file


def _labels(*rows: str, ids: tuple[str, ...] = ("a", "b", "c")) -> list[str]:
    Path("labels.csv").write_text("id,label\n" + "\n".join(rows) + "\n")
    return [str(label) for label in read_labels("labels.csv", ids)[0]]


@AREA.refused("an id twice in --labels, with two labels", "id 'a' is in rows 1 and 3; keep one of them")
def _(folder: Path, listener: Listener) -> None:
    _labels("a,x", "b,y", "a,y", "c,y")


@AREA.refused("an id twice in --labels, with one label", "id 'b' is in rows 2 and 3; keep one of them")
def _(folder: Path, listener: Listener) -> None:
    _labels("a,x", "b,y", "b,y")


@AREA.changed("ids in --labels that match no embedding", "1 of 4 ids match no sample, e.g. 'z'")
def _(folder: Path, listener: Listener) -> None:
    assert _labels("z,w", "a,x", "b,y", "c,x") == ["x", "y", "x"]


@AREA.changed("embeddings that --labels has no label for", "1 of 3 samples have no label in it, e.g. 'b'")
def _(folder: Path, listener: Listener) -> None:
    assert _labels("c,y", "a,x") == ["x", "", "y"]


@AREA.refused("--labels of which no id matches", "no id matches a sample; expected ids such as 'a', found '1'")
def _(folder: Path, listener: Listener) -> None:
    _labels("1,x", "2,y")


@AREA.right("--labels in another order")
def _(folder: Path, listener: Listener) -> None:
    assert _labels("c,z", "b,y", "a,x") == ["x", "y", "z"]


# Resuming


@AREA.refused("--resume of a finished run with other data and dimensions", "encoder.dim was 2, now 3")
def _(folder: Path, listener: Listener) -> None:
    np.save("a.npy", _numbers(40))
    np.save("b.npy", _numbers(50))
    _encoder("a.npy", out="run", report=False)
    _encoder("b.npy", out="run", report=False, dim=3, resume=True)


@AREA.refused("--resume of a finished run for more epochs", "encoder.weights = 'run' starts from its weights")
def _(folder: Path, listener: Listener) -> None:
    np.save("a.npy", _numbers())
    _encoder("a.npy", out="run", report=False)
    before = Path("run/encoder/weights.safetensors").read_bytes()
    try:
        _encoder("a.npy", out="run", report=False, epochs=3, resume=True)
    finally:
        assert Path("run/encoder/weights.safetensors").read_bytes() == before


@AREA.refused("--resume of a finished run without a setting that it had", "train.seed was 5, now 0")
def _(folder: Path, listener: Listener) -> None:
    np.save("a.npy", _numbers())
    _encoder("a.npy", out="run", report=False, seed=5)
    _encoder("a.npy", out="run", report=False, resume=True)


@AREA.refused("--resume of a finished run whose file has other values now", "samples have other values or ids")
def _(folder: Path, listener: Listener) -> None:
    np.save("a.npy", _numbers())
    _encoder("a.npy", out="run", report=False)
    np.save("a.npy", _numbers(seed=1))
    _encoder("a.npy", out="run", report=False, resume=True)


@AREA.refused("--resume of a finished run whose file has more samples now", "samples was 40, now 44")
def _(folder: Path, listener: Listener) -> None:
    np.save("a.npy", _numbers())
    _encoder("a.npy", out="run", report=False)
    np.save("a.npy", _numbers(44))
    _encoder("a.npy", out="run", report=False, resume=True)


@AREA.refused("--resume of a finished run with another array", "samples have other values or ids")
def _(folder: Path, listener: Listener) -> None:
    _encoder(_numbers(), out="run", report=False)
    _encoder(_numbers(seed=1), out="run", report=False, resume=True)


@AREA.changed("--resume of a finished run with the same settings", "run is already finished; nothing to resume")
def _(folder: Path, listener: Listener) -> None:
    np.save("a.npy", _numbers())
    first = _encoder("a.npy", out="run", report=False)
    again = _encoder(folder / "a.npy", out="run", report=False, resume=True, progress=listener)
    assert again.digest == first.digest


@AREA.right("the weights of a finished run, trained for more epochs into another folder")
def _(folder: Path, listener: Listener) -> None:
    np.save("a.npy", _numbers())
    first = _encoder("a.npy", out="run", report=False)
    more = _encoder("a.npy", out="more", report=False, overrides={"encoder.weights": "run"})
    assert more.record["weights"]["digest"] == first.digest != more.digest


@AREA.refused("--resume of finished fine-tuning with other settings", "per_class was None, now 5")
def _(folder: Path, listener: Listener) -> None:
    encoder, labels = _encoder(), np.arange(40) % 2
    for per_class in (None, 5):
        aekit.finetune(
            encoder, _numbers(), labels=labels, epochs=1, baselines=False, out="tuned", per_class=per_class,
            resume=per_class is not None,
        )  # fmt: skip


@AREA.refused("--resume of finished fine-tuning with other labels", "labels was ")
def _(folder: Path, listener: Listener) -> None:
    encoder = _encoder()
    for resume, labels in ((False, np.arange(40) % 2), (True, np.arange(40) // 20)):
        aekit.finetune(encoder, _numbers(), labels=labels, epochs=1, baselines=False, out="tuned", resume=resume)


# Plugins


@AREA.refused("an unknown --no-plugin", "--no-plugin: no plugin or distribution 'knnn'; did you mean 'knn'?")
def _(folder: Path, listener: Listener) -> None:
    try:
        listener.command("--no-plugin", "knnn", "plugins")
    finally:
        _enable_again()


@AREA.right("a known --no-plugin")
def _(folder: Path, listener: Listener) -> None:
    try:
        lines = listener.command("--no-plugin", "aekit/knn", "plugins").splitlines()
        assert not any(line.startswith("evaluator  knn ") for line in lines)
    finally:
        _enable_again()


def _enable_again() -> None:
    import os

    _disabled_by_command_line.clear()
    os.environ.pop("AEKIT_DISABLE_PLUGINS", None)
    registry.cache_clear()


# Too few samples


@AREA.refused(
    "a single sample to train on", "1 sample: an encoder learns what differs between samples; expected 2 or more"
)
def _(folder: Path, listener: Listener) -> None:
    _encoder(_numbers(1))


@AREA.refused("two samples of which one has a NaN", "1 sample; 1 could not be used")
def _(folder: Path, listener: Listener) -> None:
    values = _numbers(2)
    values[1, 0] = np.nan
    _encoder(values)


@AREA.right("two samples to train on")
def _(folder: Path, listener: Listener) -> None:
    assert len(_encoder(_numbers(2)).embed(_numbers(2))) == 2


@AREA.right("a single sample to embed")
def _(folder: Path, listener: Listener) -> None:
    encoder = _encoder()
    assert np.allclose(encoder.embed(_numbers()[:1]).vectors, encoder.embed(_numbers()).vectors[:1], atol=1e-6)


@AREA.refused(
    "evaluation with one sample of each class", "the largest of 20 classes has 1 of 20 samples; expected 5 or more"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.evaluate(_numbers(20), np.arange(20))


@AREA.refused(
    "fine-tuning with one sample of each class", "the largest of 20 classes has 1 of 20 samples; expected 5 or more"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.finetune(_encoder(), _numbers(20), labels=np.arange(20), epochs=1)


@AREA.right("a class of two samples beside larger ones")
def _(folder: Path, listener: Listener) -> None:
    labels = np.array([0] * 30 + [1] * 30 + [2] * 2)
    split = make_split(labels)
    assert {60, 61} <= set(split.train.tolist()) and len(split.test) == 12


@AREA.refused("a class in data.only_labels that no sample has", "no sample with label 'three'; available: one, two")
def _(folder: Path, listener: Listener) -> None:
    source = ArraySource(_numbers(), labels=np.array(["one", "two"] * 20))
    _encoder(source, overrides={"data.only_labels": ["three"]})


@AREA.refused("HDBSCAN of four samples", "4 embeddings: HDBSCAN needs at least 5")
def _(folder: Path, listener: Listener) -> None:
    aekit.find_clusters(_numbers(4), method="hdbscan")


@AREA.refused("HDBSCAN that finds no dense region", "no clusters: no dense region among 6 samples; try kmeans")
def _(folder: Path, listener: Listener) -> None:
    aekit.find_clusters(_numbers(6, 8), method="hdbscan")


@AREA.refused("k-means with more clusters than samples", "4 embeddings: 5 clusters need at least 6")
def _(folder: Path, listener: Listener) -> None:
    aekit.find_clusters(_numbers(4), clusters=5)


@AREA.refused(
    "evaluation of the clusters of four samples", "2 training samples: expected more than 2 to find clusters in"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.evaluate(_numbers(4), evaluators=["kmeans"])


@AREA.refused("anomalies among four samples", "4 reference samples: a detector needs at least 10")
def _(folder: Path, listener: Listener) -> None:
    _encoder(_numbers(4)).save("encoder")
    np.save("x.npy", _numbers(4))
    listener.command("anomalies", "encoder", "x.npy", "--reference", "x.npy", "-o", "found")


# Batches


def _contrastive(pretext: str) -> None:
    _encoder(_numbers(65), variants=None, pretexts=[pretext], overrides={"train.batch_size": 1})


for _pretext in ("simclr", "vicreg", "barlow-twins", "byol", "dino", "simsiam"):

    @AREA.refused(
        f"batches of 1 for {_pretext}, which compares samples",
        "train.batch_size = 1: the objective compares the samples of a batch; expected 2 or more",
    )
    def _(folder: Path, listener: Listener, pretext: str = _pretext) -> None:
        _contrastive(pretext)


@AREA.refused("batches of 1 for a network with batch norms", "the network has a batch norm, which needs several values")
def _(folder: Path, listener: Listener) -> None:
    _encoder(_images(6, (4, 4)), backbone="conv", overrides={"train.batch_size": 1})


@AREA.right("65 samples in batches of 64 for a task that compares samples")
def _(folder: Path, listener: Listener) -> None:
    encoder = _encoder(_numbers(65), variants=None, pretexts=["simclr"], overrides={"train.batch_size": 64})
    assert np.isfinite(encoder.embed(_numbers(65)).vectors).all()


@AREA.right("65 samples in parts of 64 for a full-batch optimizer: no part is left with one sample")
def _(folder: Path, listener: Listener) -> None:
    source = ArraySource(_numbers(65))
    samples = aekit.data.samples.load_samples(source, np.arange(65), torch.device("cpu"))
    assert [len(batch.raw) for batch in Batches(samples, 64, 0).all()] == [33, 32]


# Values that are too large


@AREA.refused("an array with values of -1e300", "at (1,): beyond the range of float32")
def _(folder: Path, listener: Listener) -> None:
    values = _numbers().astype(np.float64)
    values[:, 1] *= -1e300
    _encoder(values)


@AREA.refused("series with values of 1e39", "in channel 1: beyond the range of float32")
def _(folder: Path, listener: Listener) -> None:
    values = np.random.default_rng(0).normal(size=(20, 2, 16))
    values[:, 1] *= 1e39
    _encoder(values)


@AREA.right("a column with values of 1e30")
def _(folder: Path, listener: Listener) -> None:
    values = _numbers()
    values[:, 0] *= 1e30
    vectors = _encoder(values).embed(values).vectors
    assert np.isfinite(vectors).all() and vectors.std(0).min() > 0


# Training that is not finite


class Fragile(Objective):
    """Reconstruct the mean of the samples; not finite from the second step on in the named precisions."""

    def __init__(self, breaks: tuple[torch.dtype, ...], weights: bool = False) -> None:
        super().__init__()
        self.encoder, self.breaks, self.weights = _encoder(), breaks, weights
        self.register_buffer("steps", torch.zeros(()))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        loss = self.encoder.encode(self.encoder.preprocess(batch.raw)).float().square().mean()
        self.steps += 1
        precision = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        broken = self.steps >= 2 and precision in self.breaks
        factor = float("nan") if broken else 1.0
        if broken and self.weights:
            loss = loss + (0 * loss).sqrt()  # 0, with a gradient that is not a number
        return {"loss": loss * (1 if self.weights else factor)}


def _train(objective: Objective, said: list[str]) -> Iterator[dict[str, float]]:
    samples = aekit.data.samples.load_samples(ArraySource(_numbers()), np.arange(40), torch.device("cpu"))
    settings = Settings(epochs=2, batch_size=10, precision="bf16", warmup=0)
    yield from train(State.start(objective, settings), Batches(samples, 10, 0), settings, said.append)


@AREA.changed("a loss that is not finite in bf16", "step 2: loss is nan in bf16; repeating it and continuing in fp32")
def _(folder: Path, listener: Listener) -> None:
    records = list(_train(Fragile((torch.bfloat16,)), listener.lines))
    assert [record["step"] for record in records] == list(range(1, 9))
    assert all(np.isfinite(record["loss"]) for record in records)


@AREA.changed(
    "a gradient that is not finite in bf16", "step 2: a gradient is nan in bf16; repeating it and continuing in fp32"
)
def _(folder: Path, listener: Listener) -> None:
    objective = Fragile((torch.bfloat16,), weights=True)
    assert len(list(_train(objective, listener.lines))) == 8
    assert all(torch.isfinite(parameter).all() for parameter in objective.parameters())
    assert objective.steps == 8, "buffers are set back too"


@AREA.refused("a loss that is not finite in fp32 either", "step 2: loss is nan; lower train.lr")
def _(folder: Path, listener: Listener) -> None:
    list(_train(Fragile((torch.bfloat16, torch.float32)), listener.lines))


@AREA.refused("a loss that is not finite after a checkpoint", "the checkpoint of step 1 is kept")
def _(folder: Path, listener: Listener) -> None:
    samples = aekit.data.samples.load_samples(ArraySource(_numbers()), np.arange(40), torch.device("cpu"))
    settings = Settings(epochs=2, batch_size=10, precision="fp32", checkpoint_seconds=0)
    objective = Fragile((torch.float32,), weights=True)
    phase = Phase("fit", objective, Batches(samples, 10, 0), settings)
    try:
        list(run_phase(phase, State.start(objective, settings), folder / "checkpoint", listener))
    finally:
        fresh = State.start(Fragile(()), settings)
        fresh.restore(folder / "checkpoint")
        assert fresh.step == 1 and all(torch.isfinite(p).all() for p in fresh.objective.parameters())


for _width in (1, 2):

    @AREA.right(f"images {_width} pixels wide, in whatever precision the machine trains")
    def _(folder: Path, listener: Listener, width: int = _width) -> None:
        images = _images(70, (20, width))
        encoder = aekit.fit(images, dim=2, epochs=1, overrides={"train.precision": "bf16"})
        vectors = encoder.embed(images).vectors
        assert np.isfinite(vectors).all() and vectors.std(0).min() > 0


@AREA.refused("an encoder with a weight that is not finite, to save", "is not finite; not saved")
def _(folder: Path, listener: Listener) -> None:
    encoder = _encoder()
    next(encoder.head.parameters()).data[0] = float("nan")
    save_weights(encoder, folder / "weights.safetensors")


# Encoder.forward


def _image_encoder(dtype: str = "uint8") -> tuple[aekit.Encoder, torch.Tensor]:
    images = _images(20, dtype=dtype)
    return _encoder(images), torch.from_numpy(images)


@AREA.refused(
    "encoder(x / 255) of an encoder of uint8 images",
    "samples are image 3x8x8 float32, the encoder takes image 3x8x8 uint8",
)
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder()
    encoder(images / 255)


@AREA.refused("encoder(x.float()) of an encoder of uint8 images", "samples are image 3x8x8 float32, the encoder takes")
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder()
    encoder(images.float())


@AREA.refused("encoder(x.long()) of an encoder of uint8 images", "samples are image 3x8x8 int64, the encoder takes")
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder()
    encoder(images.long())


@AREA.refused(
    "encoder(x * 255) of an encoder of images in [0, 1]",
    "the encoder takes image 3x8x8 float32 with values from 0 to 1",
)
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder("float32")
    encoder(images * 255)


@AREA.refused(
    "uint8 images for an encoder of images in [0, 1]",
    "samples are image 3x8x8 uint8, the encoder takes image 3x8x8 float32",
)
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder("float32")
    encoder((images * 255).to(torch.uint8))


@AREA.refused("channels last for encoder(x)", "samples are image 8x8x3 uint8, the encoder takes image 3x8x8 uint8")
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder()
    encoder(images.permute(0, 2, 3, 1))


@AREA.right("float64 images for an encoder of float32 images in [0, 1]")
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder("float32")
    assert torch.allclose(encoder(images.double()), encoder(images))


@AREA.right("a traced encoder of images in [0, 1]")
def _(folder: Path, listener: Listener) -> None:
    encoder, images = _image_encoder("float32")
    program = torch.export.export(encoder.eval(), (images[:4],))
    assert torch.allclose(program.module()(images[:4]), encoder(images[:4]), atol=1e-5)


# Search


def _search_folder() -> None:
    for name in ("p", "q"):
        Path(name).mkdir()
        for number, pixels in enumerate(_images(6)):
            Image.fromarray(pixels.transpose(1, 2, 0)).save(f"{name}/{number}.png")
    _encoder("p").embed("p", out="embeddings")
    build_index("embeddings", "index")


@AREA.changed("a search with one bad file in the folder of queries", "query broken.png: empty file; skipped")
def _(folder: Path, listener: Listener) -> None:
    _search_folder()
    Path("q/broken.png").touch()
    hits = json.loads(listener.command("search", "index", "q", "-k", "1", "--json"))
    assert [(hit["query"], hit["id"]) for hit in hits] == [(f"{n}.png", f"{n}.png") for n in range(6)]


@AREA.changed("a search with one query that is not there", "no such file or folder")
def _(folder: Path, listener: Listener) -> None:
    _search_folder()
    hits = json.loads(listener.command("search", "index", "q/1.png", "q/nine.png", "id:none", "-k", "1", "--json"))
    assert [hit["id"] for hit in hits] == ["1.png"]


@AREA.refused("a search whose only query cannot be read", "none of 1 samples can be used: broken.png: empty file")
def _(folder: Path, listener: Listener) -> None:
    _search_folder()
    Path("q/broken.png").touch()
    listener.command("search", "index", "q/broken.png")


# What is printed


@AREA.changed("names with blanks", "next: aekit embed 'my run' ")
def _(folder: Path, listener: Listener) -> None:
    Path("my data").mkdir()
    np.save("my data/x.npy", _numbers())
    listener.command(
        "fit", "my data/x.npy", "-o", "my run", "--dim", 2, "--epochs", 1, "--variant", "plain", "--no-report"
    )
    (line,) = [line for line in listener.lines if line.startswith("next: ")]
    assert line.endswith("my data/x.npy' -o 'my run-embeddings'")


@AREA.right("a few test samples that are no better than guessing: no conclusion")
def _(folder: Path, listener: Listener) -> None:
    labels = np.arange(60) % 2
    evaluation = aekit.evaluate(_numbers(60), labels, evaluators=["knn"])
    assert "oo few test samples to tell from guessing on k-nearest neighbors" in evaluation.headline


@AREA.right("accuracy just above the majority class, within chance: no better than guessing")
def _(folder: Path, listener: Listener) -> None:
    rng = np.random.default_rng(1)
    evaluation = aekit.evaluate(rng.normal(size=(1500, 4)), rng.integers(0, 2, 1500), evaluators=["knn"])
    assert "no better than guessing on k-nearest neighbors" in evaluation.headline.replace("No better", "no better")


@AREA.changed("HDBSCAN that finds nothing to evaluate", "note: hdbscan found no dense region")
def _(folder: Path, listener: Listener) -> None:
    evaluation = aekit.evaluate(_numbers(80, 8), evaluators=["hdbscan", "kmeans"])
    assert evaluation.results["encoder"]["hdbscan"].metrics["clusters"].value == 0
    listener.lines += evaluation.text().splitlines()


@AREA.changed("two clusters of 119 and 1", "99% of them in one cluster: the others are outliers rather than clusters")
def _(folder: Path, listener: Listener) -> None:
    clusters = aekit.find_clusters(np.vstack([_numbers(119), np.full((1, 4), 80, np.float32)]))
    assert np.bincount(clusters.clusters).tolist() == [119, 1]
    listener.lines += clusters.text().splitlines()


@AREA.changed("anomalies that score below chance", "ranks anomalies as more normal than normal samples: an AUROC of 0.")
def _(folder: Path, listener: Listener) -> None:
    values = np.vstack([3 * _numbers(200), 0.05 * _numbers(60)])
    np.savez("x.npz", X=values, y=np.repeat([0, 1], [200, 60]))
    _encoder("x.npz", out="run", report=False)
    listener.lines += aekit.find_anomalies("run", "x.npz").text().splitlines()


@AREA.changed("a class folder without images", "folders without a sample, which are not classes: c")
def _(folder: Path, listener: Listener) -> None:
    for name in "abc":
        Path("data", name).mkdir(parents=True)
    for number, pixels in enumerate(_images(4)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(f"data/{'ab'[number % 2]}/{number}.png")
    assert sorted(set(aekit.open_data("data").labels.tolist())) == ["a", "b"]


@AREA.changed("a class folder without images inside a split", "folders without a sample, which are not classes: c")
def _(folder: Path, listener: Listener) -> None:
    for split in ("train", "test"):
        for name in "abc":
            Path("data", split, name).mkdir(parents=True)
        for number, pixels in enumerate(_images(4)):
            Image.fromarray(pixels.transpose(1, 2, 0)).save(f"data/{split}/{'ab'[number % 2]}/{number}.png")
    assert len(aekit.open_data("data")) == 8
