"""Random views of samples, for tasks in which two views of a sample are to be encoded alike.

>>> views = views_for(encoder.spec, encoder.preprocess, strength="usual")
>>> first, second = views(x, generator), views(x, generator)

A view has the shape and the scale of the preprocessed sample. Views are drawn by the batch, each sample's own, on the device
that the samples are on, and from the generator alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from aekit.options import Field
from aekit.preprocess import Preprocess
from aekit.samples import SampleSpec
from aekit.views.pictures import PictureViews, image_views
from aekit.views.series import SeriesViews, series_views
from aekit.views.vectors import VectorViews, vector_views
from aekit.views.viewing import Strength, Views

__all__ = [
    "Flip",
    "PictureViews",
    "SeriesViews",
    "Share",
    "Strength",
    "VectorViews",
    "Views",
    "image_views",
    "series_views",
    "vector_views",
    "views_for",
]

Share = Annotated[
    float | None,
    Field(
        gt=0,
        le=1,
        description="smallest part of a sample that a view shows: of a picture's area, a series' length, a vector's entries; by "
        "default by strength",
    ),
]
Flip = Annotated[
    bool | None,
    Field(
        description="pictures may be mirrored, as digits and text must not be; by default those in colour, which photographs are"
    ),
]
"""Options that tasks with views have in common, beside `Strength`."""


def views_for(
    spec: SampleSpec,
    preprocess: Preprocess,
    *,
    strength: Strength = "usual",
    share: float | None = None,
    flip: bool | None = None,
) -> Views:
    """The views that suit a kind of sample.

    Args:
        spec: of the samples.
        preprocess: by which they were scaled; views of what lies in [0, 1] stay there.
        strength: how far from the sample a view may be.
        share: smallest part of the sample that a view shows; by default by strength.
        flip: whether pictures and clips may be mirrored; by default those in colour.
    """
    views: Views
    if spec.kind in ("image", "clip"):
        views = image_views(spec, preprocess, strength, flip)
    elif spec.kind == "series":
        views = series_views(preprocess, strength)
    else:
        views = vector_views(preprocess, strength)
    return views if share is None else replace(views, share=(share, max(share, views.share[1])))
