"""Metrics of a trained encoder, on the faster copy of its network and in one pass, are those of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aekit.data.samples import CHUNK_BYTES, Samples, chunk_size
from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import build_encoder
from aekit.encoder.preprocessing import fit_preprocess
from aekit.evaluation.checks.training_metrics import training_metrics
from aekit.objectives.autoencoder import Autoencoder

CPU = torch.device("cpu")
SPEC = SampleSpec("image", (3, 32, 32), "uint8")


def samples(count: int, seed: int = 0) -> Samples:
    raw = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, *SPEC.shape), dtype=np.uint8))
    return Samples(SPEC, np.arange(count), raw, CPU)


def autoencoder(normalize: bool = False) -> Autoencoder:
    preprocess, _ = fit_preprocess(samples(100))
    architecture = {
        "backbone": {"name": "conv", "options": {}},
        "head": None,
        "dim": 6,
        "normalize": normalize,
    }
    encoder = build_encoder(SPEC, preprocess, architecture, seed=0)
    network = Autoencoder(encoder, encoder.decoder(), {}, "mse")
    network.train()
    for raw in samples(64, seed=2).chunks(16):  # so that batch norms have statistics of their own
        network.reconstruct(raw)
    return network.eval()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("other_targets", [False, True])
def test_metrics_are_those_of_the_network(normalize: bool, other_targets: bool) -> None:
    network, data = autoencoder(normalize), samples(100)
    targets = samples(100, seed=1) if other_targets else None
    metrics = training_metrics(network.encoder, data, network, targets)
    with torch.no_grad():
        clean = network.encoder.preprocess((targets or data).batch(torch.arange(100)))
        error = (network.reconstruct(data.batch(torch.arange(100))) - clean).square()
        explained = 1 - error.sum() / (clean - clean.mean(0)).square().sum()
        alone = training_metrics(network.encoder, data, None)
    assert metrics["explained"] == pytest.approx(float(explained), abs=1e-4)
    assert metrics["mse"] == pytest.approx(float(error.mean()), rel=1e-3)
    assert metrics["psnr"] == pytest.approx(-10 * np.log10(float(error.mean())), abs=0.01)
    assert (metrics["effective_rank"], metrics["dead_units"]) == (alone["effective_rank"], alone["dead_units"])


@pytest.mark.parametrize("normalize", [False, True])
def test_embeddings_come_with_what_the_decoder_makes_of_them(normalize: bool) -> None:
    network, raw = autoencoder(normalize), samples(5).data
    assert isinstance(raw, torch.Tensor)
    with torch.no_grad():
        embedded = network.encoder(raw)
        errors, output = network.errors(raw), network.reconstruct(raw)
        with_errors, with_output = network.embed_with_errors(raw), network.embed_with_reconstruction(raw)
    torch.testing.assert_close(with_errors, torch.cat([embedded, errors[:, None] / SPEC.size], 1), rtol=0, atol=0)
    torch.testing.assert_close(with_output, torch.cat([embedded, output.flatten(1)], 1), rtol=0, atol=0)


def test_large_samples_come_in_small_chunks() -> None:
    spec = SampleSpec("image", (3, 512, 512), "uint8")
    count = CHUNK_BYTES // (8 * spec.size)
    assert 1 <= count < 7
    assert chunk_size(spec) == count
    assert chunk_size(SPEC, 256) == 256
    assert chunk_size(SampleSpec("image", (3, 4096, 4096), "uint8")) == 1
    data = Samples(spec, np.arange(7), torch.zeros(7, *spec.shape, dtype=torch.uint8), CPU)
    assert [len(raw) for raw in data.chunks()] == [count] * (7 // count) + ([7 % count] if 7 % count else [])
