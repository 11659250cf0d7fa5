"""Machines that lack memory or packages: one line says what is short, or how to install what is missing."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aekit.errors import AekitError, DataError, OutOfMemoryError, OutputError, explained, importing, not_utf8
from aekit.io.atomic import explain_write_errors
from aekit.io.child_processes import run_python
from aekit.io.manifests import explain_read_errors
from aekit.io.parquet import read_parquet


def test_a_system_without_its_locks_is_refused_in_one_line() -> None:
    done = run_python("-c", "import sys; sys.platform = 'win32'; import aekit")
    assert done.stderr.decode().strip().splitlines()[-1] == (
        "ImportError: aekit runs on Linux and macOS; on Windows use it in the Windows Subsystem for Linux"
    )


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with (
        pytest.raises(DataError, match=r"^a.h5: needs the package h5py: pip install 'aekit\[arrays\]'$"),
        importing("a.h5: needs the package h5py", "pip install 'aekit[arrays]'"),
    ):
        import h5py  # noqa: F401


@pytest.mark.parametrize(
    ("said", "kind", "line"),
    [
        (
            "libGL.so.1: cannot open shared object file",
            AekitError,
            "which is installed and cannot be imported (libGL.so.1: ",
        ),
        (
            "libx.so: failed to map segment from shared object",
            OutOfMemoryError,
            "out of memory: the library libx.so does",
        ),
    ],
)
def test_an_installed_package_that_fails_is_not_to_be_installed(
    said: str, kind: type[AekitError], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenpackage.py").write_text(f"raise ImportError({said!r})")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(kind) as refused, importing("x: needs brokenpackage", "pip install it", AekitError):
        import brokenpackage  # type: ignore[import-not-found]  # noqa: F401
    assert line in str(refused.value) and "pip install" not in str(refused.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 4 GiB"),
        RuntimeError("could not create a primitive"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=["NumPy", "oneDNN", "system"],
)
def test_an_artifact_that_memory_does_not_hold_is_not_damaged(error: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"part.parquet: does not fit into the memory that is free$"),
        explain_read_errors(tmp_path / "part.parquet", "embed again"),
    ):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    ],
    ids=["Python", "Arrow", "fork"],
)
def test_threads_that_the_system_refuses_are_not_a_matter_of_data(error: Exception, tmp_path: Path) -> None:
    assert str(explained(error)).startswith("no further thread or process can be started: their number (ulimit -u")
    with (
        pytest.raises(OutOfMemoryError, match=r"part.parquet: no further thread or process can be started: "),
        explain_read_errors(tmp_path / "part.parquet", "embed again"),
    ):
        raise error


def test_columns_of_parquet_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet").equals(table)
    assert read_parquet(tmp_path / "t.parquet", ["c", "a"]).equals(table.select(["c", "a"]))


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("utf-8", "the path is not UTF-8; rename it"),
        ("ascii", "the path is not ascii, which Python was told to expect; set PYTHONUTF8=1"),
    ],
)
def test_a_name_is_not_to_be_renamed_where_python_was_told_another_encoding(
    encoding: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    assert not_utf8("rename it") == line


@pytest.mark.parametrize("name", ["faiss", "sklearn.cluster"])
def test_a_package_that_an_installation_lacks_is_one_line(name: str) -> None:
    error = ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = name.partition(".")[0]
    assert str(explained(error)) == (
        f"the package {package}, which aekit needs, is missing (No module named {name!r}): pip install aekit"
    )


@pytest.mark.parametrize("name", ["aekit.nowhere", "aekit_plugins.nowhere", None])
def test_a_missing_module_of_aekit_is_a_bug(name: str | None) -> None:
    assert explained(ModuleNotFoundError("No module", name=name)) is None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN])
def test_files_and_threads_that_are_short_are_no_failure_of_a_place(number: int, tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, explain_write_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert not isinstance(raised.value, OutputError)
    assert str(explained(raised.value)).startswith(
        {errno.EMFILE: "Too many open files (ulimit -n)", errno.ENFILE: "Too many open files in system"}.get(
            number, "no further thread or process can be started"
        )
    )


def test_a_python_without_one_of_its_modules_is_not_to_be_mended_by_pip() -> None:
    error = ModuleNotFoundError("No module named '_lzma'", name="_lzma")
    line = "this Python was built without its module _lzma (No module named '_lzma'): use another one"
    assert str(explained(error)) == line
