"""Register the built-in plugins, exactly as an outside package registers its own."""

from __future__ import annotations

from aekit.plugin import (
    ARRAY_ENDINGS,
    IMAGE_ENDINGS,
    SHEET_ENDINGS,
    SOUND_ENDINGS,
    STATISTICS_ENDINGS,
    TEXT_ENDINGS,
    VIDEO_ENDINGS,
    Entry,
    hookimpl,
)

from .pretexts import aekit_register_pretexts as aekit_register_pretexts

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


@hookimpl
def aekit_register_sources() -> list[Entry]:
    at = "aekit_plugins.sources"
    tables = (*TEXT_ENDINGS, ".arff", ".parquet", *SHEET_ENDINGS, *STATISTICS_ENDINGS)
    packed = (*(f"{ending}.gz" for ending in TEXT_ENDINGS), ".arff.gz")
    return [
        Entry(
            "arrays",
            f"{at}.arrays:Arrays",
            "reads npy, npz and IDX files and numeric tables",
            API,
            ("folder", *ARRAY_ENDINGS, *tables),
        ),
        Entry(
            "images",
            f"{at}.images:Images",
            "reads folders and lists of images",
            API,
            ("folder", *tables, *packed, *IMAGE_ENDINGS),
        ),
        Entry(
            "patches",
            f"{at}.patches:Patches",
            "cuts images at their original size into a grid of patches",
            API,
            ("folder", *tables),
        ),
        Entry(
            "series",
            f"{at}.series:Series",
            "reads series in the .ts, .tsv and .txt files of the UCR and UEA archives",
            API,
            ("folder", ".ts", ".tsv", ".txt"),
        ),
        Entry(
            "recordings",
            f"{at}.recordings:Recordings",
            "cuts long series into windows: tables with one row per step, arrays, sound",
            API,
            ("folder", *tables, ".npy", *SOUND_ENDINGS),
        ),
        Entry(
            "clips",
            f"{at}.clips:Clips",
            "cuts videos, animated images and arrays of frames into windows",
            API,
            ("folder", *VIDEO_ENDINGS, ".apng", ".gif", ".webp", ".npy", ".npz"),
        ),
        Entry(
            "vectors",
            f"{at}.vectors:open_dataset",
            "reads vectors that another program computed: lists in Parquet files, npy",
            API,
            ("folder", ".parquet"),
        ),
        Entry(
            "parquet-images",
            f"{at}.parquet_images:open_dataset",
            "reads encoded images in Parquet files, as Hugging Face data sets have them",
            API,
            ("folder", ".parquet"),
        ),
        Entry(
            "saved-dataset",
            f"{at}.saved_dataset:open_dataset",
            "reads folders that save_to_disk of Hugging Face's datasets wrote",
            API,
            ("folder",),
        ),
        Entry("lance", f"{at}.lance_dataset:open_dataset", "reads Lance data sets", API, ("folder", ".lance")),
        Entry(
            "webdataset",
            f"{at}.webdataset:open_dataset",
            "reads tar files of samples, as WebDataset writes them",
            API,
            ("folder", ".tar", ".tar.gz", ".tgz"),
        ),
        Entry("hdf5", f"{at}.hdf5:open_dataset", "reads arrays in HDF5 files", API, (".h5", ".hdf5", ".he5", ".hdf")),
        Entry("zarr", f"{at}.zarr_arrays:open_dataset", "reads arrays in Zarr stores", API, (".zarr",)),
        Entry("matlab", f"{at}.matlab:open_dataset", "reads arrays in MATLAB files", API, (".mat",)),
        Entry("arrow", f"{at}.arrow:open_dataset", "reads files of Arrow and Feather", API, (".arrow", ".feather")),
        Entry(
            "json-lines",
            f"{at}.json_lines:open_dataset",
            "reads records: lists of numbers, paths of images, plain numbers",
            API,
            (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".json"),
        ),
        Entry("huggingface", f"{at}.huggingface:open_dataset", "opens data sets of the Hugging Face hub, by name", API),
        Entry(
            "mnist-variations",
            f"{at}.mnist_variations:MnistVariations",
            "makes MNIST digits, rotated or on noise: basic, rot, bg-rand, rot-bg-rand",
            API,
        ),
        Entry(
            "sklearn",
            f"{at}.sklearn_datasets:open_dataset",
            "opens data sets that ship with scikit-learn: digits, iris ...",
            API,
        ),
        Entry(
            "aeon",
            f"{at}.aeon:open_dataset",
            "opens series data sets that ship with aeon: GunPoint, ArrowHead ...",
            API,
        ),
        Entry("torchvision", f"{at}.torchvision_datasets:open_dataset", "opens data sets of torchvision, by name", API),
    ]


@hookimpl
def aekit_register_indexes() -> list[Entry]:
    at = "aekit_plugins.indexes"
    return [
        Entry(
            "faiss",
            f"{at}.faiss_index:Faiss",
            "searches with FAISS, exact or approximate depending on the size of the data",
            API,
        ),
        Entry("pgvector", f"{at}.pgvector_index:PgVector", "keeps vectors in PostgreSQL, in a table of pgvector", API),
        Entry(
            "milvus", f"{at}.milvus_index:Milvus", "keeps vectors in Milvus: a server, or a file of Milvus Lite", API
        ),
        Entry("lancedb", f"{at}.lancedb_index:LanceDb", "keeps vectors in LanceDB: a folder, or object storage", API),
    ]


@hookimpl
def aekit_register_evaluators() -> list[Entry]:
    at, labels, quick = "aekit_plugins.evaluators", ("labels", "concurrent"), ("labels", "concurrent", "quick")
    return [
        Entry(
            "probe",
            f"{at}.probe:evaluate",
            "fits a linear model to frozen embeddings, for classes, several labels or numbers",
            API,
            ("labels", "numbers", "multi-label", "concurrent", "quick"),
        ),
        Entry("knn", f"{at}.knn:evaluate", "classifies by a vote of the nearest training samples", API, quick),
        Entry(
            "few-labels", f"{at}.few_labels:evaluate", "fits a linear model to 1 to 100 labels per class", API, labels
        ),
        Entry(
            "retrieval",
            f"{at}.retrieval:evaluate",
            "measures how well a search finds samples of the same class",
            API,
            quick,
        ),
        Entry(
            "anomaly",
            f"{at}.anomaly:evaluate",
            "measures how well samples of other classes are told from normal ones",
            API,
            labels,
        ),
        Entry(
            "kmeans",
            f"{at}.kmeans:evaluate",
            "compares clusters of k-means with classes, and measures how separated they are",
            API,
            ("concurrent", "quick"),
        ),
        Entry(
            "gaussian-mixture",
            f"{at}.gaussian_mixture:evaluate",
            "compares Gaussian clusters of any size and orientation with classes",
            API,
            ("concurrent",),
        ),
        Entry(
            "hdbscan",
            f"{at}.hdbscan:evaluate",
            "compares dense clusters of any shape and number with classes",
            API,
            ("concurrent",),
        ),
        Entry(
            "svm",
            f"{at}.svm:evaluate",
            "fits a support vector machine, linear or rbf",
            API,
            ("labels", "concurrent", "slow"),
        ),
        Entry(
            "mlp-head",
            f"{at}.mlp_head:evaluate",
            "fits a small nonlinear network to frozen embeddings",
            API,
            ("labels", "concurrent", "slow"),
        ),
    ]
