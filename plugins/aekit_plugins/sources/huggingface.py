"""Data sets of the Hugging Face hub, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Unpack

from aekit.plugin import (
    DataError,
    Field,
    RecordOptions,
    SampleSpec,
    Source,
    StreamedRecords,
    dataset_to_table,
    expand_files,
    importing,
    join_splits,
    open_records,
)


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    config: Annotated[
        str, Field(description="configuration, of data sets that have several; auto: the only one")
    ] = "auto",
    download: Annotated[bool, Field(description="download a data set that is not in the cache")] = True,
    streaming: Annotated[
        bool, Field(description="read samples shard by shard from where they are, instead of downloading all first")
    ] = False,
    files: Annotated[
        str,
        Field(
            description="paths or URLs of files, such as https://host/train-{000..099}.tar, of the format that NAME names"
        ),
    ] = "",
    **options: Unpack[RecordOptions],
) -> Source:
    """Open all splits of a data set, from the cache of `datasets` or downloaded: ``huggingface:ylecun/mnist``.

    With `files`, the name is that of a format, such as ``huggingface:webdataset`` or ``huggingface:parquet``.
    In streaming, labels and ids are read in one passage when it is opened, which for Parquet files leaves the samples out.

    Raises:
        DataError: `datasets` is not installed, there is no such data set, or it is neither cached nor can be downloaded.
    """
    with importing(f"huggingface:{where}: needs the package datasets", "pip install 'aekit[huggingface]'"):
        import datasets
    name = where.strip().rstrip("/")
    name = name if Path(name).is_dir() else name.lstrip("/")
    if not name:
        raise DataError("huggingface: expected the name of a data set, such as huggingface:ylecun/mnist")
    arguments = {"path": name, "name": None if config == "auto" else config, "data_files": expand_files(files) or None}
    load = partial(datasets.load_dataset, **arguments)
    if streaming:
        rows = _streamed(load, f"huggingface:{where}", offline=not download)
        return open_records(rows, f"huggingface:{where}", like, "huggingface", options, losses=rows.losses)
    loaded: Any = None
    reason = "it is not in the cache, and download = false"
    for offline in (True, False)[: 1 + download]:
        try:
            with _quiet(offline):
                loaded = load()
            break
        except Exception as error:  # the package raises errors of many libraries; none of them is a bug of aekit
            if not offline or "onfig" in str(error):  # of a missing configuration: what to choose from
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
    if loaded is None:
        raise DataError(f"huggingface:{where}: neither cached nor downloadable ({reason})")
    records, losses = join_splits(
        {split: dataset_to_table(part) for split, part in loaded.items()}, f"huggingface:{where}"
    )
    return open_records(records, f"huggingface:{where}", like, "huggingface", options, losses=losses)


def _streamed(load: Callable[..., Any], place: str, *, offline: bool) -> StreamedRecords:
    """Open a data set in streaming."""

    def narrowed(columns: list[str]) -> Any:
        try:
            return load(streaming=True, columns=columns)
        except Exception:  # of a format that reads all columns
            return None

    with _quiet(offline):
        try:
            loaded = load(streaming=True)
        except Exception as error:  # as above
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
            raise DataError(f"{place}: cannot be streamed ({reason})") from None
        return StreamedRecords(loaded, narrowed, place)


@contextmanager
def _quiet(offline: bool) -> Iterator[None]:
    """Silence the package's bars and retries, and keep it from the network if `offline` is set."""
    import datasets
    import huggingface_hub

    constants, loudness = huggingface_hub.constants, huggingface_hub.logging.get_verbosity()
    saved = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE, datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    huggingface_hub.logging.set_verbosity_error()
    if offline:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = saved[:2]
        huggingface_hub.logging.set_verbosity(loudness)
        if not saved[2]:
            datasets.enable_progress_bars()


def example(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return an example for the conformance kit to open: a repository of Parquet files in a folder stands in for the hub."""
    import os

    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = [[float(row), row / 2, 1.0] for row in range(12)]
    pq.write_table(pa.table({"vector": numbers, "label": ["a", "b"] * 6}), folder / "train.parquet")
    return os.path.relpath(folder), {"download": False}
