"""Register the built-in variants of autoencoders for `aekit_plugins`."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl

API = 2
"""Version of the plugin API that these plugins were written for."""


@hookimpl
def aekit_register_variants() -> list[Entry]:
    at = "aekit_plugins.variants"
    return [
        Entry(
            "plain",
            f"{at}.plain:Plain",
            "relies on a narrow code alone to keep from copying",
            API,
            ("default", "early-vector"),
        ),
        Entry("linear", f"{at}.linear:Linear", "learns the subspace that PCA finds, with a linear network", API),
        Entry(
            "denoising",
            f"{at}.denoising:Denoising",
            "reconstructs the clean sample from a corrupted one",
            API,
            ("default-vector", "early-vector", "early-series"),
        ),
        Entry("binarize", f"{at}.binarize:Binarize", "draws black-and-white samples from gray ones", API),
        Entry(
            "random-affine",
            f"{at}.random_affine:RandomAffine",
            "reconstructs an image from a shifted and rotated copy",
            API,
            ("image", "early-image"),
        ),
        Entry(
            "contractive", f"{at}.contractive:Contractive", "penalizes how much the code changes with the sample", API
        ),
        Entry("sparse-l1", f"{at}.sparse_l1:SparseL1", "penalizes the absolute activation of each unit", API),
        Entry(
            "sparse-kl",
            f"{at}.sparse_kl:SparseKL",
            "pushes the mean activation of each unit towards a small target",
            API,
        ),
        Entry("k-sparse", f"{at}.k_sparse:KSparse", "keeps the k largest units of each sample's code", API),
        Entry(
            "winner-take-all",
            f"{at}.winner_take_all:WinnerTakeAll",
            "keeps the largest activations of each unit in the batch",
            API,
        ),
        Entry("vq", f"{at}.vq:VectorQuantized", "builds the code from entries of a learned codebook", API),
        Entry(
            "wae-mmd",
            f"{at}.wae_mmd:WassersteinMMD",
            "matches the distribution of all codes to a prior, by a kernel distance",
            API,
        ),
        Entry(
            "adversarial",
            f"{at}.adversarial:Adversarial",
            "matches the distribution of all codes to a prior, by a discriminator",
            API,
        ),
        Entry(
            "vae", f"{at}.vae:VAE", "draws codes from posteriors close to a normal distribution; beta, free bits", API
        ),
        Entry("iwae", f"{at}.iwae:IWAE", "tightens the bound of a VAE with several weighted codes per sample", API),
        Entry(
            "beta-tc",
            f"{at}.beta_tc:BetaTC",
            "makes the dimensions of a VAE independent, by their total correlation",
            API,
        ),
        Entry("dip", f"{at}.dip:DIP", "makes the dimensions of a VAE uncorrelated, by their covariance", API),
    ]
