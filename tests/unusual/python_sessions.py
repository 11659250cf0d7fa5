"""Python sessions: what the caller has set in torch, rows with names, and arrays of other libraries."""

from __future__ import annotations

import copy
import io
import logging
import os
import pickle
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from interrupting import StopsAfter
from sklearn.pipeline import make_pipeline
from torch import nn
from unusual.harness import Area, Listener

import aekit
from aekit.progress_display import NotebookBars
from aekit.workflows.fitting import Interrupted

AREA = Area(__name__)
ROWS = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
NAMES = [f"{machine}/{slot}" for machine in range(15) for slot in "abcd"]
DROPS = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 5))
LEVELS = pd.MultiIndex.from_product([range(15), list("abcd")], names=["machine", "slot"])


def fitted(data: Any = ROWS, **arguments: Any) -> aekit.Encoder:
    """Train for one epoch on a few rows."""
    return aekit.fit(data, **{"dim": 2, "epochs": 1, "backbone": "linear", **arguments})


def frame(index: Any) -> pd.DataFrame:
    """Return the rows as a frame with an index."""
    return pd.DataFrame(ROWS, columns=list("abcdef"), index=index)


def works_within(context: AbstractContextManager[Any]) -> None:
    """Check that training, embedding and searching give what they give without the context."""
    expected = fitted()
    vectors = expected.embed(ROWS).vectors
    with context:
        encoder = fitted()
        embeddings = encoder.embed(ROWS)
        hits = aekit.build_index(embeddings).search_data(ROWS[:3], k=1)
    assert encoder.digest == expected.digest and np.allclose(embeddings.vectors, vectors, atol=1e-6)
    assert hits.ids.ravel().tolist() == ["0", "1", "2"]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set the default dtype of torch, and check that it is kept."""
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


# What the caller has set in torch.


@AREA.right("functions called without gradients, and in inference mode")
def _(folder: Path, listener: Listener) -> None:
    works_within(torch.no_grad())
    works_within(torch.inference_mode())
    with torch.no_grad():
        fitted()
        assert not torch.is_grad_enabled()


@AREA.right("functions called with another default dtype of torch, which stays as it is")
def _(folder: Path, listener: Listener) -> None:
    works_within(default_dtype(torch.float64))
    works_within(default_dtype(torch.bfloat16))


@AREA.right("two threads with another default dtype of torch")
def _(folder: Path, listener: Listener) -> None:
    digest = fitted().digest
    with default_dtype(torch.float64), ThreadPoolExecutor(2) as pool:
        assert [encoder.digest for encoder in pool.map(lambda _: fitted(), range(3))] == [digest] * 3


@AREA.right("functions called with another default device of torch")
def _(folder: Path, listener: Listener) -> None:
    works_within(torch.device("meta"))
    with torch.device("meta"):
        fitted()
        assert torch.get_default_device().type == "meta"


@AREA.right("functions called under autocast")
def _(folder: Path, listener: Listener) -> None:
    works_within(torch.autocast("cpu", torch.bfloat16))


@AREA.right("a network with dropout: the seed decides what it drops, and the caller's random state stays as it is")
def _(folder: Path, listener: Listener) -> None:
    digests = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        digests.append([fitted(backbone=DROPS, **options).digest for options in ({}, {"seed": 1})])
        assert torch.equal(before, torch.get_rng_state())
    assert digests[0] == digests[1] and len(set(digests[0])) == 2


@AREA.right("a training with dropout that is interrupted and resumed: the same encoder, bit for bit")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "rows.npy", ROWS)
    options: dict[str, Any] = {"backbone": DROPS, "epochs": 6, "batch_size": 20, "report": False}
    whole = fitted(folder / "rows.npy", out=folder / "whole", **options)
    try:
        fitted(folder / "rows.npy", out=folder / "parts", progress=StopsAfter(7), **options)
    except Interrupted:
        torch.manual_seed(99)
        resumed = fitted(folder / "rows.npy", out=folder / "parts", resume=True, **options)
        assert resumed.digest == whole.digest
    else:
        raise AssertionError("it was not interrupted")


def state_of_session() -> dict[str, Any]:
    """Return what functions of aekit must leave as it is."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "random": random.getstate(),
        "threads": (torch.get_num_threads(), threading.active_count()),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "filters": list(warnings.filters),
        "log handlers": list(logging.root.handlers),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "errors": np.geterr(),
        "signal": signal.getsignal(signal.SIGINT),
    }


@AREA.right("random states, threads, dtype, filters of warnings, logging, folder and environment stay as they are")
def _(folder: Path, listener: Listener) -> None:
    fitted()  # imports
    before = state_of_session()
    encoder = fitted(out=folder / "run", variants="denoising")
    embeddings = encoder.embed((ROWS, np.arange(60) % 2))
    aekit.evaluate(embeddings, evaluators=["knn"])
    aekit.build_index(embeddings).search_data(ROWS[:1], k=2)
    aekit.find_clusters(embeddings, clusters=2)
    after = state_of_session()
    assert not [name for name in before if before[name] != after[name]]


@AREA.right("training in two threads: the encoders are those of one thread")
def _(folder: Path, listener: Listener) -> None:
    def digest(seed: int) -> str:
        return fitted(backbone="mlp" if seed % 2 else DROPS, seed=seed).digest

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(digest, range(8))) == [digest(seed) for seed in range(8)]


@AREA.right("training seeds no generator of a GPU, which the caller may be using")
def _(folder: Path, listener: Listener) -> None:
    with mock.patch.object(torch.cuda, "manual_seed_all", side_effect=AssertionError):
        fitted(seed=5)


@AREA.refused("an encoder called with an array", "expected a tensor (B, ...); encoder.embed takes other data")
def _(folder: Path, listener: Listener) -> None:
    fitted()(ROWS)


@AREA.refused("an encoder called with one sample", "a single sample: expected a batch (B, ...), such as sample[None]")
def _(folder: Path, listener: Listener) -> None:
    fitted()(torch.from_numpy(ROWS[0]))


@AREA.right("whole numbers for an encoder of fractions, as an array and as one row")
def _(folder: Path, listener: Listener) -> None:
    encoder = fitted()
    whole = np.round(3 * ROWS)
    expected = encoder.embed(whole).vectors
    assert np.allclose(encoder.embed(whole.astype("int64")).vectors, expected)
    assert np.allclose(encoder.embed(list(map(int, whole[0]))).vectors, expected[:1], atol=1e-6)


@AREA.refused("whole numbers for an encoder of images of fractions", "the encoder takes image 1x8x8 float32")
def _(folder: Path, listener: Listener) -> None:
    images = np.random.default_rng(0).random((20, 1, 8, 8), np.float32)
    fitted(images).embed((255 * images).astype("uint8"))


# Rows with names.


@AREA.right("a DataFrame with an index of several levels: ids are `15/a`, and labels are matched by them")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(LEVELS)
    embeddings = fitted(rows).embed(rows)
    assert embeddings.ids == NAMES and embeddings.to_pandas().index.tolist() == NAMES
    labels = pd.Series(np.arange(60) // 30, index=LEVELS)
    evaluation = aekit.evaluate(embeddings, labels[::-1], evaluators=["knn"], compare_with=[])
    assert evaluation.results["encoder"]["knn"].metrics


@AREA.changed(
    "a DataFrame whose index repeats, as `pandas.concat` leaves it",
    "the index is not an id, as values repeat ('0' in 2 rows): rows are numbered instead",
)
def _(folder: Path, listener: Listener) -> None:
    rows = pd.concat([frame(range(60))[:30]] * 2)
    assert list(fitted(rows).embed(rows).ids) == [str(row) for row in range(60)]


@AREA.right("a DataFrame with an index of periods, and of intervals")
def _(folder: Path, listener: Listener) -> None:
    assert list(aekit.open_data(frame(pd.period_range("2024", periods=60, freq="M"))).ids[:2]) == ["2024-01", "2024-02"]
    assert list(aekit.open_data(frame(pd.interval_range(0, 60))).ids[:2]) == ["(0, 1]", "(1, 2]"]


@AREA.right("a DataFrame with a column of `pandas.cut`, with a missing value: three categories")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(range(60))
    bins = pd.cut(rows["a"], 3)
    source = aekit.open_data(rows.assign(bin=bins.where(np.arange(60) > 0)))
    assert source.spec.shape == (9,) and source.spec.names[-3:] == sorted(
        f"bin: {name}" for name in bins.cat.categories
    )


@AREA.changed("a DataFrame with a column of periods", "columns of dates and times ignored: 'day'")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(range(60)).assign(day=pd.period_range("2024", periods=60))
    assert aekit.open_data(rows).spec.shape == (6,)


@AREA.refused("one row of a DataFrame", "or for one row of a table data.to_frame().T")
def _(folder: Path, listener: Listener) -> None:
    fitted().embed(frame(range(60)).iloc[0])


# Arrays of other libraries.


class LikeXarray:
    """An array with what aekit uses of `xarray.DataArray`, which can also be read as a table of coordinates and values."""

    dims = ("time", "sensor")

    def __init__(self) -> None:
        self.coords = {"time": None}
        self.values, self.shape = ROWS, ROWS.shape
        self.indexes = {"time": pd.date_range("2024", periods=60)}

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return ROWS

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pd.DataFrame({"time": range(360), "value": ROWS.ravel()}).__arrow_c_stream__(requested_schema)


LikeXarray.__name__, LikeXarray.__module__ = "DataArray", "xarray.core.dataarray"


@AREA.right("a DataArray of xarray: rows of its first dimension, whose coordinates are the ids")
def _(folder: Path, listener: Listener) -> None:
    with mock.patch.dict(sys.modules, xarray=types.ModuleType("xarray")):
        source = aekit.open_data(LikeXarray())
        assert source.spec.shape == (6,) and source.ids[0] == "2024-01-01 00:00:00" and len(source) == 60
        labeled = aekit.open_data((LikeXarray(), np.arange(60) % 2))
    assert labeled.spec.shape == (6,) and labeled.labels is not None


@AREA.right("a matrix of NumPy")
def _(folder: Path, listener: Listener) -> None:
    encoder = fitted()
    matrix = ROWS.view(np.matrix)
    assert np.array_equal(encoder.embed(matrix).vectors, encoder.embed(ROWS).vectors)


@AREA.right("a structured array with a field of vectors")
def _(folder: Path, listener: Listener) -> None:
    rows = np.zeros(60, [("signal", "f4", 6), ("label", "i4")])
    rows["signal"], rows["label"] = ROWS, np.arange(60) % 2
    source = aekit.open_data(rows)
    assert source.spec.shape == (6,) and source.labels is not None and source.labels.tolist() == [0, 1] * 30


@AREA.refused("a nested tensor", "a nested tensor: its rows differ in shape; pass data.to_padded_tensor(0.0)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(torch.nested.nested_tensor([torch.zeros(3), torch.zeros(4)], layout=torch.jagged))


@AREA.changed("one color image, which has the axes of gray images", "a single color image is array[None]")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(np.zeros((48, 64, 3), np.uint8))
    source.report_notes(listener)
    assert len(source) == 48 and len(aekit.open_data(np.zeros((1, 48, 64, 3), np.uint8))) == 1


# What objects show.


@AREA.right("data that was opened shows its samples, labels, splits and choices, in a line and in a notebook")
def _(folder: Path, listener: Listener) -> None:
    labels = np.array(["cat", "<b>", ""] * 20)
    source = aekit.open_data({"x": ROWS, "label": labels, "split": ["train"] * 40 + ["test"] * 20})
    assert repr(source) == "<ArraySource of 60 samples: vector 6 float32>"
    page = source._repr_html_()
    assert "splits: test 20, train 40" in page and "cat 20, 20 without a label" in page and "<b>" not in page
    assert "train-0" in page and "10 of 60 rows" in page
    numbers = aekit.open_data((ROWS, ROWS[:, 0]))
    assert "labels: 60 different values" in numbers._repr_html_()


@AREA.right("hits print as a table, and count a single query as one")
def _(folder: Path, listener: Listener) -> None:
    hits = aekit.build_index(aekit.Embeddings.from_array(ROWS)).search(ROWS[:1], k=3)
    assert "Hits of 1 query x 3 neighbors" in repr(hits) and "Neighbors of 1 query<" in hits._repr_html_()
    assert str(hits).splitlines()[0].split() == ["query", "rank", "id", "score"] and len(str(hits).splitlines()) == 4
    many = aekit.build_index(aekit.Embeddings.from_array(ROWS)).search(ROWS, k=3)
    assert str(many).splitlines()[-1] == "10 of 180 rows"


@AREA.right("an evaluation in which nothing was evaluated, without an empty table")
def _(folder: Path, listener: Listener) -> None:
    text = str(aekit.evaluate(ROWS, [None] * 60, evaluators=["knn"]))
    assert text.splitlines()[1].startswith("note: ") and "Nothing was evaluated" in text


@AREA.right("a misspelled function of aekit, with the nearest name")
def _(folder: Path, listener: Listener) -> None:
    hints = {"fitt": "fit", "cluster": "find_clusters", "load_index": "open_index", "umap": "draw_map"}
    hints |= {"train": "fit", "search": "open_index(folder).search", "from_pretrained": "load"}
    for name, use in hints.items():
        hint = f"did you mean {use}?"
        try:
            getattr(aekit, name)
        except AttributeError as error:
            assert hint in str(error)
        else:
            raise AssertionError(name)


@AREA.right("generators of NumPy as the `random_state` of `AekitTransformer`")
def _(folder: Path, listener: Listener) -> None:
    def digest(state: Any) -> str:
        return aekit.AekitTransformer(dim=2, epochs=1, random_state=state).fit(ROWS).encoder_.digest

    assert digest(np.random.default_rng(3)) == digest(np.random.default_rng(3)) != digest(None)


def subclasses(kind: type) -> set[type]:
    """Return all classes derived from a class."""
    return {each for direct in kind.__subclasses__() for each in (direct, *subclasses(direct))}


@AREA.right("errors that a pool of processes sends back, or that are copied")
def _(folder: Path, listener: Listener) -> None:
    made_of = {"RecipeError": [["a = 1", "b"]], "RefusedError": [403, "a"], "_NotFiniteError": ["a", 0.1]}
    for kind in subclasses(aekit.AekitError):
        if kind.__module__.startswith("aekit."):
            error = kind(*made_of.get(kind.__name__, ["a"]))
            again = pickle.loads(pickle.dumps(error))  # noqa: S301
            for copied in (again, copy.copy(error), copy.deepcopy(error)):
                assert type(copied) is kind and str(copied) == str(error) and vars(copied) == vars(error)


@AREA.right("a warning that points at the user's line, also if a pipeline of scikit-learn calls aekit")
def _(folder: Path, listener: Listener) -> None:
    rows = pd.DataFrame(ROWS, columns=list("abcdef"))
    rows.iloc[3, 2] = np.nan
    pipeline = make_pipeline(aekit.AekitTransformer(dim=2, epochs=1))
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        pipeline.fit(rows)
        ThreadPoolExecutor(1).submit(aekit.open_data, ROWS.astype(str)).result()  # no line of the user there
    *ours, in_a_thread = [Path(warning.filename).name for warning in issued]
    assert set(ours) == {Path(__file__).name} and in_a_thread == "thread.py"


@AREA.right("lines of two threads in a notebook, each written at once")
def _(folder: Path, listener: Listener) -> None:
    written: list[str] = []
    with mock.patch("sys.stdout", types.SimpleNamespace(write=written.append, flush=lambda: None)):
        NotebookBars().say("one")
    assert [text for text in written if text] == ["one\n"]


class WriteOnly:
    """A stream of a program's own."""

    def write(self, text: str) -> int:
        return len(text)


@AREA.right("standard output and error that are None, closed, or streams of a program's own")
def _(folder: Path, listener: Listener) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, WriteOnly()):
        with mock.patch("sys.stdout", stream), mock.patch("sys.stderr", stream):
            fitted(progress=True)
            fitted()


@AREA.right("a DataFrame whose columns are called by numbers and by words, without a warning of Arrow")
def _(folder: Path, listener: Listener) -> None:
    rows = pd.DataFrame(ROWS).assign(last=ROWS[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = aekit.open_data(rows)
    assert [column.name for column in source.spec.columns] == ["0", "1", "2", "3", "4", "5", "last"]


def shown_in_a_notebook(call: Callable[[], object]) -> str:
    """Return the traceback that IPython shows for an error of aekit."""
    try:
        call()
    except aekit.AekitError as error:
        with mock.patch.dict(sys.modules, {"IPython": types.SimpleNamespace(get_ipython=lambda: None)}):
            return "".join(error._render_traceback_())
    raise AssertionError("it was not refused")


@AREA.right("an error in a notebook: the lines of the user's code, then the message, without dozens of frames of aekit")
def _(folder: Path, listener: Listener) -> None:
    text = shown_in_a_notebook(lambda: fitted(backbone="convv"))
    frames = [line for line in text.splitlines() if line.startswith("  File ")]
    assert frames and all(Path(__file__).name in line for line in frames), text
    assert "fitted(backbone=" in text and text.rstrip().endswith("no backbone 'convv'; did you mean 'conv'?")
    with mock.patch.dict(os.environ, {"AEKIT_DEBUG": "1"}):
        assert "_arguments.py" in shown_in_a_notebook(lambda: fitted(backbone="convv"))


@AREA.right("an error in a notebook that the user's own network caused: all frames, with the line of the network")
def _(folder: Path, listener: Listener) -> None:
    class Wrong(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.not_a_method()

    text = shown_in_a_notebook(lambda: fitted(backbone=Wrong()))
    assert "return x.not_a_method()" in text and "it raised AttributeError" in text


@AREA.refused("an AnnData, whose table is to be passed", "pass its table, data.to_df(), or that and labels")
def _(folder: Path, listener: Listener) -> None:
    kind = type(
        "AnnData", (), {"__module__": "anndata", "__len__": lambda self: 3, "__getitem__": lambda self, at: self}
    )
    with mock.patch.dict(sys.modules, {"anndata": types.ModuleType("anndata")}):
        aekit.open_data(kind())


@AREA.refused("an id in place of the vectors to search for", "search_ids takes ids")
def _(folder: Path, listener: Listener) -> None:
    aekit.build_index(ROWS).search("3")
