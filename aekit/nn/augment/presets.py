"""Default augmentations for tasks that encode two views of a sample alike.

>>> augmentation = augmentation_for(encoder.spec, encoder.preprocess, strength="default")
>>> first, second = augmentation(x, generator), augmentation(x, generator)

A view has the shape and the scale of the preprocessed sample. Views are drawn by the batch, independently for each sample, on
the device of the samples and from the generator only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypedDict, Unpack

from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation, Strength
from aekit.nn.augment.images import ImageAugmentation, image_augmentation
from aekit.nn.augment.series import SeriesAugmentation, series_augmentation
from aekit.nn.augment.vectors import VectorAugmentation, vector_augmentation
from aekit.registry.options import Field

__all__ = [
    "Augmentation",
    "CropOptions",
    "ImageAugmentation",
    "SeriesAugmentation",
    "Strength",
    "VectorAugmentation",
    "ViewOptions",
    "augmentation_for",
    "image_augmentation",
    "series_augmentation",
    "vector_augmentation",
]


class ViewOptions(TypedDict, total=False):
    """Options of tasks that draw views."""

    strength: Annotated[Strength, Field(default="default", description="strength of the augmentation")]
    flip: Annotated[
        bool | None,
        Field(
            default=None,
            description="mirror half of the images; not for digits and text; by default only images in color",
        ),
    ]


class CropOptions(ViewOptions, total=False):
    """Options of tasks whose views are all cropped alike."""

    crop_scale: Annotated[
        float | None,
        Field(
            default=None,
            gt=0,
            le=1,
            description="minimum fraction of a sample in a view: of an image's area, a series' length, a vector's entries, by "
            "default set by strength",
        ),
    ]


def augmentation_for(spec: SampleSpec, preprocess: Preprocess, **options: Unpack[CropOptions]) -> Augmentation:
    """Return the default augmentation for a kind of sample.

    Args:
        spec: spec of the samples.
        preprocess: preprocessing of the samples; views of samples in [0, 1] stay in [0, 1].
        options: strength of the augmentation, the minimum fraction of a sample in a view, and whether to mirror images.
    """
    strength, flip, crop_scale = options.get("strength", "default"), options.get("flip"), options.get("crop_scale")
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
