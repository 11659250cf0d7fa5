"""A run whose encoder several processes compute with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import FAST

import aekit


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines") / "run"
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8), dtype=np.uint8)
    aekit.fit(images, dim=6, overrides=FAST, out=folder)
    return folder
