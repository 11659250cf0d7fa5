"""Read from the folder of an encoder how its samples are scaled, without torch: enough to draw them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aekit.data.spec import SampleSpec
from aekit.encoder.identity import WEIGHTS, Mode, find_encoder_folder, read_description
from aekit.errors import IdentityError, first_line


class Scaling(Protocol):
    """What drawing needs of a preprocessing: `aekit.encoder.preprocessing.Preprocess`, or one that is stored."""

    @property
    def mode(self) -> Mode:
        """``unit``, ``standard`` or ``none``."""

    @property
    def unit(self) -> bool:
        """Whether scaled values lie in [0, 1]."""

    @property
    def low(self) -> Any:
        """Least values of the training data after scaling, (C, 1, ...) or (D,)."""

    @property
    def high(self) -> Any:
        """Largest values of the training data after scaling, of the same shape."""

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Scale raw samples (B, *shape) to float32."""

    def raw_range(self) -> tuple[Any, Any]:
        """Return the extremes of the training data in its own units, each (C, 1, ...) or (D,) float64."""


class Scaled(Protocol):
    """Data whose samples can be drawn: an encoder, or what is stored of one."""

    @property
    def spec(self) -> SampleSpec:
        """Spec of the raw samples."""

    @property
    def preprocess(self) -> Scaling:
        """How they are scaled."""


@dataclass(frozen=True)
class StoredScaling:
    """The preprocessing of a saved encoder, in NumPy; see `aekit.encoder.preprocessing.Preprocess`.

    Attributes:
        mode, unit, scale, shift, low, high, center, factor: as there, float32 and float64.
    """

    mode: Mode
    unit: bool
    scale: np.ndarray
    shift: np.ndarray
    low: np.ndarray
    high: np.ndarray
    center: np.ndarray | None = None
    factor: np.ndarray | None = None

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Scale raw samples (B, *shape) to float32."""
        if self.center is None or self.factor is None:
            return np.asarray(raw, np.float32) * self.scale + self.shift
        return ((np.asarray(raw, np.float64) - self.center) * self.factor).astype(np.float32)

    def raw_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the extremes of the training data in its own units, each (C, 1, ...) or (D,) float64."""
        return self._inverse(self.low), self._inverse(self.high)

    def _inverse(self, x: np.ndarray) -> np.ndarray:
        if self.center is None or self.factor is None:
            return ((x - self.shift) / self.scale).astype(np.float64)
        return x.astype(np.float64) / self.factor + self.center


@dataclass(frozen=True)
class StoredScale:
    """The spec and the preprocessing of a saved encoder."""

    spec: SampleSpec
    preprocess: StoredScaling


def value_range(spec: SampleSpec, scaling: Scaling) -> tuple[float, float]:
    """Return the raw values that are black and white in images and clips, and the extremes of the training data in others.

    Images in [0, 1] that are not scaled have 0 and 1, whatever their extremes are.
    """
    if spec.is_visual and scaling.unit and scaling.mode == "none":
        return 0.0, 1.0
    low, high = scaling.raw_range()
    return spec.black_and_white(float(low.min()), float(high.max()))


def read_scale(path: str | Path) -> StoredScale:
    """Read how the samples of a saved encoder are scaled.

    Args:
        path: folder of the encoder, or of a run, embeddings or an index with one.

    Raises:
        DataError: there is no encoder.
        IdentityError: its description or its weights are damaged.
    """
    from safetensors import safe_open

    folder = find_encoder_folder(path)
    description = read_description(folder)
    names = [
        "scale",
        "shift",
        "low",
        "high",
        *(["center", "factor"] if description["preprocess"].get("centered") else []),
    ]
    try:
        with safe_open(folder / WEIGHTS, "np") as file:
            arrays = {name: file.get_tensor(f"preprocess.{name}") for name in names}
    except Exception as error:  # damaged bytes can raise anything
        raise IdentityError(f"{folder / WEIGHTS}: does not load: {first_line(error)}") from error
    scaling = StoredScaling(description["preprocess"]["mode"], description["preprocess"]["unit"], **arrays)
    return StoredScale(SampleSpec.from_dict(description["spec"]), scaling)
