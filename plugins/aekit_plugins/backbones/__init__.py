"""Register the built-in backbones for `aekit_plugins`."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl

API = 2
"""Version of the plugin API that these plugins were written for."""


@hookimpl
def aekit_register_backbones() -> list[Entry]:
    at = "aekit_plugins.backbones"
    any_grid = ("image", "series", "clip")
    any_kind = ("vector", "series", "image", "clip")
    return [
        Entry(
            "conv",
            f"{at}.conv:Conv",
            "applies strided convolutions to images, series and clips of any size",
            API,
            any_grid,
        ),
        Entry("resnet", f"{at}.resnet:ResNet", "applies a residual network to samples of any size", API, any_grid),
        Entry(
            "dilated",
            f"{at}.dilated:Dilated",
            "restores images by dilated convolutions at nearly full resolution; for encoder.dim = 0",
            API,
            ("image", "unsearched"),
        ),
        Entry("mlp", f"{at}.mlp:MLP", "applies fully connected layers to the flattened sample", API, any_kind),
        Entry(
            "linear", f"{at}.linear:Linear", "has no layers: encoder and decoder are one linear map each", API, any_kind
        ),
        Entry(
            "random-convolutions",
            f"{at}.random_convolutions:RandomConvolutionsBackbone",
            "convolves series with random kernels that are not trained (ROCKET)",
            API,
            ("series", "default-series"),
        ),
        Entry(
            "patch-dictionary",
            f"{at}.patch_dictionary:PatchDictionary",
            "compares patches of images with patches of the training images (Coates, Ng and Lee); not trained",
            API,
            ("image", "default-image"),
        ),
        Entry(
            "timm", f"{at}.timm_backbone:Timm", "applies any network of timm, with pretrained weights", API, ("image",)
        ),
    ]
