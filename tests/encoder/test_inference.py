"""The engine computes what the network computes, in batches that fit, and in the precision that it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from commands import Command, Said
from torch import Tensor, nn

import aekit
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.data.stream import AHEAD, read_ahead
from aekit.encoder import embedding, inference
from aekit.encoder._folding import faster_copy, observe
from aekit.encoder.encoder import Encoder, build_encoder
from aekit.encoder.inference import Inference
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import DataError, IdentityError, RecipeError

CPU = torch.device("cpu")
SPECS = {
    "image": SampleSpec("image", (3, 32, 32), "uint8"),
    "gray": SampleSpec("image", (1, 28, 28), "uint8"),
    "series": SampleSpec("series", (2, 48), "float32"),
    "clip": SampleSpec("clip", (1, 8, 16, 16), "uint8"),
    "vector": SampleSpec("vector", (20,), "float32"),
}
TIMM = {"model": "tf_efficientnet_lite0", "size": 64}
NETWORKS: list[tuple[str, str, dict[str, Any], bool]] = [
    *((name, kind, {}, True) for name in ("conv", "resnet") for kind in ("image", "gray", "series", "clip")),
    *(("conv", kind, {"norm": "group"}, False) for kind in ("image", "series", "clip")),
    *((name, kind, {}, False) for name in ("mlp", "linear") for kind in SPECS),
    ("timm", "image", TIMM, True),
    ("timm", "image", {"model": "resnet18", "size": 64}, True),
    ("timm", "image", {"model": "vit_tiny_patch16_224", "size": 32}, False),
]


def make_encoder(backbone: str, kind: str, options: dict[str, Any], dim: int = 5, normalize: bool = True) -> Encoder:
    """Build an encoder whose batch norms have statistics of their own, as after training."""
    spec = SPECS[kind]
    shape = spec.shape if spec.is_vector else (spec.shape[0],) + (1,) * (len(spec.shape) - 1)
    scale = torch.full(shape, 1 / 255 if spec.dtype == "uint8" else 1.0)
    preprocess = Preprocess("unit", True, scale, 0 * scale, 0 * scale, 0 * scale + 1)
    architecture = {
        "backbone": {"name": backbone, "options": options},
        "head": None,
        "dim": dim,
        "normalize": normalize,
    }
    encoder = build_encoder(spec, preprocess, architecture, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for name in ("running_mean", "bias"):
                getattr(module, name).data.normal_(0, 0.2, generator=generator)
            for name in ("running_var", "weight"):
                getattr(module, name).data.uniform_(0.5, 2, generator=generator)
    return encoder.eval()


def draw(spec: SampleSpec, count: int = 70) -> np.ndarray:
    rng = np.random.default_rng(0)
    if spec.dtype == "uint8":
        return rng.integers(0, 256, (count, *spec.shape), dtype=np.uint8)
    return rng.random((count, *spec.shape), dtype=np.float32)


def memory_formats(network: nn.Module) -> list[tuple[int, ...]]:
    return [parameter.stride() for parameter in network.parameters()]


@pytest.mark.parametrize(("backbone", "kind", "options", "folds"), NETWORKS)
def test_the_engine_computes_what_the_network_computes(
    backbone: str, kind: str, options: dict[str, Any], folds: bool
) -> None:
    if backbone == "timm":
        pytest.importorskip("timm")
    encoder = make_encoder(backbone, kind, options)
    raw = torch.from_numpy(draw(encoder.spec))
    digest, strides = encoder.digest, memory_formats(encoder)
    engine = Inference(encoder, len(raw), device=CPU)
    vectors = engine(raw)
    with torch.inference_mode():
        expected = encoder(raw)
        seen = observe(encoder, lambda network: network(raw[:2]))
    assert vectors.dtype == torch.float32 and engine.precision == "fp32"
    assert (vectors - expected).norm(dim=1).max() < 1e-4  # of unit length
    assert bool(seen.pairs) == folds
    norms = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())
    assert len(seen.pairs) == norms, "every batch norm is folded"
    assert (engine._network is encoder) == (not folds and not seen.has_convolutions)
    assert encoder.digest == digest and memory_formats(encoder) == strides


def test_embedding_uses_the_copy_and_leaves_the_encoder_alone(tmp_path: Path) -> None:
    encoder = make_encoder("conv", "gray", {}, normalize=False)
    images = draw(encoder.spec)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(images)).numpy()
    for embeddings in (
        encoder.embed(images),
        encoder.embed(images, batch_size=7),
        encoder.embed(images, out=tmp_path / "e"),
    ):
        assert np.allclose(embeddings.vectors, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
        assert (
            embeddings.digest == encoder.digest and embeddings.precision == embeddings.manifest["precision"] == "fp32"
        )
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


class TwoUses(nn.Module):
    """Uses the output of a convolution beside its batch norm, which may then not be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(3)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return (self.norm(x) + x).flatten(1)


class WithLock(nn.Sequential):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
        self.lock = threading.Lock()


@pytest.mark.parametrize("make", [TwoUses, WithLock])
def test_what_cannot_be_folded_runs_as_it_is(make: Callable[[], nn.Module]) -> None:
    network, x = make().eval(), torch.rand(80, 1, 6, 6)
    engine = Inference(network, len(x), device=CPU)
    with torch.inference_mode():
        assert torch.equal(engine(x), network(x))
    assert engine._network is network


def test_a_fold_that_changes_the_output_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval(), torch.rand(8, 4)

    def run(copy: nn.Module) -> Tensor:
        return copy(x)

    with torch.inference_mode():
        seen = observe(network, run)
        assert len(seen.pairs) == 1
        copy = faster_copy(network, seen, run)
        assert copy is not network and torch.allclose(copy(x), network(x), atol=1e-6)
        seen.output = seen.output * 1.001
        assert faster_copy(network, seen, run) is network


@pytest.mark.parametrize(("groups", "folded"), [(1, True), (2, False)])
def test_batch_norms_after_transposed_convolutions(groups: int, folded: bool) -> None:
    """Of several groups, the channels of the output are spread over two axes of the weight."""
    layer, norm = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=groups), nn.BatchNorm2d(6)
    network, x = nn.Sequential(layer, norm, nn.Flatten()), torch.rand(80, 4, 5, 5)
    network.train()(x)  # statistics of the norm
    engine = Inference(network.eval(), len(x), device=CPU)
    with torch.inference_mode():
        assert torch.allclose(engine(x), network(x), atol=1e-5)
        assert bool(observe(network, lambda network: network(x)).pairs) == folded
    assert engine._network is not network and engine._network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_outputs_of_functions_count_as_those_of_layers() -> None:
    """The patch dictionary calls `conv2d`: with batches for its features alone, embedding took three times as long."""

    class Functions(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            wide = nn.functional.relu(nn.functional.conv2d(x, torch.ones(16, 1, 3, 3)))
            return wide.mean((2, 3)).expand(1000, len(x), 16)[0]

    assert observe(Functions(), lambda network: network(torch.rand(4, 1, 10, 10))).largest == 4 * 16 * 8 * 8


def test_a_norm_in_training_mode_is_not_folded() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
    assert not observe(network, lambda network: network(torch.rand(8, 4))).pairs


def test_batches_are_sized_by_the_largest_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder("conv", "image", {})
    largest = 32 * 16 * 16 * 4  # bytes of the first stage's output
    monkeypatch.setattr(inference, "ACTIVATION_BYTES", 3 * largest + 1)
    sizes: list[int] = []
    forward = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, raw: (sizes.append(len(raw)), forward(self, raw))[1])
    encoder.embed(draw(encoder.spec, 100))
    assert max(sizes[2:]) == 3  # after the observed pass and that of the copy
    sizes.clear()
    encoder.embed(draw(encoder.spec, 100), batch_size=50)
    assert sizes[2:] == [50, 50]


def test_few_samples_are_computed_without_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder("conv", "gray", {})
    sizes: list[int] = []
    forward = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, raw: (sizes.append(len(raw)), forward(self, raw))[1])
    encoder.embed(draw(encoder.spec, 3))
    assert sizes == [3]


def test_reading_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder("mlp", "gray", {})
    monkeypatch.setattr(embedding, "READ_BYTES", 10 * encoder.spec.nbytes + 1)
    source, sizes = ArraySource(draw(encoder.spec, 95)), list[int]()
    read = source.read
    monkeypatch.setattr(source, "read", lambda indices: (sizes.append(len(indices)), read(indices))[1])
    monkeypatch.setattr(source, "fingerprints", lambda indices: [str(index) for index in indices])
    embeddings = encoder.embed(source)
    assert sizes == [2] + [10] * 9 + [5] and list(embeddings.ids) == [str(number) for number in range(95)]


def test_reading_ahead_keeps_the_order_and_its_bound() -> None:
    started: list[int] = []

    def read(part: int) -> int:
        started.append(part)
        time.sleep(0.002 * (part % 3))
        return part * part

    received = []
    for result in read_ahead(read, range(20)):
        time.sleep(0.004)
        received.append(result)
        assert len(started) <= len(received) + AHEAD
    assert received == [part * part for part in range(20)] and started == list(range(20))


def test_reading_ahead_raises_and_stops() -> None:
    started: list[int] = []

    def read(part: int) -> int:
        started.append(part)
        if part == 3:
            raise DataError("part 3 is unreadable")
        return part

    received: list[int] = []
    with pytest.raises(DataError, match="part 3 is unreadable"):
        received.extend(iter(read_ahead(read, range(100))))
    assert received == [] or received == [0, 1, 2]
    assert max(started) <= 3 + AHEAD
    started.clear()
    reading: Iterator[int] = read_ahead(read, [0, 1, 2] * 10)
    assert next(reading) == 0
    reading.close()  # type: ignore[attr-defined]
    count = len(started)
    time.sleep(0.02)
    assert len(started) == count <= 1 + AHEAD, "nothing is read after the reader is closed"


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Hardware that multiplies in bf16, and a comparison for every number of samples, which bf16 always wins."""
    monkeypatch.setattr(inference, "multiplies_bf16", lambda device: True)
    monkeypatch.setattr(inference, "COMPARISON_PAYS", 0)
    monkeypatch.setattr(inference, "MIN_SPEEDUP", 0)
    monkeypatch.setattr(inference, "MIN_SECONDS", 0)
    monkeypatch.setattr(inference, "MIN_COSINE", 0.999)
    return monkeypatch


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return make_encoder("mlp", "gray", {"hidden": [32]})


def test_auto_takes_bf16_where_it_agrees_and_says_so(
    eager: pytest.MonkeyPatch, encoder: Encoder, tmp_path: Path
) -> None:
    images, said = draw(encoder.spec, 40), Said()
    embeddings = encoder.embed(images, out=tmp_path / "e", progress=said)
    assert "computing in bf16" in said and "mean cosine similarity to fp32" in said
    assert embeddings.precision == aekit.Embeddings.open(tmp_path / "e").manifest["precision"] == "bf16"
    (part,) = (tmp_path / "e").glob("part-*.parquet")
    assert pq.read_schema(part).metadata[b"aekit.precision"] == b"bf16"
    reference = encoder.embed(images, precision="fp32")
    assert not np.array_equal(reference.vectors, embeddings.vectors)
    assert (reference.vectors * embeddings.vectors).sum(1).mean() > 0.999
    assert np.allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, atol=1e-6), "lengths are as exact as in fp32"
    assert encoder.embed(images).precision == "bf16" and encoder.embed(images)[:3].precision == "bf16"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("multiplies_bf16", lambda device: False, ""),
        ("COMPARISON_PAYS", 2, ""),
        ("MIN_SPEEDUP", 1e9, ""),
        ("MIN_SECONDS", 1e9, ""),
        ("agreement", lambda vectors, reference: (0.9, 1.0), "computing in fp32: bf16 does not agree (mean cosine"),
        ("agreement", lambda vectors, reference: (1.0, 0.9), "computing in fp32: bf16 does not agree (mean cosine"),
    ],
)
def test_auto_keeps_fp32_otherwise(
    eager: pytest.MonkeyPatch, encoder: Encoder, name: str, value: Any, line: str
) -> None:
    eager.setattr(inference, name, value)
    images, said = draw(encoder.spec, 40), Said()
    embeddings = encoder.embed(images, progress=said)
    assert embeddings.precision == "fp32" and sum(text.startswith("computing") for text in said.lines) == bool(line)
    assert not line or line in said
    assert np.array_equal(embeddings.vectors, encoder.embed(images, precision="fp32").vectors)


def test_agreement_sees_vectors_that_all_point_the_same_way() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.ones(32, 16) + 1e-3 * torch.randn(32, 16, generator=generator)
    cosine, centered = inference.agreement(reference.bfloat16().float(), reference)
    assert cosine > 0.9999 and centered < 0.9
    assert inference.agreement(reference, reference) == pytest.approx((1, 1), abs=1e-5)


def test_a_folder_goes_on_in_its_precision(eager: pytest.MonkeyPatch, encoder: Encoder, tmp_path: Path) -> None:
    images, out, said = draw(encoder.spec, 40), tmp_path / "e", Said()
    encoder.embed(images[:30], out=out, precision="bf16")
    eager.setattr(inference, "multiplies_bf16", lambda device: False)
    grown = encoder.embed(images, out=out, progress=said)
    assert f"computing in bf16, as the vectors in {out}" in said
    assert grown.precision == "bf16" and len(grown) == 40
    assert np.allclose(grown.vectors, encoder.embed(images, precision="bf16").vectors, atol=1e-6)
    with pytest.raises(IdentityError, match="holds vectors computed in bf16, not in fp32; leave out the precision"):
        encoder.embed(images, out=out, precision="fp32")
    encoder.embed(images[:30], out=tmp_path / "f", precision="fp32")
    eager.setattr(inference, "multiplies_bf16", lambda device: True)
    assert encoder.embed(images, out=tmp_path / "f").precision == "fp32", "although auto would take bf16"


def test_an_index_refuses_another_precision_and_searches_in_its_own(
    eager: pytest.MonkeyPatch, encoder: Encoder, tmp_path: Path
) -> None:
    images = draw(encoder.spec, 40)
    bf16, fp32 = (encoder.embed(images, precision=precision) for precision in ("bf16", "fp32"))
    index = aekit.build_index(bf16, tmp_path / "i")
    opened = aekit.open_index(tmp_path / "i")
    assert index.precision == opened.precision == opened.manifest["precision"] == "bf16"
    with pytest.raises(IdentityError, match="these were in fp32; embed with precision bf16, or choose another folder"):
        aekit.build_index(fp32, tmp_path / "i")
    with pytest.raises(
        IdentityError, match="was computed in bf16, but the query is in fp32; embed with precision bf16"
    ):
        opened.search(fp32)
    with pytest.raises(IdentityError, match="computed in bf16, but the other in fp32"):
        bf16.similarity(fp32)
    ids, scores, _ = opened.search_data(images[:5], 1, encoder=encoder)
    assert np.allclose(scores, 1, atol=1e-6), "queries are computed in the precision of the index"
    assert [str(name) for name in ids] == [str(number) for number in range(5)]


def test_an_unknown_precision_is_refused(encoder: Encoder) -> None:
    with pytest.raises(RecipeError, match="precision = 'fp16': expected 'auto', 'fp32' or 'bf16'"):
        encoder.embed(draw(encoder.spec, 3), precision="fp16")


def test_the_command_line_takes_a_precision(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = Command(monkeypatch, capfd)
    encoder.save(tmp_path / "encoder")
    np.save(tmp_path / "images.npy", draw(encoder.spec, 40), allow_pickle=False)
    arguments = ("embed", tmp_path / "encoder", tmp_path / "images.npy", "-o", tmp_path / "e")
    assert '"precision": "bf16"' in command.ok(*arguments, "--precision", "bf16", "--json")
    assert "holds vectors computed in bf16, not in fp32" in command(*arguments, "--precision", "fp32").error
    assert '"precision": "bf16"' in command.ok(*arguments, "--json")
