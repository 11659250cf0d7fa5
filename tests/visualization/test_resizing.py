"""Images are reduced as torch reduces them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from aekit.visualization.resizing import resize_bilinear

SIZES = [
    ((64, 64), (32, 32)),
    ((37, 101), (12, 40)),
    ((5, 9), (11, 30)),
    ((224, 150), (7, 64)),
    ((8, 8), (8, 3)),
    ((4, 1), (1, 1)),
]


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_it_is_the_bilinear_resizing_of_torch(before: tuple[int, int], after: tuple[int, int], dtype: type) -> None:
    images = (255 * np.random.default_rng(0).random((3, 2, *before))).astype(dtype)
    expected = interpolate(torch.from_numpy(images).float(), after, mode="bilinear", antialias=True).numpy()
    np.testing.assert_allclose(resize_bilinear(images, after), expected, rtol=0, atol=1e-3)


def test_one_value_stays_and_so_does_an_image_of_the_same_size() -> None:
    np.testing.assert_allclose(resize_bilinear(np.full((2, 50, 31), 7, np.uint8), (9, 4)), 7, rtol=1e-6)
    images = np.random.default_rng(1).random((2, 5, 6))
    assert np.array_equal(resize_bilinear(images, (5, 6)), images.astype(np.float32))
