"""Describe patches of images: by feature maps of an encoder, or by their raw pixels, the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.data.framing import Framing
from aekit.encoder.encoder import Encoder

FINE = 28
"""Patches along a side: of the feature maps, the one nearest to this is used, and the next coarser one."""
NEIGHBORHOOD = 3
"""Positions along a side over which features are averaged."""
_TOKENS_WITHOUT_PLACE = 5
"""Most tokens of a vision transformer that stand for no patch: a class token and four registers."""
_MIN_WINDOW = 5

Size = tuple[int, int]


class PatchFeatures:
    """Compute features of patches from two feature maps of an encoder before its pooling.

    Of the resolutions of its stages, the one nearest to 28 x 28 and the next coarser one are used, of each the last stage:
    for common networks on 224 pixels these are the second and third group of blocks, as in PatchCore (Roth, Pemula, Zepeda,
    Schölkopf, Brox and Gehler, Towards total recall in industrial anomaly detection, 2022). Features are averaged over 3 x 3
    positions, upsampled to the finer map and concatenated.

    A backbone that crops its input sees the whole image here, so that every pixel is scored.

    Args:
        encoder: trained encoder of images.

    Attributes:
        stages: numbers of the two stages (or the only one), from 0.
        grid: (h, w) of the patches.
        channels: of each map.
        dim: C, features of a patch, of all maps.

    Raises:
        NotImplementedError: the encoder has no feature maps.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._layers: list[nn.Module] = list(encoder.backbone.stages)
        self._input_size: tuple[int, ...] = encoder.spec.shape[1:]
        first = self._layers[0]
        if isinstance(first, nn.Sequential) and isinstance(first[0], Framing):
            self._layers[0] = nn.Sequential(first[0].without_crop(), *first[1:])
            self._input_size = first[0].target_size
        last_of: dict[Size, tuple[int, int]] = {}  # grid -> stage and channels
        for number, maps in enumerate(self._maps(torch.zeros(2, *encoder.spec.shape, device=encoder.device))):
            if maps is not None and min(maps.shape[2:]) > 1:
                last_of[tuple(maps.shape[2:])] = number, maps.shape[1]  # type: ignore[index]
        if not last_of:
            raise NotImplementedError(f"the backbone {encoder.plugins[0].name} has no feature maps")
        self.grid = min(last_of, key=lambda grid: abs(math.log(math.prod(grid) / FINE**2)))
        coarser = [grid for grid in last_of if math.prod(grid) < math.prod(self.grid)]
        chosen = [last_of[grid] for grid in [self.grid, *sorted(coarser, key=math.prod)[-1:]]]
        self.stages, self.channels = zip(*chosen)
        self.dim = sum(self.channels)

    @torch.inference_mode()
    def __call__(self, raw: Tensor) -> Tensor:
        """Map raw images (B, C, H, W) to features (B, dim, h, w) float32."""
        maps = self._maps(self.encoder.preprocess(raw), self.stages)
        parts = []
        for stage in self.stages:
            features = maps[stage]
            assert features is not None
            averaged = F.avg_pool2d(
                features.float(), NEIGHBORHOOD, stride=1, padding=NEIGHBORHOOD // 2, count_include_pad=False
            )
            parts.append(F.interpolate(averaged, size=self.grid, mode="bilinear", align_corners=False))
        return torch.cat(parts, 1)

    def _maps(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Tensor | None]:
        """Return the feature map (B, C, h, w) of these stages, or of all; None for others, and where an output is not a map."""
        with torch.inference_mode():
            maps = list[Tensor | None]()
            for number, layer in enumerate(self._layers if stages is None else self._layers[: max(stages) + 1]):
                x = layer(x)
                maps.append(_as_map(x, self._input_size) if stages is None or number in stages else None)
        return maps


def _as_map(x: Tensor, size: tuple[int, ...]) -> Tensor | None:
    """Return the output of a stage for an input of this size (H, W) as (B, C, h, w), or None if it is not a map."""
    if x.ndim == 4:
        # Some networks put the channels last; then the other two axes have the ratio of the image's sides.
        first, last = (_ratio_error(tuple(x.shape[axes]), size) for axes in (slice(2, 4), slice(1, 3)))
        return x.permute(0, 3, 1, 2) if last < first else x
    if x.ndim == 3:  # tokens of a square input, after those that stand for no patch
        side = math.isqrt(x.shape[1])
        if side > 2 and x.shape[1] - side**2 <= _TOKENS_WITHOUT_PLACE:
            return x[:, x.shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
    return None


def _ratio_error(shape: tuple[int, ...], size: tuple[int, ...]) -> float:
    return abs(math.log(shape[0] * size[1] / (shape[1] * size[0])))


class RawPatches:
    """Describe patches by their pixels, after the encoder's preprocessing: a baseline without a network.

    Windows overlap by half; in large images they are averaged down to 8 x 8 pixels.

    Args:
        encoder: encoder of images, whose preprocessing is used.

    Attributes:
        grid: (h, w) of the patches, about 28 along the shorter side.
        channels: (C,), as there is one map.
        dim: C, values of a patch.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        channels, *size = encoder.spec.shape
        step = max(1, round(min(size) / FINE))
        self._factor = max(1, step // 4)
        self._step = step // self._factor
        self._window = max(2 * self._step, _MIN_WINDOW)
        self.dim = channels * self._window**2
        self.channels = (self.dim,)
        self.grid: Size = tuple(1 + (side // self._factor - 1) // self._step for side in size)  # type: ignore[assignment]

    @torch.inference_mode()
    def __call__(self, raw: Tensor) -> Tensor:
        """Map raw images (B, C, H, W) to pixels of windows (B, dim, h, w) float32."""
        x = F.avg_pool2d(self.encoder.preprocess(raw).float(), self._factor)
        missing = [(grid - 1) * self._step + self._window - side for grid, side in zip(self.grid, x.shape[2:])]
        (top, bottom), (left, right) = ((m // 2, m - m // 2) for m in missing)
        windows = F.unfold(F.pad(x, (left, right, top, bottom), "replicate"), self._window, stride=self._step)
        return windows.unflatten(2, self.grid)
