"""Register the built-in pretext tasks for `aekit_plugins`."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl

API = 2
"""Version of the plugin API that these plugins were written for."""


@hookimpl
def aekit_register_pretexts() -> list[Entry]:
    at = "aekit_plugins.pretexts"
    kinds = ("series", "image", "clip")
    return [
        Entry(
            "rotation",
            f"{at}.rotation:Rotation",
            "predicts the angle by which the image was rotated",
            API,
            ("image", "clip"),
        ),
        Entry(
            "jigsaw", f"{at}.jigsaw:Jigsaw", "predicts the order of the shuffled tiles of the image", API, ("image",)
        ),
        Entry(
            "relative-position",
            f"{at}.relative_position:RelativePosition",
            "predicts where one patch of the image lies relative to another",
            API,
            ("image",),
        ),
        Entry(
            "temporal-order",
            f"{at}.temporal_order:TemporalOrder",
            "predicts the order of the shuffled segments of the series or clip",
            API,
            ("series", "clip"),
        ),
        Entry(
            "masked",
            f"{at}.masked:Masked",
            "predicts randomly masked patches from the visible ones",
            API,
            (*kinds, "early-series"),
        ),
        Entry(
            "predict-part",
            f"{at}.predict_part:PredictPart",
            "predicts one part from another: future from past, bottom from top",
            API,
            kinds,
        ),
        Entry("inpainting", f"{at}.inpainting:Inpainting", "fills a masked region from its surroundings", API, kinds),
        Entry(
            "colorization",
            f"{at}.colorization:Colorization",
            "predicts the colors of an image from its lightness",
            API,
            ("image",),
        ),
        Entry(
            "super-resolution",
            f"{at}.super_resolution:SuperResolution",
            "restores the fine detail of downsampled samples",
            API,
            kinds,
        ),
        Entry(
            "watermark-removal",
            f"{at}.watermark_removal:WatermarkRemoval",
            "removes overlaid text and logos from images",
            API,
            ("image",),
        ),
        Entry(
            "simclr",
            f"{at}.simclr:SimCLR",
            "identifies a sample's other view among all views in the batch",
            API,
            ("default-image", "default-series"),
        ),
        Entry("byol", f"{at}.byol:BYOL", "predicts a momentum teacher's projection of the other view", API),
        Entry("simsiam", f"{at}.simsiam:SimSiam", "predicts its own projection of the other view", API),
        Entry(
            "barlow-twins", f"{at}.barlow_twins:BarlowTwins", "makes two views agree and decorrelates dimensions", API
        ),
        Entry(
            "vicreg",
            f"{at}.vicreg:VICReg",
            "makes two views agree, with variance and covariance regularization",
            API,
            ("early-image", "early-series"),
        ),
        Entry("distillation", f"{at}.distillation:Distillation", "predicts the features of a frozen teacher", API),
        Entry("dino", f"{at}.dino:DINO", "predicts a momentum teacher's prototype assignments from small crops", API),
    ]
