"""Compute how images are resized and cropped, in whole pixels; readers need no torch for it."""

from __future__ import annotations

import math

Size = tuple[int, int]


def crop_geometry(input_size: Size, target_size: Size, crop_pct: float, *, squash: bool = False) -> tuple[Size, Size]:
    """Compute how to resize and crop an image.

    Args:
        input_size, target_size: (height, width) in pixels.
        crop_pct: fraction of the shorter side to keep.
        squash: whether to resize both sides to fit, which changes their ratio.

    Returns:
        the size (height, width) to resize to, and the corner (top, left) of the crop.
    """
    room = [math.floor(side / crop_pct) for side in target_size]
    if squash:
        tall, wide = room
    elif room[0] == room[1]:  # torchvision rounds the longer side down
        shorter = min(input_size)
        tall, wide = (room[0] if side == shorter else int(room[0] * side / shorter) for side in input_size)
    else:
        ratio = min(side / space for side, space in zip(input_size, room))
        tall, wide = (round(side / ratio) for side in input_size)
    return (tall, wide), (round((tall - target_size[0]) / 2), round((wide - target_size[1]) / 2))
