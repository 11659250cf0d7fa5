"""Arrays in MATLAB files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from aekit.plugin import (
    LABEL_NAMES,
    ArrayOptions,
    DataError,
    SampleSpec,
    Source,
    check_memory,
    densify,
    importing,
    matlab_variables,
    open_contents,
    read_named_arrays,
    reading,
)

_COMPLAINT = "not a readable MATLAB file"


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[ArrayOptions]) -> Source:
    """Open variables by usual names: ``X``, ``data``, ``images`` or ``features``, with ``y`` or ``labels``.

    Where the labels are as many as the last axis is long, and not the first, the last axis counts the samples. Files of version
    7.3 need h5py.

    Raises:
        DataError: the file is damaged, h5py is needed and not installed, or no variable or several may be the samples.
    """
    variables, notes = _read(Path(where))
    y = options.get("y", "auto")
    names_of_labels = {name for name in variables if name == y or (y == "auto" and _is_label(name))}
    counts = {variables[name].size for name in names_of_labels}

    def load(name: str) -> np.ndarray:
        values = variables[name]
        if name in names_of_labels:
            values = values.reshape(-1)
            # MATLAB's numbers are floats unless asked otherwise, but classes are integers.
            is_whole = values.dtype.kind == "f" and np.array_equal(values, np.rint(values))
            return values.astype(np.int64) if is_whole else values
        if values.shape[0] not in counts and values.shape[-1] in counts:
            notes.append(f"the last axis of {name} counts the samples, as the labels show")
            return np.moveaxis(values, -1, 0)
        return values

    source = open_contents(read_named_arrays(variables, load, where, **options), like)
    source.notes = (*notes, *source.notes)
    return source


def _is_label(name: str) -> bool:
    return any(part in LABEL_NAMES for part in (name.lower(), *name.lower().split("_")))


def _read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the variables of numbers and text, with the axes as MATLAB shows them, and notes on changes."""
    from scipy.io import loadmat

    notes: list[str] = []
    with reading(path, _COMPLAINT):
        with path.open("rb") as file:
            head = file.read(128)
        if head.startswith(b"MATLAB 7.3") or head.startswith(b"\x89HDF"):
            return _read_hdf5(path), notes
        try:
            names = matlab_variables(path)
        except DataError as error:
            text = str(error)
            raise error if text.startswith(str(path)) else DataError(f"{path}: {_COMPLAINT} ({text})") from None
        content = loadmat(path, variable_names=names)
        variables = {name: value for name, value in content.items() if not name.startswith("__")}
    arrays: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if hasattr(value, "toarray"):
            with reading(path, _COMPLAINT):
                value = value.tocsc()
                value.check_format(full_check=True)  # as wrong positions would write beyond the array
                if (np.diff(value.indptr) < 0).any():  # which it overlooks where the last is 0
                    raise ValueError("a sparse variable whose columns overlap")
            value, note = densify(value, f"{path}: {name}")
            notes.append(f"{name}: {note}")
        if value.dtype.kind == "O":  # a cell array, such as of class names
            cells = [np.asarray(cell).reshape(-1) for cell in value.reshape(-1)]
            if all(cell.dtype.kind == "U" for cell in cells):
                arrays[name] = np.array(["".join(cell.tolist()) for cell in cells])
        elif value.dtype.kind in "uifbU":
            arrays[name] = np.char.strip(value) if value.dtype.kind == "U" else value
    return arrays, notes


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    with importing(f"{path}: of version 7.3, needs the package h5py", "pip install 'aekit[arrays]'"):
        import h5py
    with reading(path, _COMPLAINT), h5py.File(path, "r") as file:
        entries: dict[str, Any] = {name: entry for name, entry in file.items() if hasattr(entry, "dtype")}
        entries = {name: entry for name, entry in entries.items() if entry.dtype.kind in "uifb"}
        wanted = sum(math.prod(entry.shape) * entry.dtype.itemsize for entry in entries.values())
        check_memory(wanted, f"{path}: its variables")
        # MATLAB stores the axes in reverse order.
        return {name: np.asarray(entry[()]).T for name, entry in entries.items()}


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    from scipy.io import savemat

    samples = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    savemat(folder / "samples.mat", {"X": samples, "y": np.arange(12) % 3})
    return str(folder / "samples.mat")
