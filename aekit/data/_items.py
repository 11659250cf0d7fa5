"""Read the samples that torch data sets, loaders and iterators yield one by one, with or without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aekit.data._arrays import stack_rows
from aekit.data.contents import Contents, ImagesOnDemand
from aekit.data.labels import to_label_array
from aekit.data.readers.numpy_files import LABEL_NAMES
from aekit.errors import DataError
from aekit.io.tensors import is_tensor, without_tensor

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

MATERIALIZED_BYTES = 2**32
"""Most bytes of samples that are collected from an iterable, which may never end."""

_SAMPLE_KEYS = tuple("x image img images pixel_values data features input inputs vector embedding".split())
_LABEL_KEYS = (*LABEL_NAMES, "class", "category")


def read_loader(loader: DataLoader[Any]) -> Contents:
    """Read a DataLoader: its data set in order if it reads all of it sample by sample, else its batches."""
    from torch.utils.data import IterableDataset, RandomSampler, SequentialSampler, default_collate

    sampler, collates = loader.sampler, loader.collate_fn is not default_collate
    whole = isinstance(sampler, (SequentialSampler, RandomSampler)) and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    if isinstance(loader.dataset, IterableDataset) or collates or not whole:
        batched = loader.batch_size is not None or loader.batch_sampler is not None
        contents = read_iterable(_unbatched(loader, collates) if batched else iter(loader), "DataLoader")
        what = "the batches of the DataLoader were read once, in its order"
        return replace(contents, notes=(what, *contents.notes))
    contents = read_dataset(loader.dataset)
    if isinstance(sampler, RandomSampler):
        note = "the DataLoader shuffles: its data set is read in order instead, so that ids stay the same"
        return replace(contents, notes=(note, *contents.notes))
    return contents


def _unbatched(loader: DataLoader[Any], collates: bool) -> Iterator[Any]:
    """Yield the samples of batches: arrays, lists of parts such as [x, y], dicts of arrays, or lists of samples."""
    lists_samples: bool | None = None
    for batch in loader:
        if isinstance(batch, Mapping):
            for row in range(len(next(iter(batch.values())))):
                yield {name: values[row] for name, values in batch.items()}
        elif isinstance(batch, (list, tuple)):
            if lists_samples is None:  # the last batch may be smaller
                lists_samples = collates and _lists_samples(batch, loader.batch_size)
            yield from batch if lists_samples else zip(*batch)
        else:
            yield from batch


def _lists_samples(batch: Sequence[Any], size: int | None) -> bool:
    """Return whether a batch of about `size` samples lists them, as ``collate_fn = list`` does, instead of their parts."""
    first = batch[0]
    if isinstance(first, (str, Mapping, Image.Image)):
        return True
    if isinstance(first, (tuple, list)):  # tuple(zip(*samples)) is a tuple of parts
        return isinstance(batch, list)
    shapes = [tuple(part.shape) for part in batch if hasattr(part, "shape")]
    if len({shape[:1] for shape in shapes}) > 1:
        return True
    return len(shapes) == len(batch) == size and shapes[0][:1] != (size,)


def read_dataset(dataset: Any) -> Contents:
    """Read a torch Dataset with a length, or a class like it: images when they are needed, other samples once."""
    name = type(dataset).__name__
    if not hasattr(dataset, "__len__"):
        raise DataError(f"the Dataset {name} has no length; make it an IterableDataset, or define __len__")
    count = len(dataset)
    if not count:
        raise DataError(f"the Dataset {name} is empty")

    def item(row: int) -> Any:
        try:
            return dataset[row]
        except DataError:
            raise
        except Exception as error:  # the user's code
            reason = next(iter(str(error).splitlines()), "")
            raise DataError(f"item {row} of the Dataset {name} raises {type(error).__name__}: {reason}") from error

    def image(row: int) -> Image.Image:
        return _sample_of(item(row), row, name)[0]

    contents = _collect(map(item, range(count)), name, keep_images=False)
    if isinstance(contents.samples, list):
        contents = replace(contents, samples=ImagesOnDemand(count, image))
    named = dataset
    while not hasattr(named, "classes") and hasattr(named, "dataset"):  # a Subset
        named = named.dataset
    labels, classes = contents.labels, getattr(named, "classes", None)
    if (
        labels is not None
        and labels.dtype.kind in "iu"
        and isinstance(classes, (list, tuple))
        and labels.min() >= -1
        and labels.max() < len(classes)
    ):
        # -1 stands for no label, as in STL10 of torchvision, and finds the last name.
        labels = np.array([*map(str, classes), ""])[labels]
    losses = contents.losses
    if _differ(_sample_of(item(0), 0, name)[0], _sample_of(item(0), 0, name)[0]):
        line = "items of the Dataset differ each time they are read (random transforms?): one reading is used"
        losses = (*losses, line)
    return replace(contents, labels=labels, losses=losses)


def _differ(first: Any, second: Any) -> bool:
    one, other = (np.asarray(without_tensor(value)) for value in (first, second))
    return one.shape != other.shape or one.tobytes() != other.tobytes()


def read_iterable(items: Iterator[Any], name: str) -> Contents:
    """Read all samples of an iterator into memory.

    Args:
        items: yields samples, (sample, label) pairs, or dicts with usual names.
        name: type of the container, for messages; a ``list`` is in memory already.

    Raises:
        DataError: there are no samples, they differ in kind or shape, or they take more than `MATERIALIZED_BYTES`.
    """
    first = next(items, None)
    if first is None:
        raise DataError(f"data of type {name}: it yields no samples; was it used up before?")
    contents = _collect(chain([first], items), name, keep_images=True)
    if name == "list":
        return contents
    count = len(contents.samples) if isinstance(contents.samples, np.ndarray) else contents.samples.count
    return Contents(
        **{**contents.__dict__, "notes": (f"{count} samples of the {name} were read into memory", *contents.notes)}
    )


def _collect(items: Iterator[Any], name: str, *, keep_images: bool) -> Contents:
    """Collect samples and labels.

    Returns:
        the samples as an array, or images on demand; with `keep_images` unset, an empty list stands for images.
    """
    samples: list[Any] = []
    labels: list[Any] = []
    dropped, size = "", 0
    for row, item in enumerate(items):
        sample, label, unused = _sample_of(item, row, name)
        dropped = dropped or unused
        is_image = isinstance(sample, Image.Image)
        if samples and is_image != isinstance(samples[0], Image.Image):
            raise DataError(
                f"sample {row} of the {name} is of type {type(sample).__name__}; sample 0 is of another kind"
            )
        if is_image:
            size += sample.width * sample.height * len(sample.getbands()) * keep_images
        else:
            sample = to_numpy(sample, f"sample {row} of the {name}")
            size += sample.nbytes
        if size > MATERIALIZED_BYTES:
            what = f"data of type {name}: more than {MATERIALIZED_BYTES >> 30} GiB after {row} samples"
            raise DataError(f"{what}; does it end? write such data to files and pass their folder")
        samples.append(sample if keep_images or not is_image or not samples else None)
        labels.append(label)
    values = to_label_array(labels) if any(label is not None for label in labels) else None
    losses = (f"{dropped} of each sample of the {name} is not used",) if dropped else ()
    if isinstance(samples[0], Image.Image):
        images: Any = ImagesOnDemand(len(samples), lambda row: samples[row].copy()) if keep_images else []
        return Contents(images, values, losses=losses)
    return Contents(stack_rows(samples, f"row {{}} of the {name}"), values, losses=losses)


def _sample_of(item: Any, row: int, name: str) -> tuple[Any, Any, str]:
    """Return the sample and the label of an item of a data set, and the name of a further part of it that is not used."""
    if isinstance(item, Mapping):
        known = {str(key).lower(): key for key in reversed(list(item))}
        keys = [known[key] for key in _SAMPLE_KEYS if key in known]
        labels = [known[key] for key in _LABEL_KEYS if key in known]
        others = [key for key in item if key not in labels and axes_of(item[key]) > 0]
        if not keys and len(others) != 1:
            content = ", ".join(map(str, item)) or "nothing"
            raise DataError(
                f"sample {row} of the {name} holds {content}; expected one of {', '.join(_SAMPLE_KEYS[:5])}, ..."
            )
        key = keys[0] if keys else others[0]
        unused = next((f"the entry {other!r}" for other in item if other not in (key, *labels[:1])), "")
        return item[key], _scalar(item[labels[0]]) if labels else None, unused
    if not isinstance(item, (tuple, list)) or not item or (axes_of(item[0]) == 0 and not _is_image(item[0])):
        return item, None, ""
    if len(item) == 1:
        return item[0], None, ""
    label = _scalar(item[1])
    if label is None and item[1] is not None:
        if isinstance(item, list) and not is_tensor(item[0]):
            return item, None, ""  # nested lists of numbers
        return item[0], None, "the second entry"
    return item[0], label, "the third entry" if len(item) > 2 else ""


def _is_image(value: Any) -> bool:
    return isinstance(value, Image.Image)


def is_label(value: Any) -> bool:
    """Return whether a value is a single number or a string."""
    return _scalar(value) is not None


def _scalar(value: Any) -> Any:
    """Return a label as a number or a string, or None if it is neither."""
    if isinstance(value, (str, int, float, np.generic)):
        return value.item() if isinstance(value, np.generic) else value
    if (is_tensor(value) or isinstance(value, np.ndarray)) and value.ndim < 2 and np.size(without_tensor(value)) == 1:
        return value.item() if value.ndim == 0 else value.reshape(-1)[0].item()
    return None


def to_numpy(value: Any, what: str) -> np.ndarray:
    """Return anything like an array as an array of numbers or strings, masked where it is; `what` names it in messages.

    Raises:
        DataError: it is not an array.
    """
    try:
        array = value if isinstance(value, np.ma.MaskedArray) else np.asarray(without_tensor(value))
    except (ValueError, TypeError) as error:
        reason = "rows differ in shape" if "inhomogeneous" in str(error) else next(iter(str(error).splitlines()), "")
        raise DataError(f"{what} is not an array ({reason})") from None
    if array.dtype == object and array.ndim == 1 and all(isinstance(entry, str) for entry in array):
        return array.astype(str)
    if array.dtype == object:
        expected = "an array of numbers, images or (sample, label) pairs"
        raise DataError(f"{what} of type {type(value).__name__}: expected {expected}")
    return array


def axes_of(value: Any) -> int:
    """Return the number of axes of anything like an array; at least 1 for lists of different lengths."""
    try:
        return np.ndim(without_tensor(value))
    except ValueError:
        return 1
