"""Default augmentations for tasks that encode two views of a sample alike.

>>> augmentation = augmentation_for(encoder.spec, encoder.preprocess, strength="default")
>>> first, second = augmentation(x, generator), augmentation(x, generator)

A view has the shape and the scale of the preprocessed sample. Views are drawn by the batch, independently for each sample, on
the device of the samples and from the generator only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation, Strength
from aekit.nn.augment.images import ImageAugmentation, image_augmentation
from aekit.nn.augment.series import SeriesAugmentation, series_augmentation
from aekit.nn.augment.vectors import VectorAugmentation, vector_augmentation
from aekit.registry.options import Field

__all__ = [
    "Augmentation",
    "CropScale",
    "Flip",
    "ImageAugmentation",
    "SeriesAugmentation",
    "Strength",
    "VectorAugmentation",
    "augmentation_for",
    "image_augmentation",
    "series_augmentation",
    "vector_augmentation",
]

CropScale = Annotated[
    float | None,
    Field(
        gt=0,
        le=1,
        description="minimum fraction of a sample in a view: of an image's area, a series' length, a vector's entries, by "
        "default set by strength",
    ),
]
Flip = Annotated[
    bool | None,
    Field(description="mirror half of the images; not for digits and text; by default only images in color"),
]
"""Options shared by joint-embedding tasks, in addition to `Strength`."""


def augmentation_for(
    spec: SampleSpec,
    preprocess: Preprocess,
    *,
    strength: Strength = "default",
    crop_scale: float | None = None,
    flip: bool | None = None,
) -> Augmentation:
    """Return the default augmentation for a kind of sample.

    Args:
        spec: spec of the samples.
        preprocess: preprocessing of the samples; views of samples in [0, 1] stay in [0, 1].
        strength: strength of the augmentation.
        crop_scale: minimum fraction of a sample in a view; by default set by strength.
        flip: whether to mirror half of the images and clips; by default only those in color.
    """
    augmentation: Augmentation
    if spec.is_visual:
        augmentation = image_augmentation(spec, preprocess, strength, flip)
    elif spec.is_series:
        augmentation = series_augmentation(preprocess, strength)
    else:
        augmentation = vector_augmentation(preprocess, strength)
    if crop_scale is None:
        return augmentation
    return replace(augmentation, crop_scale=(crop_scale, max(crop_scale, augmentation.crop_scale[1])))
