"""Choose the scale on which samples are drawn: images in their own units, tables with their columns on one scale."""

from __future__ import annotations

import numpy as np

from aekit.data.spec import SampleSpec
from aekit.encoder.stored_scaling import Scaling, value_range


class DisplayScale:
    """Convert raw samples to displayed values, and give their range.

    Attributes:
        value_range: values drawn as black and white, or as the bottom and top of a line.
    """

    def __init__(self, spec: SampleSpec, preprocess: Scaling) -> None:
        self.spec, self.preprocess = spec, preprocess
        columns = float(preprocess.low.min()), float(preprocess.high.max())
        self.value_range = columns if spec.is_vector else value_range(spec, preprocess)

    def to_display(self, raw: np.ndarray) -> np.ndarray:
        """Return a (*shape) sample in the data's units as it is drawn: the columns of a vector as the network sees them."""
        return self.preprocess.scaled(raw[None])[0] if self.spec.is_vector else raw
