"""The scaling that is read from the folder of an encoder is that of the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aekit
from aekit.analysis._samples_image import draw_embedded
from aekit.encoder.makers import available_samples
from aekit.encoder.stored_scaling import StoredScale, read_scale
from aekit.errors import DataError, IdentityError
from aekit.visualization.rendering import DisplayScale
from aekit.visualization.sprite_cells import SpriteSheetBuilder

RNG = np.random.default_rng(0)
DATA: dict[str, Any] = {
    "images": RNG.integers(0, 256, (40, 3, 8, 8), np.uint8),
    "deep images": RNG.integers(1000, 9000, (40, 1, 8, 8), np.uint16),
    "float images": RNG.normal(size=(40, 2, 8, 8)).astype(np.float32),
    "series": (RNG.normal(size=(40, 2, 300)) * [[1], [50]]).astype(np.float32),
    "vectors": (RNG.normal(size=(40, 5)) * [1, 10, 1e-3, 0, 7] + 3).astype(np.float32),
    "seconds since 1970": RNG.normal(size=(40, 3)) + [1.7e9, 0, 5],
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_samples_are_drawn_as_by_the_encoder(data: np.ndarray, tmp_path: Path) -> None:
    encoder = aekit.fit(data, backbone="mlp", dim=2, epochs=1, report=False, progress=False)
    encoder.save(tmp_path / "encoder")
    stored = read_scale(tmp_path / "encoder")
    assert stored.spec == encoder.spec and stored.preprocess.mode == encoder.preprocess.mode
    assert np.array_equal(stored.preprocess.scaled(data), encoder.preprocess.scaled(data))
    for ours, theirs in zip(stored.preprocess.raw_range(), encoder.preprocess.raw_range()):
        assert ours.dtype == np.float64 and np.array_equal(ours, theirs.numpy())
    scales = [DisplayScale(each.spec, each.preprocess) for each in (stored, encoder)]
    assert scales[0].value_range == scales[1].value_range
    assert np.array_equal(scales[0].to_display(data[3]), scales[1].to_display(data[3]))
    builders = [SpriteSheetBuilder(each) for each in (stored, encoder)]
    assert builders[0].value_range == builders[1].value_range
    assert np.array_equal(*(builder.raw_to_cells(data, 5) for builder in builders))


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    np.save(tmp_path / "data.npy", DATA["vectors"])
    encoder = aekit.fit(str(tmp_path / "data.npy"), dim=2, epochs=1, report=False, progress=False)
    aekit.embed(encoder, str(tmp_path / "data.npy"), out=tmp_path / "z", progress=False)
    return tmp_path / "z"


def test_an_encoder_that_is_not_loaded_is_not_loaded_to_draw(embeddings: Path) -> None:
    opened = aekit.Embeddings.open(embeddings)
    found = available_samples(opened)
    assert found is not None and isinstance(found[0], StoredScale) and opened.encoder is None
    image = draw_embedded(opened, [np.array([1, 2])])
    loaded = aekit.Embeddings.open(embeddings)
    loaded.encoder = aekit.load(embeddings)
    with_encoder = available_samples(loaded)
    assert with_encoder is not None and with_encoder[0] is loaded.encoder
    expected = draw_embedded(loaded, [np.array([1, 2])])
    assert image is not None and expected is not None and image.tobytes() == expected.tobytes()


def test_a_damaged_encoder_is_an_error_of_one_line(embeddings: Path) -> None:
    weights = embeddings / "encoder" / "weights.safetensors"
    content = weights.read_bytes()
    for damaged in (content[:50], content.replace(b"preprocess.low", b"preprocess.lxw")):
        weights.write_bytes(damaged)
        with pytest.raises(IdentityError, match=r"weights\.safetensors: does not load: .") as caught:
            draw_embedded(aekit.Embeddings.open(embeddings), [np.array([0])])
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no encoder here"):
        read_scale(embeddings.parent)
