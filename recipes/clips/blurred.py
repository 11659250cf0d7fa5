"""The error of the last frame that is shown, as it is and blurred, as a forecast of the next: what a network has to beat.

python recipes/clips/blurred.py [VIDEO]
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

import aekit

data = tomllib.loads((Path(__file__).parent / "future.toml").read_text())["data"]
source = aekit.open_data(f"clips:{sys.argv[1]}" if sys.argv[1:] else data["source"], {"clips": data["clips"]})
for split in ("train", "test"):
    clips = source.read(source.rows_of(split))[0] / 255.0  # (N, 3, 4, H, W)
    last, true = clips[:, :, 2], clips[:, :, 3]
    for deviation in (0.0, 0.25, 0.5, 0.75, 1.0):
        forecast = gaussian_filter(last, (0, 0, deviation, deviation))
        error = np.square(forecast - true).mean((1, 2, 3))
        print(
            f"{split:5}  blurred by {deviation:4} pixels: {np.mean(-10 * np.log10(error)):.1f} dB, mse {error.mean():.5f}"
        )
