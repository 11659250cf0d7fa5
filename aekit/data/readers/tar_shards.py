"""Read tar files of samples, as WebDataset writes them: ``000.jpg``, ``000.cls`` and ``000.json`` belong to sample ``000``."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.contents import Contents
from aekit.data.readers.image_headers import IMAGE_ENDINGS
from aekit.data.readers.numpy_files import array_of
from aekit.data.readers.shards import Shards
from aekit.data.reading import reading, reason_of, refuse_special
from aekit.errors import DataError, closest_name, first_line
from aekit.io.memory import check_memory

UNPACKED_BYTES = 2**30
"""Most bytes of compressed tar files, which have to be unpacked into memory."""
_LABEL_KEYS = ("label", "class", "cls", "target", "y")


@dataclass
class _Member:
    """Where the content of a file inside a tar file is: at an offset of that file, or in memory."""

    path: Path
    offset: int
    size: int
    content: bytes | None = None

    def read(self) -> bytes:
        if self.content is not None:
            return self.content
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass
class _Sample:
    key: str
    split: str | None
    members: dict[str, _Member] = field(default_factory=dict)


def read_tar_shards(shards: Shards, place: str, member: str = "auto") -> Contents:
    """Read the samples, labels, ids and splits of tar files; images stay where they are.

    Args:
        shards: the tar files.
        place: where they come from, for messages.
        member: ending of the samples' files, such as ``jpg``; ``auto``: the only one of images, else ``npy``.

    Raises:
        DataError: a file is no tar file, holds no samples, or several of a sample's files may be the sample.
    """
    samples, losses = _index(shards)
    counts = Counter(ending for sample in samples for ending in sample.members)
    ending = _choose(counts, place, member)
    usable = [sample for sample in samples if ending & sample.members.keys()]
    if lacking := [sample.key for sample in samples if not ending & sample.members.keys()]:
        what = " or ".join(sorted(ending))
        losses.append(f"{len(lacking)} of {len(samples)} samples without .{what} are left out, e.g. {lacking[0]!r}")
    members = [next(sample.members[name] for name in sample.members if name in ending) for sample in usable]
    labels = [_label(sample, place) for sample in usable]
    values = None
    if any(label is not None for label in labels):
        values = np.array(labels) if all(isinstance(label, int) for label in labels) else _texts(labels)
    folders = [sample.key.rpartition("/")[0].rpartition("/")[2] for sample in usable]
    notes = []
    if values is None and all(folders) and len(set(folders)) > 1:
        values = np.array(folders)
        notes.append("the folders inside the tar files are the labels")
    keys = [sample.key for sample in usable]
    if len(set(keys)) < len(keys):  # shards that count from 0 each
        stems = [member.path.name.partition(".")[0] for member in members]
        keys = [f"{stem}/{key}" for stem, key in zip(stems, keys)]
    splits = np.array([sample.split for sample in usable]) if shards.splits is not None else None
    contents: np.ndarray | Sequence[bytes | Path] = _Contents(members)
    if ending == {"npy"}:
        contents = _stack(
            [_array(member.read(), f"{place}: {key}.npy") for member, key in zip(members, keys)], keys, place
        )
    if unused := counts.keys() - ending - {"cls", "json", "label"}:
        notes.append(f"files not used: {', '.join(sorted(f'.{name}' for name in unused))}")
    return Contents(contents, values, keys, splits, tuple(notes), (*shards.losses, *losses), place)


class _Contents(Sequence[bytes | Path]):
    def __init__(self, members: list[_Member]) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, row: Any) -> Any:
        return self._members[row].read()


def _index(shards: Shards) -> tuple[list[_Sample], list[str]]:
    """Return the samples of all shards in their order, and lines about shards that are cut off."""
    samples: list[_Sample] = []
    losses: list[str] = []
    for number, path in enumerate(shards.paths):
        split = shards.splits[number] if shards.splits is not None else None
        current: dict[str, _Sample] = {}
        refuse_special(path)
        try:
            packed = path.name.lower().endswith(("gz",))
            with tarfile.open(path, "r:gz" if packed else "r:") as archive:
                for info in archive:
                    if packed:
                        _check_unpacked(info, path)
                    folder, _, name = info.name.rpartition("/")
                    if not info.isfile() or name.startswith(".") or "." not in name:
                        continue
                    stem, _, ending = name.partition(".")
                    key = f"{folder}/{stem}".removeprefix("./").lstrip("/")
                    content = _unpack(archive, info) if packed else None
                    if not packed and info.offset_data + info.size > path.stat().st_size:
                        raise tarfile.ReadError("unexpected end of data")
                    sample = current.setdefault(key, _Sample(key, split))
                    sample.members[ending.lower()] = _Member(path, info.offset_data, info.size, content)
        except DataError:
            raise
        except Exception as error:  # a damaged file can make tarfile and zlib raise anything
            if not current:
                raise DataError(f"{path}: {reason_of(error, 'not a readable tar file')}") from None
            losses.append(f"{path.name} is cut off after {len(current)} samples ({first_line(error)})")
        samples += current.values()
    return samples, losses


def _check_unpacked(info: tarfile.TarInfo, path: Path) -> None:
    end = info.offset_data + info.size
    if end > UNPACKED_BYTES:
        raise DataError(f"{path}: a compressed tar file of more than {UNPACKED_BYTES >> 30} GiB; unpack it with gunzip")
    check_memory(end, f"{path}: unpacked, its content")


def _unpack(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(info)
    assert stream is not None  # of a regular file
    return stream.read()


def _choose(counts: Counter[str], place: str, member: str) -> set[str]:
    """Return the endings of the samples' files: one, or all image formats if each sample has one image."""
    if not counts:
        raise DataError(f"{place}: no samples in it; expected files such as 000.jpg with 000.cls or 000.json")
    if member != "auto":
        if member.lstrip(".") not in counts:
            raise DataError(f"{place}: no files that end in .{member.lstrip('.')}{closest_name(member, counts)}")
        return {member.lstrip(".")}
    images = [ending for ending in counts if f".{ending.rpartition('.')[2]}" in IMAGE_ENDINGS]
    plain = {ending for ending in images if "." not in ending}
    if images and (len(images) == 1 or plain == set(images)):
        return set(images)
    arrays = [ending for ending in counts if ending.endswith("npy")]
    if not images and len(arrays) == 1:
        return set(arrays)
    listed = ", ".join(f".{ending}" for ending in counts)
    what = "each sample has several of them" if images or arrays else "no images or arrays"
    raise DataError(f"{place}: {what}; choose one by member: {listed}")


def _label(sample: _Sample, place: str) -> int | str | None:
    for ending in ("cls", "label"):
        if ending in sample.members:
            text = sample.members[ending].read().decode("utf-8", "replace").strip()
            return int(text) if text.isascii() and text.isdigit() and str(int(text)) == text else text
    if "json" not in sample.members:
        return None
    with reading(f"{place}: {sample.key}.json"):
        record = json.loads(sample.members["json"].read())
    if not isinstance(record, dict):
        return record if isinstance(record, (int, str)) else None
    value = next((record[key] for key in _LABEL_KEYS if key in record), None)
    return value if value is None or isinstance(value, (int, str)) else str(value)


def _texts(labels: Sequence[int | str | None]) -> np.ndarray:
    return np.array(["" if label is None else str(label) for label in labels])


def _array(content: bytes, place: str) -> np.ndarray:
    with reading(place):
        return array_of(content[:6], io.BytesIO(content[6:]), place, len(content))


def _stack(arrays: list[np.ndarray], keys: list[str], place: str) -> np.ndarray:
    for array, key in zip(arrays, keys):
        if array.shape != arrays[0].shape:
            raise DataError(f"{place}: {key}.npy is of shape {array.shape}, {keys[0]}.npy of {arrays[0].shape}")
    return np.stack(arrays)
