"""Choose the scale on which samples are drawn: images in their own units, tables with their columns on one scale."""

from __future__ import annotations

import numpy as np
import torch

from aekit.data.samples import to_tensor
from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import Preprocess


class DisplayScale:
    """Convert raw samples to displayed values, and give their range.

    Attributes:
        value_range: values drawn as black and white, or as the bottom and top of a line.
    """

    def __init__(self, spec: SampleSpec, preprocess: Preprocess) -> None:
        self.spec, self.preprocess = spec, preprocess
        low, high = (preprocess.low, preprocess.high) if spec.is_vector else preprocess.raw_range()
        self.value_range = (0.0, 255.0) if self._eight_bit else (float(low.min()), float(high.max()))

    @property
    def _eight_bit(self) -> bool:
        return self.spec.dtype == "uint8" and not self.spec.is_vector

    def to_display(self, raw: np.ndarray) -> np.ndarray:
        """Return a (*shape) sample in the data's units as it is drawn: the columns of a vector as the network sees them."""
        if not self.spec.is_vector:
            return raw
        with torch.inference_mode():
            return self.preprocess(to_tensor(raw[None]).to(self.preprocess.scale.device))[0].cpu().numpy()
