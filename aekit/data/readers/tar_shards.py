"""Read tar files of samples, as WebDataset writes them: ``000.jpg``, ``000.cls`` and ``000.json`` belong to sample ``000``.

Files are indexed once, by their headers; then any sample is read from its place in them.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.contents import Contents
from aekit.data.readers._json_members import JsonFields
from aekit.data.readers._tar_index import DAMAGED, LABEL_ENDINGS, NUMBER, TarIndex, index_tar
from aekit.data.readers.endings import IMAGE_ENDINGS, SURELY_TABLES
from aekit.data.readers.numpy_files import array_of
from aekit.data.readers.shards import Shards
from aekit.data.reading import reading
from aekit.data.source import TextIds
from aekit.errors import DataError, closest_name
from aekit.io.memory import check_memory


def read_tar_shards(shards: Shards, place: str, member: str = "auto") -> Contents:
    """Read the samples, labels, ids and splits of tar files; images stay where they are.

    Args:
        shards: the tar files.
        place: where they come from, for messages.
        member: ending of the samples' files, such as ``jpg``; ``auto``: the only one of images, else ``npy``.

    Raises:
        DataError: a file is not a tar file, holds no samples, or several of a sample's files may be the sample.
    """
    indexes = [index_tar(path) for path in shards.paths]
    losses = [*shards.losses, *(line for index in indexes for line in index.losses)]
    counts: Counter[str] = Counter()
    for index in indexes:
        for entry in pc.value_counts(index.members["ending"]).to_pylist():
            counts[entry["values"]] += entry["counts"]
    endings = _choose(counts, place, member)
    parts = [_select(index, endings, place) for index in indexes]
    lacking = sum(part.lacking for part in parts)
    if lacking:
        what, example = " or ".join(sorted(endings)), next(part.example for part in parts if part.lacking)
        total = lacking + sum(len(part.keys) for part in parts)
        losses.append(f"{lacking} of {total} samples without .{what} are left out, e.g. {example!r}")
    keys = pa.chunked_array([part.keys for part in parts], pa.large_string())
    labels = _labels(pa.chunked_array([part.labels for part in parts]), [part.are_numbers for part in parts])
    notes = []
    if labels is None and (folders := _folders(keys)) is not None:
        labels = folders
        notes.append("the folders inside the tar files are the labels")
    if pc.count_distinct(keys).as_py() < len(keys):  # shards that count from 0 each
        keys = _prefixed(parts, shards.paths)
    sizes = [len(part.keys) for part in parts]
    splits = None if shards.splits is None else np.repeat(shards.splits, sizes)
    members = _Members(shards.paths, indexes, [(part.offsets, part.sizes) for part in parts])
    contents: np.ndarray | Sequence[bytes | Path] = members
    if endings == {"npy"}:
        check_memory(int(sum(part.sizes.sum() for part in parts)), f"{place}: its {len(keys):,} arrays")
        contents = _stack(members, keys, place)
    if unused := counts.keys() - endings - set(LABEL_ENDINGS):
        notes.append(f"files not used: {', '.join(sorted(f'.{name}' for name in unused))}")
    outside = pc.sum(pc.match_substring_regex(keys, r"(^|/)\.\.(/|$)")).as_py() or 0
    if outside:
        notes.append(f"{outside} names lead out of the tar file by '..'; they are ids alone, as nothing is unpacked")
    metadata = _json_fields(shards.paths, indexes, parts, place)
    return Contents(contents, labels, TextIds(keys), splits, tuple(notes), tuple(losses), place, metadata=metadata)


def _json_fields(
    paths: Sequence[Path], indexes: Sequence[TarIndex], parts: Sequence[_Part], place: str
) -> JsonFields | None:
    """Return the fields of the samples' .json files, which are not read yet; None if there are no such files."""
    described = [part.described for part in parts]
    if not any(part.any() for part in described):
        return None

    def read() -> Iterator[bytes | None]:
        size = int(sum(part.json_sizes[part.described].sum() for part in parts))
        check_memory(
            8 * size, f"{place}: the fields of its .json files, which metadata='none' (--metadata none) leaves out,"
        )
        files = _Members(paths, indexes, [(part.json_offsets, part.json_sizes) for part in parts])
        for row, is_there in enumerate(np.concatenate(described).tolist()):
            yield files[row] if is_there else None

    return JsonFields(read)


@dataclass(frozen=True)
class _Part:
    """The samples of a tar file.

    Attributes:
        keys: (N,) names.
        labels: (N,) as text, null where there is none.
        are_numbers: whether all labels are whole numbers.
        offsets, sizes: (N,) place of their content in the file.
        json_offsets, json_sizes: (N,) place of their ``.json`` files, -1 where there is none.
        lacking: number of samples without a member of the chosen endings, which are not among them.
        example: name of one of these.
    """

    keys: pa.Array
    labels: pa.Array
    are_numbers: bool
    offsets: np.ndarray
    sizes: np.ndarray
    json_offsets: np.ndarray
    json_sizes: np.ndarray
    lacking: int
    example: str

    @property
    def described(self) -> np.ndarray:
        """(N,) bool: which samples have a ``.json`` file."""
        return self.json_sizes >= 0


def _select(index: TarIndex, endings: set[str], place: str) -> _Part:
    """Choose a member of each sample, and its label."""
    members = index.members.combine_chunks()
    coded = pc.dictionary_encode(_array(members["key"]))
    codes, names = coded.indices.to_numpy(), coded.dictionary
    chosen = np.flatnonzero(pc.is_in(members["ending"], pa.array(sorted(endings))).to_numpy())
    samples, first = np.unique(codes[chosen], return_index=True)  # codes count from the first name on
    rows = chosen[first]
    labels, kinds = _label_rows(members, codes, len(names))
    labels, kinds = labels[samples], kinds[samples]
    texts, kind = _array(members["label"]), _array(members["label_kind"]).fill_null(0).to_numpy(zero_copy_only=False)
    for row in labels[kinds == DAMAGED][:1].tolist():
        raise DataError(f"{place}: {members['key'][row]}.json: damaged ({texts[row]})")
    labeled = labels >= 0
    taken = texts.take(pa.array(np.where(labeled, labels, 0), mask=~labeled)) if len(texts) else texts
    without = np.ones(len(names), bool)
    without[samples] = False
    missing = np.flatnonzero(without)
    json_rows = np.full(len(names), -1)
    if "json" not in endings:
        with_json = np.flatnonzero(pc.equal(members["ending"], "json").to_numpy())
        json_rows[codes[with_json]] = with_json
    json_rows = json_rows[samples]
    places = (members[name].to_numpy() for name in ("offset", "size"))
    json_offsets, json_sizes = (np.where(json_rows >= 0, column[json_rows], -1) for column in places)
    return _Part(
        names.take(pa.array(samples)),
        taken,
        bool(len(kind)) and bool((kinds == NUMBER).all()),
        members["offset"].to_numpy()[rows],
        members["size"].to_numpy()[rows],
        json_offsets,
        json_sizes,
        len(missing),
        names[int(missing[0])].as_py() if len(missing) else "",
    )


def _label_rows(members: pa.Table, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of each sample's label, or -1, and its kind: that in ``.cls``, else in ``.label``, else in ``.json``."""
    rows, kinds = np.full(count, -1), np.zeros(count, np.int64)
    kind = _array(members["label_kind"]).fill_null(0).to_numpy(zero_copy_only=False)
    for ending in reversed(LABEL_ENDINGS):
        here = np.flatnonzero((kind > 0) & pc.equal(members["ending"], ending).to_numpy())
        rows[codes[here]], kinds[codes[here]] = here, kind[here]
    return rows, kinds


def _array(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


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
    if not images and not arrays and any(f".{ending}" in SURELY_TABLES for ending in counts):
        raise DataError(f"{place}: no images or arrays, but {listed}; unpack it first, and open the tables")
    what = "each sample has several of them" if images or arrays else "no images or arrays"
    raise DataError(f"{place}: {what}; choose one by member: {listed}")


def _labels(labels: pa.ChunkedArray, are_numbers: list[bool]) -> np.ndarray | None:
    """Return the labels (N,) as whole numbers if all are, else as names, "" where there is none; None if no sample has one."""
    if labels.null_count == len(labels):
        return None
    if all(are_numbers):
        return pc.cast(labels, pa.int64()).to_numpy()
    return _text_array(labels.fill_null(""))


def _text_array(column: pa.ChunkedArray) -> np.ndarray:
    """Return text (N,) as an array, made from its different values."""
    coded = _array(column).dictionary_encode()
    return np.array(coded.dictionary.to_pylist())[coded.indices.to_numpy()]


def _folders(keys: pa.ChunkedArray) -> np.ndarray | None:
    """Return the folder (N,) of each sample, if all are in one and there are several."""
    folders = pc.struct_field(pc.extract_regex(keys, r"(?P<folder>[^/]+)/[^/]*$"), 0)
    if folders.null_count or pc.count_distinct(folders).as_py() < 2:
        return None
    return _text_array(folders)


def _prefixed(parts: Sequence[_Part], paths: Sequence[Path]) -> pa.ChunkedArray:
    """Return the names of samples behind those of their files, with as many folders as tell these apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        stems = ["/".join([*path.parts[-depth:-1], path.name.partition(".")[0]]) for path in paths]
        if len(set(stems)) == len(stems):
            break
    joined = [
        pc.binary_join_element_wise(pa.scalar(stem, pa.large_string()), part.keys, pa.scalar("/", pa.large_string()))
        for stem, part in zip(stems, parts)
    ]
    return pa.chunked_array(joined, pa.large_string())


class _Members(Sequence[bytes | Path]):
    """Contents of the samples' files, which are read when they are asked for.

    Args:
        paths: tar files.
        indexes: of each.
        places: of each, offsets (N,) and sizes (N,) of the samples' files in it.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        indexes: Sequence[TarIndex],
        places: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        self._paths, self._contents = list(paths), [index.contents for index in indexes]
        self._ends = np.cumsum([len(offsets) for offsets, _ in places])
        self._offsets, self._sizes = (np.concatenate(column) for column in zip(*places))

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, row: Any) -> Any:
        shard = int(np.searchsorted(self._ends, row, side="right"))
        contents, offset = self._contents[shard], int(self._offsets[row])
        if contents is not None:
            return contents[offset]
        try:
            with self._paths[shard].open("rb") as file:
                file.seek(offset)
                return file.read(int(self._sizes[row]))
        except OSError:  # it is gone: the sample cannot be read
            return b""


def _stack(members: _Members, keys: pa.ChunkedArray, place: str) -> np.ndarray:
    """Read all arrays, which must have one shape."""
    arrays: list[np.ndarray] = []
    for row, key in enumerate(keys.to_pylist()):
        content, name = members[row], f"{place}: {key}.npy"
        with reading(name):
            arrays.append(array_of(content[:6], io.BytesIO(content[6:]), name, len(content)))
        if arrays[-1].shape != arrays[0].shape:
            raise DataError(f"{place}: {key}.npy is of shape {arrays[-1].shape}, {keys[0]}.npy of {arrays[0].shape}")
    return np.stack(arrays)
