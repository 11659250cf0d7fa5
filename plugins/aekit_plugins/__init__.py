"""Every method that comes with aekit, registered exactly as an outside package registers its own."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl

from .pretexts import aekit_register_pretexts as aekit_register_pretexts


@hookimpl
def aekit_register_variants() -> list[Entry]:
    at = "aekit_plugins.variants"
    return [
        Entry(
            "plain",
            f"{at}.plain:Plain",
            "the plain autoencoder: nothing but its code width keeps it from copying",
            2,
            ("default",),
        ),
        Entry("linear", f"{at}.linear:Linear", "the linear autoencoder, which finds PCA's subspace", 2),
        Entry("denoising", f"{at}.denoising:Denoising", "restores the clean sample from a corrupted one", 2),
        Entry("binarize", f"{at}.binarize:Binarize", "draws black and white samples from gray ones", 2),
        Entry(
            "random-affine", f"{at}.random_affine:RandomAffine", "restores an image from a displaced one", 2, ("image",)
        ),
        Entry("contractive", f"{at}.contractive:Contractive", "the code moves little when the sample does", 2),
        Entry("sparse-l1", f"{at}.sparse_l1:SparseL1", "each unit costs its absolute activation", 2),
        Entry("sparse-kl", f"{at}.sparse_kl:SparseKL", "each unit is to be active for a small share of the samples", 2),
        Entry("k-sparse", f"{at}.k_sparse:KSparse", "each sample keeps the k largest units of its code", 2),
        Entry("winner-take-all", f"{at}.winner_take_all:WinnerTakeAll", "each unit keeps its winners in the batch", 2),
        Entry("vq", f"{at}.vq:VectorQuantized", "the code is made of a few entries of a learned codebook", 2),
        Entry("wae-mmd", f"{at}.wae_mmd:WassersteinMMD", "all codes together are distributed like a prior's draws", 2),
        Entry(
            "adversarial", f"{at}.adversarial:Adversarial", "codes that a discriminator takes for a prior's draws", 2
        ),
        Entry("vae", f"{at}.vae:VAE", "codes drawn from posteriors near a normal distribution; beta, free bits", 2),
        Entry("iwae", f"{at}.iwae:IWAE", "a VAE with a tighter bound, from several weighted codes of each sample", 2),
        Entry(
            "beta-tc", f"{at}.beta_tc:BetaTC", "a VAE whose dimensions are to be independent, by total correlation", 2
        ),
        Entry("dip", f"{at}.dip:DIP", "a VAE whose dimensions are to be uncorrelated, by their covariance", 2),
    ]


@hookimpl
def aekit_register_backbones() -> list[Entry]:
    at = "aekit_plugins.backbones"
    seen = ("image", "series", "clip")
    any_kind = ("vector", "series", "image", "clip")
    return [
        Entry(
            "conv",
            f"{at}.conv:Conv",
            "strided convolutions over images, series and clips of any size",
            2,
            ("image", "series", "clip"),
        ),
        Entry("resnet", f"{at}.resnet:ResNet", "residual networks, for large samples and small ones", 2, seen),
        Entry("mlp", f"{at}.mlp:MLP", "fully connected layers over the flattened sample", 2, any_kind),
        Entry("linear", f"{at}.linear:Linear", "no layers: the head and its mirror are the whole network", 2, any_kind),
        Entry("timm", f"{at}.timm_backbone:Timm", "any network of timm, with pretrained weights", 2, ("image",)),
    ]


@hookimpl
def aekit_register_sources() -> list[Entry]:
    at = "aekit_plugins.sources"
    tables = (".csv", ".tsv", ".parquet")
    netpbm = (".pbm", ".pgm", ".ppm")
    images = (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", *netpbm)
    arrays = (".npy", ".npz", ".gz", "-ubyte", ".idx")
    videos = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
    return [
        Entry(
            "arrays",
            f"{at}.arrays:Arrays",
            "npy, npz and IDX files and numeric tables",
            2,
            ("folder", *arrays, *tables),
        ),
        Entry(
            "images",
            f"{at}.images:Images",
            "folders and lists of images",
            2,
            ("folder", *tables, ".csv.gz", ".tsv.gz", *images),
        ),
        Entry(
            "patches",
            f"{at}.patches:Patches",
            "a grid of patches of images at their natural size",
            2,
            ("folder", *tables),
        ),
        Entry("series", f"{at}.series:Series", "series in .ts files of the UCR and UEA archives", 2, ("folder", ".ts")),
        Entry(
            "recordings",
            f"{at}.recordings:Recordings",
            "windows of long series: tables with a row for each step, arrays, sound",
            2,
            ("folder", ".csv", ".tsv", ".parquet", ".npy", ".wav"),
        ),
        Entry(
            "clips",
            f"{at}.clips:Clips",
            "windows of frames of videos, animated images and arrays of frames",
            2,
            ("folder", *videos, ".apng", ".gif", ".webp", ".npy", ".npz"),
        ),
        Entry(
            "mnist-variations",
            f"{at}.mnist_variations:MnistVariations",
            "MNIST's digits turned, or on noise: basic, rot, bg-rand, rot-bg-rand",
            2,
        ),
        Entry(
            "sklearn", f"{at}.sklearn_datasets:open_dataset", "data that ships with scikit-learn: digits, iris ...", 2
        ),
        Entry("aeon", f"{at}.aeon:open_dataset", "series data sets that come inside aeon: GunPoint, ArrowHead ...", 2),
        Entry("torchvision", f"{at}.torchvision_datasets:open_dataset", "torchvision's data sets, by name", 2),
    ]


@hookimpl
def aekit_register_indexes() -> list[Entry]:
    at = "aekit_plugins.indexes"
    return [
        Entry("faiss", f"{at}.faiss_index:Faiss", "FAISS, exact or approximate as the size of the data asks for", 2)
    ]


@hookimpl
def aekit_register_evaluators() -> list[Entry]:
    at, labels, quick = "aekit_plugins.evaluators", ("labels",), ("labels", "quick")
    return [
        Entry(
            "probe",
            f"{at}.probe:evaluate",
            "a linear model on frozen embeddings, for classes, several labels or numbers",
            2,
            ("labels", "targets", "multi-label", "quick"),
        ),
        Entry("knn", f"{at}.knn:evaluate", "the vote of the nearest training samples", 2, quick),
        Entry("few-labels", f"{at}.few_labels:evaluate", "a linear model with 1 to 100 labels a class", 2, labels),
        Entry("retrieval", f"{at}.retrieval:evaluate", "whether what is found first is of the same class", 2, quick),
        Entry("anomaly", f"{at}.anomaly:evaluate", "whether other classes lie far from a normal one", 2, labels),
        Entry(
            "kmeans", f"{at}.kmeans:evaluate", "whether clusters agree with classes, and hold together", 2, ("quick",)
        ),
        Entry("gaussian-mixture", f"{at}.gaussian_mixture:evaluate", "the same for groups of any extent", 2),
        Entry("hdbscan", f"{at}.hdbscan:evaluate", "the same for dense groups of any form and number", 2),
        Entry("svm", f"{at}.svm:evaluate", "a support vector machine, linear or rbf", 2, ("labels", "slow")),
        Entry("mlp-head", f"{at}.mlp_head:evaluate", "a small network on frozen embeddings", 2, ("labels", "slow")),
    ]
