"""Find the members of tar files by their headers, without reading their content; nothing is ever unpacked to the disk."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from aekit.data.readers.folders import readable_text
from aekit.data.reading import reason_of, refuse_special
from aekit.errors import AekitError, DataError, OutputError, first_line
from aekit.io.atomic import atomic_file
from aekit.io.cache_folder import cache_folder, make_room
from aekit.io.memory import check_memory, format_bytes
from aekit.io.parquet import read_parquet

UNPACKED_BYTES = 2**30
"""Most bytes of a compressed tar file, which has to be unpacked into memory."""
MEMBER_BYTES = 2**30
"""Most bytes of a member that is read."""
LABEL_BYTES = 2**20
"""Most bytes of a label's file, and of the header of a member."""
LABEL_ENDINGS = ("cls", "label", "json")
LABEL_KEYS = ("label", "class", "cls", "target", "y")
"""Fields of a .json file that may be the label, in order of precedence."""
KEPT_FROM = 2**26
"""Bytes of a tar file from which on its index is kept, as finding the members takes long."""
KEPT_BYTES = 2**31
"""Bytes of all indexes that are kept."""
_VERSION = "1"
_ROWS = 2**16
TEXT, NUMBER, DAMAGED = range(1, 4)
"""What the label of a member is; null: it has none."""
_SCHEMA = pa.schema(
    {"key": pa.large_string(), "ending": pa.string(), "offset": pa.int64(), "size": pa.int64()}
    | {"label": pa.large_string(), "label_kind": pa.int8()}
)


@dataclass(frozen=True)
class TarIndex:
    """The members of a tar file that may belong to samples, in their order.

    Attributes:
        members: a row for each: ``key``, the name of its sample; ``ending``; ``offset`` and ``size`` of its content in the file;
            ``label`` and ``label_kind`` of the files of labels.
        losses: lines about members that are left out.
        contents: the members' contents where the file is compressed, else None.
    """

    members: pa.Table
    losses: tuple[str, ...]
    contents: list[bytes] | None = None


def index_tar(path: Path) -> TarIndex:
    """Return the index of a tar file: a kept one, if the file has not changed, or a new one.

    Raises:
        DataError: it is not a tar file.
    """
    refuse_special(path)
    if path.name.lower().endswith("gz") or path.stat().st_size < KEPT_FROM:
        return _scan(path)
    stat = path.stat()
    identity = f"{_VERSION}\0{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    name = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    kept = cache_folder() / "tar-indexes" / f"{name}.parquet"
    with suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):  # there is none, or it is damaged
        table = read_parquet(kept, _SCHEMA.names).cast(_SCHEMA)
        kept.touch()
        return TarIndex(table, tuple(json.loads(pq.read_schema(kept).metadata[b"losses"])))
    index = _scan(path)
    with suppress(OSError, OutputError):  # without a writable cache it is made again the next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        make_room(kept.parent.glob("*.parquet"), KEPT_BYTES)
        with atomic_file(kept) as part:
            pq.write_table(index.members.replace_schema_metadata({"losses": json.dumps(index.losses)}), part)
    return index


def _scan(path: Path) -> TarIndex:
    packed = path.name.lower().endswith("gz")
    scan = _Scan(path, [] if packed else None)
    try:
        with path.open("rb") as file:
            scan.run(gzip.GzipFile(fileobj=file) if packed else file)
    except AekitError:
        raise
    except Exception as error:  # a damaged file can make tarfile and zlib raise anything
        if not scan.rows and not scan.parts:
            raise DataError(f"{path}: {reason_of(error, 'not a readable tar file')}") from None
        scan.losses.append(f"{path.name} is cut off after {len(scan.keys)} samples ({first_line(error)})")
    return scan.index()


@dataclass
class _Scan:
    """One passage through a tar file.

    Attributes:
        path: the file.
        contents: receives the contents of members, or None.
        rows: members that are not in `parts` yet.
        keys: names of the samples.
        left_out: reason -> number of members.
        examples: reason -> name of the first of them.
    """

    path: Path
    contents: list[bytes] | None
    rows: list[tuple[str, str, int, int, str | None, int | None]] = field(default_factory=list)
    parts: list[pa.Table] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    losses: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def run(self, stream: BinaryIO | gzip.GzipFile) -> None:
        """Find all members of an open file."""
        end = None if self.contents is not None else self.path.stat().st_size
        with tarfile.open(fileobj=_HeaderStream(stream), mode="r:") as archive:  # type: ignore[call-overload]
            for info in _members(archive):
                if end is not None and info.offset_data + info.size > end:
                    raise tarfile.ReadError("unexpected end of data")
                if end is None:
                    _check_unpacked(info, self.path)
                self.add(info, stream)
            self._check_end(stream, archive.offset)

    def add(self, info: tarfile.TarInfo, stream: BinaryIO | gzip.GzipFile) -> None:
        """Add a member, unless it cannot belong to a sample."""
        folder, _, name = info.name.rpartition("/")
        if info.isdir() or name.startswith("."):
            return
        if reason := _reason_against(info, name):
            self.left_out[reason] += 1
            self.examples.setdefault(reason, readable_text(info.name)[:100])
            return
        stem, _, ending = name.partition(".")
        key = readable_text(f"{folder}/{stem}".removeprefix("./").lstrip("/"))
        ending = readable_text(ending.lower())
        offset, label, kind = info.offset_data, None, None
        if ending in LABEL_ENDINGS or self.contents is not None:
            stream.seek(info.offset_data)
            content = stream.read(info.size)
            if len(content) < info.size:
                raise tarfile.ReadError("unexpected end of data")
            if ending in LABEL_ENDINGS:
                label, kind = _label_of(content, ending)
            if self.contents is not None:
                offset = len(self.contents)
                self.contents.append(content)
        self.keys.add(key)
        self.rows.append((key, ending, offset, info.size, label, kind))
        if len(self.rows) == _ROWS:
            self._flush()

    def index(self) -> TarIndex:
        """Return what was found, of members of one name the last."""
        self._flush()
        table = pa.concat_tables(self.parts).combine_chunks() if self.parts else _SCHEMA.empty_table()
        table, repeated = _without_repeated(table)
        if repeated:
            self.losses.append(
                f"{self.path.name}: files that are in it more than once: {repeated}; the last of each is used"
            )
        for reason, count in self.left_out.items():
            self.losses.append(f"{self.path.name}: {reason} are left out: {count}, e.g. {self.examples[reason]!r}")
        return TarIndex(table, tuple(self.losses), self.contents)

    def _flush(self) -> None:
        if self.rows:
            arrays = [pa.array(column, kind) for column, kind in zip(zip(*self.rows), _SCHEMA.types)]
            self.parts.append(pa.table(arrays, schema=_SCHEMA))
            self.rows.clear()

    def _check_end(self, stream: BinaryIO | gzip.GzipFile, offset: int) -> None:
        """Say if the headers end before the file does, as in files that were joined, or where a part is damaged."""
        stream.seek(offset)
        following = stream.read(2**16)
        if not following and self.keys:
            self.losses.append(
                f"{self.path.name} has no mark of its end: it may be cut off after {len(self.keys)} samples"
            )
        if following.strip(b"\0"):
            self.losses.append(
                f"{self.path.name}: everything after {len(self.keys)} samples is left out: no header of a member at byte "
                f"{offset:,}, as in tar files that were joined or are damaged"
            )


class _HeaderStream:
    """A file of which only headers are read, so that one that claims to be of many gigabytes cannot fill the memory."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.seek, self.tell, self.name = stream, stream.seek, stream.tell, getattr(stream, "name", "")

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LABEL_BYTES:
            raise tarfile.ReadError(f"the header of a member would take {format_bytes(size)}")
        return self._stream.read(size)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all, about a kilobyte each
        yield info


def _reason_against(info: tarfile.TarInfo, name: str) -> str:
    """Return the kind of a member that cannot belong to a sample, or ""."""
    if info.issparse():
        return "sparse files"
    if not info.isfile():
        return "links" if info.islnk() or info.issym() else "devices, pipes and entries of unknown type"
    if "." not in name:
        return "files without an ending"
    if info.size > MEMBER_BYTES:
        return f"files of more than {format_bytes(MEMBER_BYTES)}"
    if info.size > LABEL_BYTES and name.partition(".")[2].lower() in LABEL_ENDINGS:
        return f"labels of more than {format_bytes(LABEL_BYTES)}"
    return ""


def _check_unpacked(info: tarfile.TarInfo, path: Path) -> None:
    end = info.offset_data + info.size
    if end > UNPACKED_BYTES:
        raise DataError(f"{path}: a compressed tar file of more than {UNPACKED_BYTES >> 30} GiB; unpack it with gunzip")
    check_memory(end, f"{path}: its unpacked content")


def _label_of(content: bytes, ending: str) -> tuple[str | None, int | None]:
    """Return the label in a file as text, and of which kind it is."""
    value: Any = content.decode("utf-8", "replace").strip()
    if ending != "json":
        number = value.isascii() and value.isdigit() and str(int(value[:20])) == value
        return value, NUMBER if number and len(value) < 19 else TEXT
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        return first_line(error), DAMAGED
    if isinstance(record, dict):
        value = next((record[key] for key in LABEL_KEYS if key in record), None)
    else:
        value = record if isinstance(record, (int, str)) else None
    if value is None:
        return None, None
    number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18
    return readable_label(value), NUMBER if number else TEXT


def readable_label(value: Any) -> str:
    """Return a label as text that can be written."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _without_repeated(table: pa.Table) -> tuple[pa.Table, int]:
    """Return a table without the members whose key and ending a later one has, and their number."""
    if not table.num_rows:
        return table, 0
    table = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    last = table.group_by(["key", "ending"]).aggregate([("row", "max")])["row_max"]
    repeated = table.num_rows - len(last)
    if repeated:
        table = table.take(last.combine_chunks().sort())
    return table.drop_columns(["row"]), repeated
