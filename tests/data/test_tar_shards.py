"""Tar shards: found by their headers, read in place, kept indexes, and files that are hostile or damaged."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aekit
from aekit.data.readers import _tar_index
from aekit.data.source import Source
from aekit.errors import DataError


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def pair(row: int, label: str = "") -> list[tuple[str, bytes]]:
    return [(f"{row:03d}.png", png(row)), (f"{row:03d}.cls", (label or str(row % 3)).encode())]


def write(path: Path, members: list[tuple[str, bytes] | tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def opened(path: Any, options: Any = None) -> tuple[Source, str]:
    """Open data; return it with all lines about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = aekit.open_data(path, options)
    return source, "\n".join([*map(str, (one.message for one in caught)), *source.notes])


def values(source: Source) -> list[int]:
    rows, ok = source.read(np.arange(len(source)))
    assert ok.all()
    return rows[:, 0, 0, 0].tolist()


LINES: dict[str, tuple[Callable[[], list[Any]], str, list[int]]] = {
    "links": (
        lambda: [
            special("0.png", tarfile.SYMTYPE, "/etc/passwd"),
            special("1.png", tarfile.LNKTYPE, "000.png"),
            *pair(7),
        ],
        "a.tar: links are left out: 2, e.g. '0.png'",
        [7],
    ),
    "devices": (
        lambda: [special("0.png", tarfile.CHRTYPE), special("1.png", tarfile.FIFOTYPE), *pair(7)],
        "devices, pipes and entries of unknown type are left out: 2, e.g. '0.png'",
        [7],
    ),
    "sparse files": (
        lambda: [special("0.png", tarfile.GNUTYPE_SPARSE), *pair(7)],
        "sparse files are left out: 1, e.g. '0.png'",
        [7],
    ),
    "names without an ending": (
        lambda: [("README", b"hello"), *pair(7)],
        "files without an ending are left out: 1, e.g. 'README'",
        [7],
    ),
    "absolute names": (lambda: [("/etc/7.png", png(7)), ("/etc/8.png", png(8))], "", [7, 8]),
    "names that lead out": (
        lambda: [("../../7.png", png(7)), ("../../8.png", png(8))],
        "2 names lead out of the tar file by '..'; they are ids alone, as nothing is unpacked",
        [7, 8],
    ),
    "a file twice": (
        lambda: [*pair(7), ("007.png", png(9)), *pair(8)],
        "a.tar: files that are in it more than once: 1; the last of each is used",
        [9, 8],
    ),
    "a tar file inside": (lambda: [*pair(7), ("inner.tar", b"x")], "files not used: .tar", [7]),
    "members that do not match": (
        lambda: [*pair(7), ("8.cls", b"1"), ("9.txt", b"1")],
        "2 of 3 samples without .png are left out, e.g. '8'",
        [7],
    ),
    "files of a sample far apart": (
        lambda: [pair(1)[0], pair(2)[0], pair(3)[0], pair(3, "c")[1], pair(2, "b")[1], pair(1, "a")[1]],
        "",
        [1, 2, 3],
    ),
    "a large label": (
        lambda: [*pair(7), ("008.png", png(8)), ("008.cls", b"x" * (2**20 + 1))],
        "labels of more than 1.0 MiB are left out: 1, e.g. '008.cls'",
        [7, 8],
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_unusual_members_are_said_in_a_line(name: str, tmp_path: Path) -> None:
    members, line, expected = LINES[name]
    before = sorted(os.listdir(tmp_path))
    source, said = opened(write(tmp_path / "a.tar", members()))
    assert line in said
    assert values(source) == expected
    assert sorted(os.listdir(tmp_path)) == [*before, "a.tar"], "something was unpacked"


def test_labels_belong_to_their_samples(tmp_path: Path) -> None:
    members = [pair(1)[0], pair(2)[0], pair(3)[0], pair(3, "c")[1], pair(1, "a")[1]]
    source, _ = opened(write(tmp_path / "a.tar", members))
    assert source.labels is not None and source.labels.tolist() == ["a", "", "c"]
    # .cls before .label before .json, whatever their order
    several = [("0.json", b'{"label": "j"}'), ("0.label", b"l"), ("0.cls", b"c"), ("0.png", png(0)), ("1.png", png(1))]
    several += [("1.json", b'{"label": "j"}'), ("1.label", b"l"), ("2.json", b'{"x": 1, "y": true}'), ("2.png", png(2))]
    source, _ = opened(write(tmp_path / "b.tar", several))
    assert source.labels is not None and source.labels.tolist() == ["c", "l", "True"]


def end_of(path: Path, samples: int) -> int:
    with tarfile.open(path) as archive:
        return archive.getmembers()[2 * samples].offset


def test_what_is_cut_off_or_joined_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [*pair(1), *pair(2), *pair(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[: end_of(path, 2)])
    source, said = opened(path)
    assert "a.tar has no mark of its end: it may be cut off after 2 samples" in said and values(source) == [1, 2]
    other = write(tmp_path / "b.tar", pair(9)).read_bytes()
    (tmp_path / "b.tar").write_bytes(whole + other)
    source, said = opened(tmp_path / "b.tar")
    assert "b.tar: everything after 3 samples is left out: no header of a member at byte" in said
    assert values(source) == [1, 2, 3]
    place = tmp_path / "c.tar"
    place.write_bytes(whole)
    middle = end_of(place, 1)
    place.write_bytes(whole[:middle] + b"?" * 512 + whole[middle + 512 :])
    source, said = opened(place)
    assert f"c.tar: everything after 1 samples is left out: no header of a member at byte {middle:,}" in said


def claiming(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return the header of a member that claims to be of `size` bytes."""
    info = tarfile.TarInfo("huge.png")
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE], ids=["file", "name", "pax"]
)
def test_a_huge_declared_size_takes_no_memory(kind: bytes, tmp_path: Path) -> None:
    """Nor if the file is as large as it claims, which costs nothing in a sparse file."""
    for real in (False, True):
        path = tmp_path / f"{real}.tar"
        path.write_bytes(write(tmp_path / "part.tar", pair(1)).read_bytes()[:2048] + claiming(2**33, kind))
        if real:
            with path.open("r+b") as file:
                file.truncate(2**33 + 2**20)
        tracemalloc.start()
        source, said = opened(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert values(source) == [1]
        expected = "files of more than 1.0 GiB are left out: 1" if real else "is cut off after 1 samples"
        assert (expected if kind == tarfile.REGTYPE else "after 1 samples") in said
        assert peak < 2**25
        path.unlink()


def test_a_range_of_many_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names 1,000,000,000,000 files; expected 1,000,000 at most"):
        aekit.open_data(tmp_path / "a-{0..999999999999}.tar")


def test_names_in_shards_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        write(tmp_path / split / "000.tar", [*pair(1), *pair(2)])
    source, _ = opened(tmp_path)
    assert list(source.ids) == ["test/000/001", "test/000/002", "train/000/001", "train/000/002"]
    assert source.splits is not None and source.splits.tolist() == ["test"] * 2 + ["train"] * 2


def test_an_index_is_kept_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_tar_index, "KEPT_FROM", 1)
    members = [*pair(1, "a"), *pair(2, "b"), special("0.png", tarfile.SYMTYPE, "x")]
    path = write(tmp_path / "a.tar", members)
    first, said = opened(path)
    kept = list((tmp_path / "cache" / "tar-indexes").iterdir())
    assert [one.suffix for one in kept] == [".parquet"]
    with monkeypatch.context() as patch:
        patch.setattr(_tar_index, "_scan", lambda path: pytest.fail("it was scanned again"))
        again, said_again = opened(path)
    assert said_again == said and "links are left out" in said
    assert list(again.ids) == list(first.ids) and again.labels.tolist() == first.labels.tolist() == ["a", "b"]
    assert values(again) == values(first)
    kept[0].write_bytes(b"damaged")
    assert values(opened(path)[0]) == [1, 2]
    write(path, [*pair(5), *pair(6), *pair(7)])
    os.utime(path, (1, 1))
    assert values(opened(path)[0]) == [5, 6, 7]
    monkeypatch.setattr(_tar_index, "KEPT_BYTES", 1)
    os.utime(path, (2, 2))
    opened(path)
    assert len(list((tmp_path / "cache" / "tar-indexes").iterdir())) == 1
    # without a cache that can be written
    monkeypatch.setenv("AEKIT_CACHE", str(path / "impossible"))
    assert values(opened(path)[0]) == [5, 6, 7]


def test_a_shard_that_is_gone_costs_its_samples_alone(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.tar", [*pair(2 * number), *pair(2 * number + 1)])
    source, _ = opened(tmp_path)
    (tmp_path / "0.tar").unlink()
    _, ok = source.read(np.arange(4))
    assert ok.tolist() == [False, False, True, True]
    assert list(source.skipped) == ["000", "001"]
