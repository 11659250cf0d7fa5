"""Register the built-in sources of samples for `aekit_plugins`."""

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

API = 2
"""Version of the plugin API that these plugins were written for."""


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
