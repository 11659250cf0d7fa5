"""Register this package's plugins with aekit, without importing their code, so that listing plugins is quick."""

from aekit.plugin import Entry, hookimpl


@hookimpl
def aekit_register_variants() -> list[Entry]:
    return [
        Entry(
            "noisy-code",
            "aekit_thirdparty.noisy_code:NoisyCode",
            "Gaussian noise on the code, and a penalty on its power",
            api=2,
        )
    ]


@hookimpl
def aekit_register_pretexts() -> list[Entry]:
    return [
        Entry(
            name="rotation-lite",
            target="aekit_thirdparty.rotation_lite:RotationLite",
            summary="predict by how many quarter turns an image was rotated",
            api=2,
            tags=("image",),
        )
    ]


@hookimpl
def aekit_register_backbones() -> list[Entry]:
    return [
        Entry("patch-mixer", "aekit_thirdparty.patch_mixer:PatchMixer", "an MLP over patches", api=2, tags=("image",))
    ]


@hookimpl
def aekit_register_sources() -> list[Entry]:
    return [Entry("rings", "aekit_thirdparty.rings:open_rings", "labeled vectors on concentric rings", api=2)]


@hookimpl
def aekit_register_evaluators() -> list[Entry]:
    return [
        Entry(
            "centroid",
            "aekit_thirdparty.centroid:evaluate",
            "accuracy of the nearest class mean",
            api=2,
            tags=("labels",),
        )
    ]
