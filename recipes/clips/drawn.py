"""Draws a video of discs that fall and bounce off the walls and cover each other, before a texture that drifts; writes drawn.npz.

python recipes/clips/drawn.py drawn.npz --seed 0
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

FRAMES, HEIGHT, WIDTH = 280, 54, 96
"""Twice the size at which the recipe reads videos, so that edges move by fractions of a pixel."""
DISCS, GRAVITY, DRIFT = 6, 0.12, (0.35, 0.8)
"""Number of discs, their acceleration, and the drift of the background in pixels per frame, down and right."""


def draw_video(seed: int) -> np.ndarray:
    """Return (FRAMES, HEIGHT, WIDTH, 3) frames of 8 bits."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=(HEIGHT, WIDTH, 3)), (3, 3, 0), mode="wrap")
    texture = 110 + 30 * texture / texture.std()
    radius, color = rng.uniform(5, 10, DISCS), rng.uniform(30, 255, (DISCS, 3))
    place = rng.uniform(radius[:, None], np.array([HEIGHT, WIDTH]) - radius[:, None])
    speed = rng.uniform(-2.5, 2.5, (DISCS, 2))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(FRAMES):
        shifted = [rows - DRIFT[0] * number, columns - DRIFT[1] * number]
        frame = np.stack([map_coordinates(texture[..., c], shifted, order=1, mode="grid-wrap") for c in range(3)], -1)
        for disc in range(DISCS):
            distance = np.hypot(rows - place[disc, 0], columns - place[disc, 1])
            cover = np.clip(radius[disc] - distance + 0.5, 0, 1)[..., None]  # an edge of one pixel
            frame = (1 - cover) * frame + cover * color[disc]
        frames[number] = frame.round().clip(0, 255)
        speed[:, 0] += GRAVITY
        place += speed
        for axis, length in enumerate((HEIGHT, WIDTH)):
            outside = (place[:, axis] < radius) | (place[:, axis] > length - radius)
            speed[outside, axis] *= -1
            place[:, axis] = place[:, axis].clip(radius, length - radius)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="where to write, such as drawn.npz")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    np.savez_compressed(arguments.file, frames=draw_video(arguments.seed))


if __name__ == "__main__":
    main()
