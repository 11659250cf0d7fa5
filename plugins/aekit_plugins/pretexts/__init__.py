"""The pretext tasks that come with aekit, registered for `aekit_plugins`."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl


@hookimpl
def aekit_register_pretexts() -> list[Entry]:
    at = "aekit_plugins.pretexts"
    seen = ("series", "image", "clip")
    return [
        Entry("rotation", f"{at}.rotation:Rotation", "says by which angle the image was turned", 2, ("image", "clip")),
        Entry("jigsaw", f"{at}.jigsaw:Jigsaw", "says in which order the tiles of the image are", 2, ("image",)),
        Entry(
            "relative-position",
            f"{at}.relative_position:RelativePosition",
            "says where one patch of the image lies, seen from another",
            2,
            ("image",),
        ),
        Entry(
            "temporal-order",
            f"{at}.temporal_order:TemporalOrder",
            "says in which order the segments of the series or clip are",
            2,
            ("series", "clip"),
        ),
        Entry("masked", f"{at}.masked:Masked", "random patches are hidden, and asked for from the others", 2, seen),
        Entry(
            "predict-part",
            f"{at}.predict_part:PredictPart",
            "one part from another: future from past, top from bottom",
            2,
            seen,
        ),
        Entry(
            "inpainting", f"{at}.inpainting:Inpainting", "a hole in the sample, filled from what surrounds it", 2, seen
        ),
        Entry(
            "colorization",
            f"{at}.colorization:Colorization",
            "the colors of an image, from its lightness",
            2,
            ("image",),
        ),
        Entry(
            "super-resolution",
            f"{at}.super_resolution:SuperResolution",
            "the fine detail of samples that were made smaller",
            2,
            seen,
        ),
        Entry(
            "watermark-removal",
            f"{at}.watermark_removal:WatermarkRemoval",
            "clean images from those with text and logos laid over",
            2,
            ("image",),
        ),
        Entry(
            "simclr",
            f"{at}.simclr:SimCLR",
            "finds a sample's other view among all views of the batch",
            2,
            ("default-image", "default-series"),
        ),
        Entry("byol", f"{at}.byol:BYOL", "predicts a slow teacher's projection of the other view", 2),
        Entry("simsiam", f"{at}.simsiam:SimSiam", "predicts its own projection of the other view", 2),
        Entry(
            "barlow-twins", f"{at}.barlow_twins:BarlowTwins", "two views agree, entry by entry, without redundancy", 2
        ),
        Entry("vicreg", f"{at}.vicreg:VICReg", "two views agree, while entries vary and do not go together", 2),
        Entry(
            "dino", f"{at}.dino:DINO", "from small parts, the prototypes to which a slow teacher assigns large ones", 2
        ),
    ]
