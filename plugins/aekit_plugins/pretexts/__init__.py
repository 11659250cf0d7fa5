"""Register the built-in pretext tasks for `aekit_plugins`."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl


@hookimpl
def aekit_register_pretexts() -> list[Entry]:
    at = "aekit_plugins.pretexts"
    kinds = ("series", "image", "clip")
    return [
        Entry(
            "rotation",
            f"{at}.rotation:Rotation",
            "predicts the angle by which the image was rotated",
            2,
            ("image", "clip"),
        ),
        Entry("jigsaw", f"{at}.jigsaw:Jigsaw", "predicts the order of the shuffled tiles of the image", 2, ("image",)),
        Entry(
            "relative-position",
            f"{at}.relative_position:RelativePosition",
            "predicts where one patch of the image lies relative to another",
            2,
            ("image",),
        ),
        Entry(
            "temporal-order",
            f"{at}.temporal_order:TemporalOrder",
            "predicts the order of the shuffled segments of the series or clip",
            2,
            ("series", "clip"),
        ),
        Entry(
            "masked",
            f"{at}.masked:Masked",
            "predicts randomly masked patches from the visible ones",
            2,
            (*kinds, "early-series"),
        ),
        Entry(
            "predict-part",
            f"{at}.predict_part:PredictPart",
            "predicts one part from another: future from past, bottom from top",
            2,
            kinds,
        ),
        Entry("inpainting", f"{at}.inpainting:Inpainting", "fills a masked region from its surroundings", 2, kinds),
        Entry(
            "colorization",
            f"{at}.colorization:Colorization",
            "predicts the colors of an image from its lightness",
            2,
            ("image",),
        ),
        Entry(
            "super-resolution",
            f"{at}.super_resolution:SuperResolution",
            "restores the fine detail of downsampled samples",
            2,
            kinds,
        ),
        Entry(
            "watermark-removal",
            f"{at}.watermark_removal:WatermarkRemoval",
            "removes overlaid text and logos from images",
            2,
            ("image",),
        ),
        Entry(
            "simclr",
            f"{at}.simclr:SimCLR",
            "identifies a sample's other view among all views in the batch",
            2,
            ("default-image", "default-series"),
        ),
        Entry("byol", f"{at}.byol:BYOL", "predicts a momentum teacher's projection of the other view", 2),
        Entry("simsiam", f"{at}.simsiam:SimSiam", "predicts its own projection of the other view", 2),
        Entry("barlow-twins", f"{at}.barlow_twins:BarlowTwins", "makes two views agree and decorrelates dimensions", 2),
        Entry(
            "vicreg",
            f"{at}.vicreg:VICReg",
            "makes two views agree, with variance and covariance regularization",
            2,
            ("early-image", "early-series"),
        ),
        Entry("distillation", f"{at}.distillation:Distillation", "predicts the features of a frozen teacher", 2),
        Entry("dino", f"{at}.dino:DINO", "predicts a momentum teacher's prototype assignments from small crops", 2),
    ]
