"""Containers of Python: lists of images and paths, data sets of torch and Hugging Face, dicts, generators."""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from unusual.harness import Area, Listener

import aekit

AREA = Area(__name__)
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 8), np.uint8)
COLORS = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
ROWS = RNG.normal(size=(6, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def samples(source: aekit.Source) -> np.ndarray:
    """Return all samples (N, ...), each of which has to be readable."""
    rows, ok = source.read(np.arange(len(source)))
    assert ok.all(), source.skipped
    return rows


def holds(source: aekit.Source, expected: np.ndarray, labels: object = None, ids: object = None) -> None:
    """Check all samples, the labels and the ids of a source."""
    rows = samples(source)
    assert rows.shape == expected.shape and np.array_equal(rows, expected), (rows.shape, expected.shape)
    assert (None if source.labels is None else source.labels.tolist()) == labels
    assert ids is None or list(source.ids) == ids


def image_files(folder: Path) -> list[Path]:
    """Write six gray images."""
    paths = [folder / f"{number}.png" for number in range(len(PIXELS))]
    for path, pixels in zip(paths, PIXELS):
        Image.fromarray(pixels).save(path)
    return paths


class Pairs(Dataset[Any]):
    """Samples with labels, by position."""

    def __init__(self, items: list[Any], classes: list[str] | None = None) -> None:
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        return self.items[row]


class Stream(IterableDataset[Any]):
    """Samples one after another."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


@AREA.changed(
    "a DataFrame whose classes are called NA", "'NA' in 'label' is no label, but a missing one, in 20 of 60 rows"
)
def _(folder: Path, listener: Listener) -> None:
    frame = pd.DataFrame(RNG.normal(size=(60, 3)), columns=["a", "b", "c"])
    source = aekit.open_data(frame.assign(label=["NA", "EU", "AS"] * 20))
    assert source.labels is not None and sorted(set(source.labels)) == ["", "AS", "EU"]
    listener.lines += source.notes


@AREA.right("a list of pathlib paths of images")
def _(folder: Path, listener: Listener) -> None:
    paths = image_files(folder)
    holds(aekit.open_data(paths[:3]), PIXELS[:3, None], None, [path.as_posix() for path in paths[:3]])


@AREA.right("a list of strings, the paths of images, with an option")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data([str(path) for path in image_files(folder)], {"images": {"size": 4, "channels": 3}})
    assert source.spec.shape == (3, 4, 4) and len(source) == 6


@AREA.right("a tuple of paths of images")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(tuple(image_files(folder))), PIXELS[:, None])


@AREA.changed("a list of paths, one of which does not exist", "1 of 3 images cannot be read and will be skipped")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data([*image_files(folder)[:2], folder / "gone.png"])
    rows, ok = source.read(np.arange(3))
    assert ok.tolist() == [True, True, False] and np.array_equal(rows[:2, 0], PIXELS[:2])


@AREA.refused("a list of paths that do not exist", "none of the 2 files exists, e.g. 'a.png'; paths start from")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(["a.png", "b.png"])


@AREA.refused("a list with the path of a folder", "pass the path itself")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data([folder])


@AREA.refused("a list of paths of array files", "a list of paths with a file that ends in '.npy', 'a.npy'")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(["a.npy", "b.npy"])


@AREA.refused("a list with one path twice", "1 paths occur more than once in the list")
def _(folder: Path, listener: Listener) -> None:
    path = image_files(folder)[0]
    aekit.open_data([path, path])


@AREA.refused("a list of words that are no paths", "expected image files")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(["good morning", "good night"])


@AREA.refused("a list of an image and an array", "entry 1 of the list is of type ndarray; expected images, as entry 0")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data([Image.fromarray(PIXELS[0]), PIXELS[1]])


@AREA.refused("an empty list", "an empty list: expected arrays")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data([])


@AREA.right("a single image of Pillow")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(Image.fromarray(PIXELS[0])), PIXELS[:1, None], None, ["0"])


@AREA.right("a list of images of Pillow in color")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data([Image.fromarray(pixels) for pixels in COLORS]), COLORS.transpose(0, 3, 1, 2))


@AREA.right("images of Pillow of modes 1, L, P, LA, RGBA, CMYK and RGB, read as RGB")
def _(folder: Path, listener: Listener) -> None:
    modes = ("1", "L", "P", "LA", "RGBA", "CMYK", "RGB")
    images = [Image.new("RGB", (8, 8), "white").convert(mode) for mode in modes]
    rows = samples(aekit.open_data(images))
    assert rows.shape == (7, 3, 8, 8) and rows.min() >= 254


@AREA.changed("images of Pillow of several sizes", "images differ in size")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data([Image.fromarray(PIXELS[0]), Image.fromarray(PIXELS[1]).resize((20, 10))])
    source.report_notes(listener)
    assert samples(source).shape == (2, 1, 64, 64)


@AREA.right("a 16-bit image of Pillow")
def _(folder: Path, listener: Listener) -> None:
    deep = PIXELS.astype(np.uint16) * 257
    holds(aekit.open_data([Image.fromarray(pixels) for pixels in deep]), deep[:, None])


@AREA.right("an image of Pillow is not changed by opening it")
def _(folder: Path, listener: Listener) -> None:
    image = Image.fromarray(COLORS[0])
    samples(aekit.open_data([image], {"images": {"size": 4}}))
    assert image.size == (8, 8) and np.array_equal(np.asarray(image), COLORS[0])


@AREA.right("the bytes of an image file, as an upload has them")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(image_files(folder)[2].read_bytes()), PIXELS[2:3, None])


@AREA.right("a list of the bytes of image files")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data([path.read_bytes() for path in image_files(folder)]), PIXELS[:, None])


@AREA.refused("bytes that are no image", "none of 1 images can be read: not an image that Pillow reads")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(b"good morning")


@AREA.refused("an open file", "pass the path of the file, or the bytes of an image")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(io.BytesIO(b"content"))


@AREA.refused("an option of arrays for images in memory", "data.arrays: images in memory take the options of 'images'")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data([Image.fromarray(PIXELS[0])], {"arrays": {"kind": "image"}})


@AREA.refused("an option of lists of files for images in memory", "data.images.column: not for images in memory")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data([Image.fromarray(PIXELS[0])], {"images": {"column": "path"}})


@AREA.changed("a pair (X, y), as scikit-learn returns it", "read as samples and labels, (X, y)")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data((ROWS, LABELS))
    source.report_notes(listener)
    holds(source, ROWS, LABELS.tolist())


@AREA.right("a pair (X, y) whose y is a list, or a column of pandas, in which labels are missing")
def _(folder: Path, listener: Listener) -> None:
    names: list[Any] = ["a", "b", None, "a", float("nan"), "b"]
    for y in (names, tuple(names), pd.Series(names), pd.Series(names, dtype="string"), pd.Categorical(names)):
        holds(aekit.open_data((ROWS, y)), ROWS, ["a", "b", "", "a", "", "b"])
    numbers = aekit.open_data((ROWS, pd.array([0, 1, None, 0, 1, 1], dtype="Int64"))).labels
    assert np.array_equal(numbers, [0, 1, np.nan, 0, 1, 1], equal_nan=True)


@AREA.changed("a pair (X, y) whose X is sparse", "a sparse matrix of 6 x 4 was made dense")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data((scipy.sparse.csr_matrix(ROWS), LABELS))
    source.report_notes(listener)
    holds(source, ROWS, LABELS.tolist())


class Exported:
    """An array of a library that shows its memory by DLPack alone, as cupy does; `device` is 1 for the CPU, 2 for CUDA."""

    def __init__(self, array: np.ndarray, device: int) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        if self.device != 1:
            raise BufferError("copies to another device are not made unasked")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0


@AREA.right("objects that show their memory: a memoryview, an `__array_interface__`, and DLPack")
def _(folder: Path, listener: Listener) -> None:
    interface = SimpleNamespace(__array_interface__=ROWS.__array_interface__)
    for data in (memoryview(ROWS), interface, Exported(ROWS.copy(), 1)):
        holds(aekit.open_data(data), ROWS)


@AREA.refused(
    "an array of another library on a GPU", "data of type Exported: not in the memory of the CPU, or not an array"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(Exported(ROWS.copy(), 2))


@AREA.right("lists of decimals, of fractions, and of whole numbers beyond 64 bits")
def _(folder: Path, listener: Listener) -> None:
    rows = [[Decimal("1.5"), Fraction(1, 4)], [2**70, 0]]
    holds(aekit.open_data(rows), np.array([[1.5, 0.25], [2.0**70, 0]]))


@AREA.right("a dict of arrays named after splits")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data({"train": ROWS[:3], "val": ROWS[3:4], "test": ROWS[4:]})
    holds(source, ROWS)
    assert source.splits is not None and source.splits.tolist() == ["train"] * 3 + ["validation"] + ["test"] * 2


@AREA.refused("a dict of dicts", "the dict: no arrays under 'train', 'test'; expected arrays, such as")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({"train": {"x": ROWS}, "test": {"x": ROWS}})


@AREA.refused(
    "labels before the samples, (y, X)", "a tuple of ndarray (6,) and ndarray (6, 4): expected an array (N, ...), or"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data((np.arange(6), ROWS))


@AREA.refused(
    "a pair of samples and a generator of labels", "a tuple of ndarray (6, 4) and generator: expected an array"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data((ROWS, (label for label in "abcabc")))


@AREA.changed("an array of text with numbers in it", "numbers written as text are read as numbers, 24 of 24")
def _(folder: Path, listener: Listener) -> None:
    numbers = np.arange(24.0).reshape(6, 4)
    texts = numbers.astype(str)
    for written in (texts, numbers.astype("S"), texts.astype(object), texts.tolist(), {"x": texts}):
        source = aekit.open_data(written)
        source.report_notes(listener)
        holds(source, numbers)


@AREA.refused("an array of text with words in it", "array of text: 'b' at (0, 1): expected numbers; a DataFrame keeps")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(np.array([["1", "b"]] * 4))


@AREA.right("tensors that NumPy cannot show: float8, a negative view, a quantized one")
def _(folder: Path, listener: Listener) -> None:
    rows = torch.tensor(ROWS)
    negative = torch.complex(-rows, -rows).conj().imag
    quantized = torch.quantize_per_tensor(rows, 1.0, 0, torch.qint32)
    for tensor in (negative, quantized):
        holds(aekit.open_data(tensor), rows.round().numpy() if tensor is quantized else ROWS)
    assert aekit.open_data(rows.to(torch.float8_e4m3fn)).spec.dtype == "float32"


@AREA.refused("a tensor on the device `meta`", "a tensor (6, 4) on the device 'meta', which holds no values")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(torch.empty(6, 4, device="meta"))


@AREA.refused("a DataFrame without rows", "the table: has no rows")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(pd.DataFrame(ROWS)[:0])


@AREA.refused("a pair of arrays of which the second is longer", "a tuple of ndarray (6, 4) and ndarray (7,): expected")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data((ROWS, np.arange(7)))


@AREA.right("a list of (sample, label) pairs")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(list(zip(ROWS, LABELS))), ROWS, LABELS.tolist())


@AREA.right("a list of (image, class name) pairs")
def _(folder: Path, listener: Listener) -> None:
    pairs = [(Image.fromarray(pixels), name) for pixels, name in zip(PIXELS, "abcabc")]
    holds(aekit.open_data(pairs), PIXELS[:, None], list("abcabc"))


@AREA.right("a list of tensors")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data([torch.from_numpy(row) for row in ROWS]), ROWS)


@AREA.right("a list of tensors that require gradients")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data([torch.from_numpy(row).requires_grad_() for row in ROWS]), ROWS)


@AREA.right("a list of lists of numbers")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(ROWS.astype(float).tolist()), ROWS.astype(float))


@AREA.right("an object array of equal arrays")
def _(folder: Path, listener: Listener) -> None:
    boxed = np.empty(6, object)
    boxed[:] = list(ROWS)
    holds(aekit.open_data(boxed), ROWS)


@AREA.refused("an object array of arrays of two shapes", "row 1 of the list has shape (2,), row 0 has (3,)")
def _(folder: Path, listener: Listener) -> None:
    boxed = np.empty(2, object)
    boxed[:] = [np.zeros(3), np.zeros(2)]
    aekit.open_data(boxed)


@AREA.right("a dict of samples and labels")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data({"x": ROWS, "y": LABELS}), ROWS, LABELS.tolist())


@AREA.right("a dict of tensors with class names as a list")
def _(folder: Path, listener: Listener) -> None:
    holds(
        aekit.open_data({"images": torch.from_numpy(PIXELS), "labels": list("abcabc")}), PIXELS[:, None], list("abcabc")
    )


@AREA.right("a dict with samples of two splits")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data({"x_train": ROWS[:4], "y_train": LABELS[:4], "x_test": ROWS[4:], "y_test": LABELS[4:]})
    holds(source, ROWS, LABELS.tolist())
    assert source.splits is not None and source.splits.tolist() == ["train"] * 4 + ["test"] * 2


@AREA.right("a dict with ids and splits")
def _(folder: Path, listener: Listener) -> None:
    parts = ["train"] * 5 + ["test"]
    source = aekit.open_data({"x": ROWS, "ids": list("abcdef"), "split": parts})
    holds(source, ROWS, None, list("abcdef"))
    assert source.splits is not None and source.splits.tolist() == parts


@AREA.refused("a dict with ids that repeat", "id 'a' occurs more than once")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({"x": ROWS, "ids": list("aabcde")})


@AREA.refused("a dict with a split of an unknown name", "split 'holdout'; expected train, validation or test")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({"x": ROWS, "split": ["train"] * 5 + ["holdout"]})


@AREA.changed("a dict as scikit-learn's load_iris returns it", "not used: target_names")
def _(folder: Path, listener: Listener) -> None:
    from sklearn.datasets import load_iris

    bunch = load_iris()
    source = aekit.open_data(bunch)
    source.report_notes(listener)
    holds(source, bunch.data, bunch.target.tolist())


@AREA.right("a dict of columns of numbers, as a table")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data({"a": [1.0, 2.0, 3.0], "b": [0.5, 0.25, 0.0], "label": ["u", "v", "u"]})
    holds(source, np.array([[1.0, 0.5], [2.0, 0.25], [3.0, 0.0]]), ["u", "v", "u"])


@AREA.refused("a dict whose labels are too few", "y has 3 labels for the 6 samples of x")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({"x": ROWS, "y": LABELS[:3]})


@AREA.refused("a dict without an array of a usual name", "expected one of X, data, images")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({"left": ROWS, "right": ROWS})


@AREA.refused("an empty dict", "an empty dict: expected arrays")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({})


@AREA.changed("a sparse matrix", "a sparse matrix of 3 x 4 was made dense")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(scipy.sparse.csr_matrix(np.diag([1.0, 2.0, 3.0, 4.0])[:3]))
    source.report_notes(listener)
    holds(source, np.diag([1.0, 2.0, 3.0, 4.0])[:3])


@AREA.refused(
    "a sparse matrix that is too large as an array", "reduce it first, e.g. with sklearn.decomposition.TruncatedSVD"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(scipy.sparse.csr_matrix((100_000, 50_000)))


@AREA.right("a pandas Series of arrays, with ids in its index")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(pd.Series(list(ROWS), index=list("abcdef"))), ROWS, None, list("abcdef"))


@AREA.right("a pandas Series of paths of images")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(pd.Series([str(path) for path in image_files(folder)])), PIXELS[:, None])


@AREA.refused("a pandas Series of numbers", "pass a DataFrame, whose rows are the samples: data.to_frame()")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(pd.Series([1.0, 2.0, 3.0]))


@AREA.right("a torch TensorDataset with labels")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(TensorDataset(torch.from_numpy(ROWS), torch.from_numpy(LABELS))), ROWS, LABELS.tolist())


@AREA.right("a torch TensorDataset without labels")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(TensorDataset(torch.from_numpy(PIXELS))), PIXELS[:, None])


@AREA.right("a torch Dataset of images of Pillow, with class names")
def _(folder: Path, listener: Listener) -> None:
    items = [(Image.fromarray(pixels), int(label)) for pixels, label in zip(PIXELS, LABELS)]
    holds(aekit.open_data(Pairs(items, ["cat", "dog", "eel"])), PIXELS[:, None], ["cat", "dog", "eel"] * 2)


@AREA.right("a torch Subset")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(Subset(Pairs(list(zip(ROWS, LABELS))), [5, 0])), ROWS[[5, 0]], [2, 0])


@AREA.right("a torch Dataset of dicts")
def _(folder: Path, listener: Listener) -> None:
    items = [{"pixel_values": pixels[None], "label": str(label)} for pixels, label in zip(PIXELS, LABELS)]
    holds(aekit.open_data(Pairs(items)), PIXELS[:, None], list("012012"))


@AREA.changed(
    "a torch Dataset whose items change from read to read", "items of the Dataset differ each time they are read"
)
def _(folder: Path, listener: Listener) -> None:
    class Noisy(Pairs):
        def __getitem__(self, row: int) -> Any:
            return self.items[row] + RNG.normal(size=4).astype(np.float32)

    assert samples(aekit.open_data(Noisy(list(ROWS)))).shape == ROWS.shape


@AREA.changed("a torch Dataset of triples", "the third entry of each sample of the Pairs is not used")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(Pairs([(row, label, "extra") for row, label in zip(ROWS, "abcabc")])), ROWS, list("abcabc"))


@AREA.changed(
    "a torch Dataset of pairs of images, such as noisy and clean", "the second entry of each sample of the Pairs"
)
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(Pairs([(pixels[None], pixels[None]) for pixels in PIXELS])), PIXELS[:, None])


@AREA.refused("a torch Dataset with an item that raises", "item 2 of the Dataset Broken raises OSError: disk on fire")
def _(folder: Path, listener: Listener) -> None:
    class Broken(Pairs):
        def __getitem__(self, row: int) -> Any:
            if row == 2:
                raise OSError("disk on fire")
            return self.items[row]

    aekit.open_data(Broken(list(ROWS)))


@AREA.refused("a torch Dataset whose samples differ in shape", "row 1 of the Pairs has shape (5,), row 0 has (4,)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(Pairs([np.zeros(4), np.zeros(5)]))


@AREA.refused("an empty torch Dataset", "the Dataset Pairs is empty")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(Pairs([]))


@AREA.refused("a torch Dataset without a length", "has no length")
def _(folder: Path, listener: Listener) -> None:
    class Endless(Dataset[Any]):
        def __getitem__(self, row: int) -> Any:
            return ROWS[0]

    aekit.open_data(Endless())


@AREA.refused("a torch Dataset of text", "expected numbers")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(Pairs(["good morning", "good night"]))


@AREA.changed("an IterableDataset", "6 samples of the Stream were read into memory")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(Stream(list(zip(ROWS, LABELS))))
    source.report_notes(listener)
    holds(source, ROWS, LABELS.tolist())


@AREA.right("a DataLoader, unbatched")
def _(folder: Path, listener: Listener) -> None:
    loader = DataLoader(TensorDataset(torch.from_numpy(ROWS), torch.from_numpy(LABELS)), batch_size=4)
    holds(aekit.open_data(loader), ROWS, LABELS.tolist())


@AREA.changed("a DataLoader that shuffles", "its data set is read in order instead")
def _(folder: Path, listener: Listener) -> None:
    data = TensorDataset(torch.from_numpy(ROWS), torch.from_numpy(LABELS))
    source = aekit.open_data(DataLoader(data, batch_size=4, shuffle=True, drop_last=True))
    source.report_notes(listener)
    holds(source, ROWS, LABELS.tolist())


@AREA.changed(
    "a DataLoader with a sampler of some samples", "the batches of the DataLoader were read once, in its order"
)
def _(folder: Path, listener: Listener) -> None:
    data = TensorDataset(torch.from_numpy(ROWS), torch.from_numpy(LABELS))
    source = aekit.open_data(DataLoader(data, batch_size=2, sampler=[4, 1, 3]))
    source.report_notes(listener)
    holds(source, ROWS[[4, 1, 3]], LABELS[[4, 1, 3]].tolist())


@AREA.changed("a DataLoader over an IterableDataset of dicts", "6 samples of the DataLoader were read into memory")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(DataLoader(Stream([{"x": x, "y": int(y)} for x, y in zip(ROWS, LABELS)]), batch_size=4))
    source.report_notes(listener)
    holds(source, ROWS, LABELS.tolist())


@AREA.changed("a generator of arrays", "6 samples of the generator were read into memory")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(row for row in ROWS)
    source.report_notes(listener)
    holds(source, ROWS)


@AREA.changed("a generator of images of Pillow", "6 samples of the generator were read into memory")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(Image.fromarray(pixels) for pixels in PIXELS)
    source.report_notes(listener)
    holds(source, PIXELS[:, None])


@AREA.changed("an iterator of paths of images", "the generator was read into a list")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(path for path in image_files(folder))
    source.report_notes(listener)
    holds(source, PIXELS[:, None])


@AREA.refused("a generator that was used up", "it yields no samples; was it used up before?")
def _(folder: Path, listener: Listener) -> None:
    rows = (row for row in ROWS)
    list(rows)
    aekit.open_data(rows)


@AREA.refused("a generator that never ends", "does it end?")
def _(folder: Path, listener: Listener) -> None:
    from unittest import mock

    def endless() -> Iterator[np.ndarray]:
        while True:
            yield ROWS[0]

    with mock.patch("aekit.data._items.MATERIALIZED_BYTES", 1000):
        aekit.open_data(endless())


@AREA.refused("a set", "it has no order; pass a list")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({1, 2, 3})


@AREA.refused("None", "data of type NoneType: expected a path, SOURCE:NAME, an array, a table or a Source")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(None)


@AREA.refused("a number", "data of type int: expected a path")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(3)


@AREA.refused("a class instead of a data set", "data of type type")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(TensorDataset)


@AREA.right("a datasets.Dataset of images, with class names")
def _(folder: Path, listener: Listener) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "eel"])})
    images = [Image.fromarray(pixels) for pixels in PIXELS]
    data = datasets.Dataset.from_dict({"image": images, "label": LABELS.tolist()}, features=features)
    holds(aekit.open_data(data), PIXELS[:, None], ["cat", "dog", "eel"] * 2)
    holds(aekit.open_data(data.select([4, 1])), PIXELS[[4, 1], None], ["dog", "dog"])


@AREA.right("a datasets.DatasetDict of vectors")
def _(folder: Path, listener: Listener) -> None:
    import datasets

    parts = {name: {"vector": ROWS[rows].tolist(), "y": list("abcabc")[rows]} for name, rows in
             (("train", slice(0, 4)), ("test", slice(4, 6)))}  # fmt: skip
    source = aekit.open_data(datasets.DatasetDict({n: datasets.Dataset.from_dict(part) for n, part in parts.items()}))
    assert np.allclose(samples(source), ROWS) and source.labels is not None and source.labels.tolist() == list("abcabc")
    assert source.splits is not None and source.splits.tolist() == ["train"] * 4 + ["test"] * 2


@AREA.right("a datasets.Dataset of columns of numbers")
def _(folder: Path, listener: Listener) -> None:
    import datasets

    data = datasets.Dataset.from_dict({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 2.0], "label": [0, 1, 0]})
    holds(aekit.open_data(data), np.array([[1.0, 3.0], [2.0, 1.0], [3.0, 2.0]]), [0, 1, 0])


@AREA.refused("a datasets.Dataset of text", "")
def _(folder: Path, listener: Listener) -> None:
    import datasets

    aekit.open_data(datasets.Dataset.from_dict({"text": [f"sentence {number}" for number in range(30)]}))


@AREA.changed("a datasets.IterableDataset", "were read into memory")
def _(folder: Path, listener: Listener) -> None:
    import datasets

    data = datasets.Dataset.from_dict({"vector": ROWS.tolist(), "label": LABELS.tolist()}).to_iterable_dataset()
    source = aekit.open_data(data)
    source.report_notes(listener)
    assert (
        np.allclose(samples(source), ROWS) and source.labels is not None and source.labels.tolist() == LABELS.tolist()
    )


@AREA.right("an object with __array__, such as an array of another library")
def _(folder: Path, listener: Listener) -> None:
    class Foreign:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return ROWS

    holds(aekit.open_data(Foreign()), ROWS)


@AREA.right("a pyarrow RecordBatch")
def _(folder: Path, listener: Listener) -> None:
    holds(
        aekit.open_data(pa.RecordBatch.from_pydict({"a": [1.0, 2.0], "b": [3.0, 5.0]})),
        np.array([[1.0, 3.0], [2.0, 5.0]]),
    )


@AREA.right("a list of images, trained on and embedded")
def _(folder: Path, listener: Listener) -> None:
    images = [Image.fromarray(pixels) for pixels in PIXELS]
    encoder = aekit.fit(images, dim=2, epochs=1, backbone="mlp")
    embeddings = aekit.embed(encoder, images[:2])
    assert np.allclose(embeddings.vectors, aekit.embed(encoder, PIXELS[:2]).vectors)


@AREA.right("a DataFrame with a column of arrays")
def _(folder: Path, listener: Listener) -> None:
    holds(
        aekit.open_data(pd.DataFrame({"id": list("abcdef"), "vector": list(ROWS), "label": LABELS})),
        ROWS,
        LABELS.tolist(),
    )


@AREA.right("a DataFrame with a column of the bytes of images")
def _(folder: Path, listener: Listener) -> None:
    contents = [path.read_bytes() for path in image_files(folder)]
    holds(aekit.open_data(pd.DataFrame({"image": contents, "label": list("abcabc")})), PIXELS[:, None], list("abcabc"))


@AREA.right("a DataFrame of numbers with a column of hashes")
def _(folder: Path, listener: Listener) -> None:
    table = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 5.0, 6.0], "sha": [b"\x01\x02", b"\x03\x04", b"\x05"]})
    holds(aekit.open_data(table), np.array([[1.0, 3.0], [2.0, 5.0], [4.0, 6.0]]))


@AREA.right("a pyarrow array of lists")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(pa.array(list(ROWS))), ROWS)
    holds(aekit.open_data(pa.chunked_array([list(ROWS[:2]), list(ROWS[2:])])), ROWS)


@AREA.right("a structured array of NumPy")
def _(folder: Path, listener: Listener) -> None:
    rows = np.array([(1.0, 2, "u"), (3.0, 5, "v"), (4.0, 4, "u")], [("a", "f8"), ("b", "i4"), ("label", "U1")])
    holds(aekit.open_data(rows), np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]]), ["u", "v", "u"])


@AREA.right("a list of dicts of numbers, as records")
def _(folder: Path, listener: Listener) -> None:
    records = [{"a": 1.0, "b": 2.0, "label": "u"}, {"a": 3.0, "b": 5.0, "label": "v"}]
    holds(aekit.open_data(records), np.array([[1.0, 2.0], [3.0, 5.0]]), ["u", "v"])


@AREA.right("a list of dicts of an array and a label")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data([{"x": row, "y": int(label)} for row, label in zip(ROWS, LABELS)]), ROWS, LABELS.tolist())


@AREA.right("a dict of a list of images and their labels")
def _(folder: Path, listener: Listener) -> None:
    images = [Image.fromarray(pixels) for pixels in PIXELS]
    holds(aekit.open_data({"image": images, "label": list("abcabc")}), PIXELS[:, None], list("abcabc"))


@AREA.right("a dict of paths of images and their labels")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data({"path": image_files(folder), "label": LABELS}), PIXELS[:, None], LABELS.tolist())


@AREA.right("a Subset of a Dataset with class names")
def _(folder: Path, listener: Listener) -> None:
    data = Subset(Pairs(list(zip(ROWS, LABELS)), ["cat", "dog", "eel"]), [1, 2])
    holds(aekit.open_data(data), ROWS[1:3], ["dog", "eel"])


@AREA.right("a DataLoader whose collate_fn lists the samples")
def _(folder: Path, listener: Listener) -> None:
    data = Pairs([(torch.from_numpy(row), int(label)) for row, label in zip(ROWS, LABELS)])
    holds(aekit.open_data(DataLoader(data, batch_size=4, collate_fn=list)), ROWS, LABELS.tolist())
    holds(aekit.open_data(DataLoader(Pairs(list(ROWS)), batch_size=3, collate_fn=list)), ROWS)
    images = Pairs([Image.fromarray(pixels) for pixels in PIXELS])
    holds(aekit.open_data(DataLoader(images, batch_size=4, collate_fn=list)), PIXELS[:, None])


@AREA.right("a DataLoader without batches")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(DataLoader(Pairs(list(ROWS)), batch_size=None)), ROWS)


@AREA.right("an open .npz archive")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "a.npz", X=ROWS, y=LABELS)
    with np.load(folder / "a.npz") as archive:
        holds(aekit.open_data(archive), ROWS, LABELS.tolist())


@AREA.right("a zip of samples and labels")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(zip(ROWS, LABELS)), ROWS, LABELS.tolist())


@AREA.refused(
    "samples with their numbers, as enumerate yields them",
    "sample 0 of the enumerate is not an array (rows differ in shape)",
)
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(enumerate(ROWS))


@AREA.refused("a range of numbers", "array of shape (5,): expected 2 dimensions")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(range(5))


@AREA.right("an open data set of an HDF5 file")
def _(folder: Path, listener: Listener) -> None:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = ROWS
        holds(aekit.open_data(file["x"]), ROWS)
        holds(aekit.open_data(file), ROWS)


@AREA.right("a DataLoader whose collate_fn zips the samples, as for object detection")
def _(folder: Path, listener: Listener) -> None:
    data = Pairs([(torch.from_numpy(row), int(label)) for row, label in zip(ROWS, LABELS)])
    loader = DataLoader(data, batch_size=4, collate_fn=lambda batch: tuple(zip(*batch)))
    holds(aekit.open_data(loader), ROWS, LABELS.tolist())


@AREA.right("a NumPy array of paths of images")
def _(folder: Path, listener: Listener) -> None:
    paths = image_files(folder)
    holds(aekit.open_data(np.array([str(path) for path in paths])), PIXELS[:, None])
    holds(aekit.open_data(np.array(paths, object)), PIXELS[:, None])


@AREA.refused("a list of None", "row 0 of the list is of type NoneType; expected arrays of numbers")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data([None, None])


@AREA.right("a dict with a DataFrame and a Categorical of labels")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data({"x": pd.DataFrame(ROWS), "y": pd.Categorical(list("abcabc"))}), ROWS, list("abcabc"))


@AREA.right("a pair of a DataFrame and a Series")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data((pd.DataFrame(ROWS), pd.Series(list("abcabc")))), ROWS, list("abcabc"))


@AREA.refused("a dict with a list of arrays of two shapes", "'images' is not an array (rows differ in shape)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data({"images": [np.zeros((3, 4)), np.zeros((2, 2))]})


@AREA.changed(
    "a dict of vectors by their ids, which is a dict of columns", "the keys of the dict are the columns of a table"
)
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data({f"s{row}": ROWS[row] for row in range(6)})
    source.report_notes(listener)
    holds(source, ROWS.T)


@AREA.changed("an image of Pillow that is cut off, among others", "")
def _(folder: Path, listener: Listener) -> None:
    content = image_files(folder)[0].read_bytes()
    source = aekit.open_data([Image.open(io.BytesIO(content[:80])), Image.fromarray(PIXELS[1])])
    rows, ok = source.read(np.arange(2))
    assert ok.tolist() == [False, True] and np.array_equal(rows[1, 0], PIXELS[1]) and "0" in source.skipped


@AREA.refused("images of Pillow without pixels", "none of 2 images can be read: an image without pixels")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data([Image.new("L", (0, 0))] * 2)


@AREA.changed("an animated image of Pillow", "1 images have several frames, of which the current one is used")
def _(folder: Path, listener: Listener) -> None:
    frames = [Image.fromarray(pixels) for pixels in PIXELS]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    assert samples(aekit.open_data(Image.open(folder / "a.gif"))).shape == (1, 1, 8, 8)


@AREA.right("a pyarrow RecordBatchReader, which can be read once")
def _(folder: Path, listener: Listener) -> None:
    holds(aekit.open_data(pa.table({"a": [1.0, 2.0], "b": [3.0, 5.0]}).to_reader()), np.array([[1.0, 3.0], [2.0, 5.0]]))


@AREA.refused("a pyarrow Dataset", "pass the table itself, data.to_table()")
def _(folder: Path, listener: Listener) -> None:
    import pyarrow.dataset

    aekit.open_data(pyarrow.dataset.dataset(pa.table({"a": [1.0, 2.0]})))


@AREA.changed("a sparse tensor", "a sparse matrix of 6 x 4 was made dense")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(torch.from_numpy(ROWS).to_sparse())
    source.report_notes(listener)
    holds(source, ROWS)


@AREA.right("a class with __getitem__ and __len__ alone")
def _(folder: Path, listener: Listener) -> None:
    class Plain:
        def __len__(self) -> int:
            return 6

        def __getitem__(self, row: int) -> Any:
            return ROWS[row], int(LABELS[row])

    holds(aekit.open_data(Plain()), ROWS, LABELS.tolist())


@AREA.right("a DataFrame with a column of images of Pillow")
def _(folder: Path, listener: Listener) -> None:
    frame = pd.DataFrame({"image": [Image.fromarray(pixels) for pixels in PIXELS], "label": list("abcabc")})
    holds(aekit.open_data(frame), PIXELS[:, None], list("abcabc"))


@AREA.right("a DataFrame with a column of paths of images")
def _(folder: Path, listener: Listener) -> None:
    frame = pd.DataFrame({"path": [str(path) for path in image_files(folder)], "label": list("abcabc")})
    holds(aekit.open_data(frame), PIXELS[:, None], list("abcabc"), frame["path"].tolist())


@AREA.right("a list of (tensor, tensor of one label) pairs")
def _(folder: Path, listener: Listener) -> None:
    pairs = [(torch.from_numpy(row), torch.tensor([int(label)])) for row, label in zip(ROWS, LABELS)]
    holds(aekit.open_data(pairs), ROWS, LABELS.tolist())
