"""Random views of samples, for tasks in which two views of a sample are to be encoded alike.

>>> views = views_for(encoder.spec, encoder.preprocess, strength="usual")
>>> first, second = views(x, generator), views(x, generator)

A view has the shape and the scale of the preprocessed sample. Views are drawn by the batch, each sample's own, on the device
that the samples are on, and from the generator alone.
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
        description="smallest part of a sample that a view shows: of an image's area, a series' length, a vector's entries; by "
        "default by strength",
    ),
]
Flip = Annotated[
    bool | None,
    Field(
        description="images may be mirrored, as digits and text must not be; by default those in color, which photographs are"
    ),
]
"""Options that tasks with views have in common, beside `Strength`."""


def augmentation_for(
    spec: SampleSpec,
    preprocess: Preprocess,
    *,
    strength: Strength = "usual",
    crop_scale: float | None = None,
    flip: bool | None = None,
) -> Augmentation:
    """The views that suit a kind of sample.

    Args:
        spec: of the samples.
        preprocess: by which they were scaled; views of what lies in [0, 1] stay there.
        strength: how far from the sample a view may be.
        share: smallest part of the sample that a view shows; by default by strength.
        flip: whether images and clips may be mirrored; by default those in color.
    """
    views: Augmentation
    if spec.is_visual:
        views = image_augmentation(spec, preprocess, strength, flip)
    elif spec.is_series:
        views = series_augmentation(preprocess, strength)
    else:
        views = vector_augmentation(preprocess, strength)
    return (
        views if crop_scale is None else replace(views, crop_scale=(crop_scale, max(crop_scale, views.crop_scale[1])))
    )
