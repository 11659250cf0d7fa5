"""Make the masked values of what a container holds missing ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aekit.data._arrays import unmask
from aekit.data.contents import Contents
from aekit.data.labels import to_label_array


def unmasked(contents: Contents) -> Contents:
    """Return the contents of a container without masks: masked values are NaN, and masked labels missing."""
    samples, labels, losses = contents.samples, contents.labels, list[str]()
    if isinstance(samples, np.ma.MaskedArray):
        samples, losses = unmask(samples)
    if isinstance(labels, np.ma.MaskedArray):
        labels = to_label_array(labels)
    return replace(contents, samples=samples, labels=labels, losses=(*losses, *contents.losses))
