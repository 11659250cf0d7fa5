"""What is said about files that cannot be read, and what memory allows."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import aekit
from aekit.data.reading import FileSize, read_all, reading, reason_of
from aekit.errors import LONGEST, DataError, OutOfMemoryError, RecipeError, first_line, out_of_memory, printable
from aekit.io.memory import SMALL, check_memory, free_memory, read_limit, require_free, stated_memory


def test_whatever_is_raised_becomes_a_line_and_our_errors_pass() -> None:
    for error in (KeyError("name"), ValueError("row 3\nmore"), UnboundLocalError(), RecursionError("deep")):
        with pytest.raises(DataError) as refused, reading("x.csv", "not a readable table"):
            raise error
        assert str(refused.value) == f"x.csv: not a readable table ({first_line(error)})"
    with pytest.raises(RecipeError, match=r"^theirs$"), reading("x.csv"):
        raise RecipeError(["theirs"])
    with pytest.raises(KeyboardInterrupt), reading("x.csv"):
        raise KeyboardInterrupt


def test_what_code_in_rust_raises_becomes_a_line() -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(DataError, match=r"^x.lance: damaged \(range end index 9 out of range\)$"), reading("x.lance"):
        raise panic("range end index 9 out of range")


def test_a_file_that_may_not_be_read_is_not_called_missing() -> None:
    assert reason_of(PermissionError(13, "Permission denied", "x")) == "cannot be read (Permission denied)"
    assert reason_of(FileNotFoundError(2, "No such file or directory")) == "cannot be read (No such file or directory)"
    assert reason_of(OSError("Truncated stream"), "not a readable table") == "not a readable table (Truncated stream)"
    assert reason_of(MemoryError("Unable to allocate 8. TiB")).startswith("does not fit in memory (Unable to allocate")


def test_hostile_text_is_shown_in_one_short_line() -> None:
    assert printable("plain é 漢") == "plain é 漢"
    assert printable("a\nb\x1b[31m\u202e\udcff") == r"a\nb\x1b[31m\u202e\udcff"
    assert len(printable("x" * 10_000, LONGEST)) == 2000 and len(printable("\0" * 10_000)) == 200
    assert len(first_line(ValueError("y" * 10_000))) == 200
    assert str(DataError("a\nb")) == r"a\nb" and str(RecipeError(["a\nb", "c"])) == "a\\nb\nc"


def test_sizes_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEKIT_MEMORY", raising=False)
    assert stated_memory() is None and SMALL <= read_limit() <= free_memory()
    for text, size in {"1kB": 1000, "2 GiB": 2**31, "0.5MB": 500_000, " 7 ": 7, "3TB": 3 * 10**12}.items():
        monkeypatch.setenv("AEKIT_MEMORY", text)
        assert stated_memory() == size and read_limit() == max(size, SMALL)
    for text in ("", "2G", "-1", "1e9", "GB", "٣", "9" * 30):
        monkeypatch.setenv("AEKIT_MEMORY", text)
        with pytest.raises(RecipeError, match="expected a size such as 2GB"):
            stated_memory()


def test_what_does_not_fit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_MEMORY", "100MB")
    check_memory(99_000_000, "x")
    with pytest.raises(
        DataError, match=r"^x would take 9.3 GiB of memory, but 95.4 MiB are allowed \(set by AEKIT_MEM"
    ):
        check_memory(10**10, "x")
    assert read_all(io.BytesIO(b"abc"), "x", 2) == b"ab"
    with pytest.raises(DataError, match=r"its unpacked content would take more memory than the 95\.4 MiB"):
        read_all(io.BytesIO(bytes(60_000_000)), "x", copies=2)


def test_the_allocators_errors_are_one_line() -> None:
    numpy_error = MemoryError("Unable to allocate 8.00 TiB for an array with shape (1,)")
    assert str(out_of_memory(numpy_error)).startswith(
        "out of memory: could not allocate 8.00 TiB; lower train.batch_size"
    )
    torch_error = RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."
    )
    assert str(out_of_memory(torch_error)).startswith("out of memory: could not allocate 4,000 bytes;")
    assert str(out_of_memory(MemoryError())).startswith("out of memory; lower")
    assert isinstance(out_of_memory(MemoryError()), MemoryError) and out_of_memory(RuntimeError("a bug")) is None


def test_work_that_would_wait_for_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_free(2**26, "k-means")
    monkeypatch.setattr("aekit.io.memory.free_memory", lambda: 2**24)
    with pytest.raises(
        OutOfMemoryError, match=r"^out of memory: k-means takes 64\.0 MiB, 16\.0 MiB are free; use less"
    ):
        aekit.find_clusters(np.random.default_rng(0).normal(size=(40, 4)), clusters=2)


def test_out_of_memory_in_python() -> None:
    with pytest.raises(OutOfMemoryError, match="could not allocate 4,000,000,000,000 bytes") as refused:
        aekit.fit(np.ones((12, 4), np.float32), dim=2, backbone="linear", overrides={"encoder.hidden": [10**6, 10**6]})
    assert refused.value.__cause__ is not None, "where it was is kept"


def test_a_saved_data_set_that_shrinks_is_refused(tmp_path: Path) -> None:
    table = pa.table({"vector": np.arange(40_000.0).reshape(-1, 4).tolist(), "label": ["a", "b"] * 5000})
    with pa.ipc.new_stream(str(tmp_path / "data.arrow"), table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    from aekit.data.readers.saved_datasets import read_saved_dataset

    records, _ = read_saved_dataset(tmp_path)
    assert len(records.column("label")) == 10_000
    os.truncate(tmp_path / "data.arrow", 1000)
    with pytest.raises(DataError, match=r"data\.arrow: has shrunk from [\d,]+ to 1,000 bytes while it was read"):
        records.column("label")


def test_a_file_that_is_gone_or_grows_can_still_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(10))
    size = FileSize(tmp_path / "x")
    (tmp_path / "x").write_bytes(bytes(20))
    size.check()
    (tmp_path / "x").unlink()
    size.check()
