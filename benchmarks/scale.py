"""Plan for data past one machine: what it costs to embed, store, index and search 1e6, 1e8 and 1e9 photographs.

    AEKIT_DATA=... python benchmarks/scale.py --measure   # rates of one core of this machine, to benchmarks/rates.json
    python benchmarks/scale.py                            # the tables of docs/scale.md, from those rates
    python benchmarks/scale.py --write                    # writes them into docs/scale.md

Rates are counted in processor seconds on one thread, so that other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RATES, PAGE = Path(__file__).with_name("rates.json"), Path(__file__).parents[1] / "docs" / "scale.md"
SIZES = (10**6, 10**8, 10**9)
DIM, PHOTO_SIZE = 128, (500, 375)
ASSUMED = {"device_rate": 8_000, "device_steps": 2_500, "network_bytes": 1.25e9, "cores": 64}
"""Not measured: images per second that one GPU embeds and trains on, bytes per second of a network, cores of a large host."""


def measure() -> dict[str, Any]:
    """Return rates per second of one core, and bytes per row."""
    import numpy as np
    import torch
    from embed import FRAMING, build, lite0

    import aekit
    from aekit.data.opening import open_data
    from aekit.data.source import ArraySource
    from aekit.index.openblas import import_with_better_core

    faiss, _ = import_with_better_core("faiss", "faiss_cpu.libs")
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    rates: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as place:
        photographs = Path(place) / "photographs"
        rates["photo_bytes"] = write_photographs(photographs, 192)
        source = open_data(str(photographs), {"images": FRAMING})
        positions = np.arange(len(source))
        encoder = lite0(source, Path(os.environ["AEKIT_DATA"]) / "weights" / "efficientnet_lite0_in1k.safetensors")
        rates["decode"] = rate(lambda: source.read(positions), len(source))
        rates["embed_photo"] = rate(lambda: encoder.embed(source, progress=False), len(source))
        rows = ArraySource(np.random.default_rng(0).integers(0, 256, (100_000, 1, 28, 28), dtype=np.uint8))
        small = build(rows, "mlp", {"hidden": [512]}, DIM)
        rates["embed_row"] = rate(lambda: small.embed(rows, progress=False), len(rows))
        folder = Path(place) / "embeddings"
        small.save(Path(place) / "encoder")
        np.save(Path(place) / "rows.npy", rows.array[:10_000])
        aekit.embed(Path(place) / "encoder", Path(place) / "rows.npy", out=folder, precision="fp32")
        rates["row_bytes"] = round(sum(file.stat().st_size for file in folder.glob("*.parquet")) / 10_000, 1)
    vectors = np.random.default_rng(0).standard_normal((100_000, DIM), dtype=np.float32)
    rates["assign"] = {}
    for lists in (2048, 16384, 65536):
        quantizer = faiss.IndexFlatIP(DIM)
        quantizer.add(np.ascontiguousarray(np.resize(vectors, (lists, DIM))))
        count = 2**26 // lists
        rates["assign"][str(lists)] = rate(lambda: quantizer.search(vectors[:count], 1), count)  # noqa: B023
    return rates


def rate(run: Callable[[], object], count: int, repeats: int = 3) -> float:
    """Return items per processor second, the median of some runs after a first one."""
    seconds = []
    for turn in range(repeats + 1):
        started = time.process_time()
        run()
        if turn:
            seconds.append(time.process_time() - started)
    return round(count / statistics.median(seconds), 1)


def write_photographs(folder: Path, count: int) -> float:
    """Write photographs of Caltech-101, enlarged to the size that is usual in ImageNet; return their mean bytes."""
    from PIL import Image

    folder.mkdir()
    files = sorted((Path(os.environ["AEKIT_DATA"]) / "caltech10").rglob("*.jpg"))
    total = 0
    for number, file in enumerate(files[:: len(files) // count][:count]):
        encoded = io.BytesIO()
        Image.open(file).convert("RGB").resize(PHOTO_SIZE, Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=92)
        total += len(encoded.getvalue())
        (folder / f"{number:04}.jpg").write_bytes(encoded.getvalue())
    return round(total / count)


def machine() -> dict[str, str]:
    import faiss
    import torch

    names = [line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name")]
    processor = names[0].partition(":")[2].strip() if names else platform.processor()
    return {"processor": processor, "torch": torch.__version__.partition("+")[0], "faiss": faiss.__version__}


def tables(rates: dict[str, Any]) -> dict[str, str]:
    """Return name -> table of docs/scale.md in Markdown."""
    import pipeline

    return {
        "rates": rates_table(rates),
        "embedding": embedding_table(rates),
        "index": index_table(rates),
        "simulation": pipeline.tables(rates["decode"]),
    }


def rates_table(rates: dict[str, Any]) -> str:
    rows = [
        (
            f"decode a JPEG of {PHOTO_SIZE[0]} x {PHOTO_SIZE[1]} pixels to 224 x 224",
            f"{rates['decode']:,.0f} /s",
            "measured",
        ),
        ("decode it and embed it by EfficientNet-Lite0", f"{rates['embed_photo']:,.1f} /s", "measured"),
        (f"embed 784 bytes by a dense network, 784-512-{DIM}", f"{rates['embed_row']:,.0f} /s", "measured"),
        *(
            (f"find the nearest of {int(lists):,} lists", f"{value:,.0f} vectors/s", "measured")
            for lists, value in rates["assign"].items()
        ),
        (f"a row of {DIM} dimensions with its id, in Parquet", f"{rates['row_bytes']:,.0f} bytes", "measured"),
        ("such a JPEG", f"{rates['photo_bytes']:,.0f} bytes", "measured"),
        ("embed on one GPU", f"{ASSUMED['device_rate']:,} images/s", "assumed"),
        ("train on one GPU, 224 x 224", f"{ASSUMED['device_steps']:,} images/s", "assumed"),
        ("read from object storage", f"{ASSUMED['network_bytes'] / 1e9:.2f} GB/s for a host", "assumed"),
    ]
    return markdown(("what", "rate of one core, or size", "origin"), rows)


def embedding_table(rates: dict[str, Any]) -> str:
    """Return the costs of reading and embedding, with the bottleneck of a host with one GPU."""
    rows = []
    for count in SIZES:
        photo, device = rates["photo_bytes"] * count, count / ASSUMED["device_rate"]
        rows.append(
            (
                f"{count:,}",
                size(photo),
                hours(photo / ASSUMED["network_bytes"]),
                hours(count / rates["decode"]),
                hours(count / rates["embed_photo"]),
                hours(device),
                hours(count / ASSUMED["device_steps"]),
                size(rates["row_bytes"] * count),
            )
        )
    head = (
        "photographs",
        "their files",
        "reading, one host",
        "decoding, core-hours",
        "decoding and embedding, core-hours",
    )
    return markdown((*head, "embedding, GPU-hours", "one epoch of training, GPU-hours", "embeddings"), rows)


def index_table(rates: dict[str, Any]) -> str:
    """Return the index that ``auto`` chooses, its size and the cost of building it."""
    from aekit_plugins.indexes.faiss_index import TRAINING_PER_LIST, choose_kind

    from aekit.errors import RecipeError

    code_bytes = {"Flat": 4 * DIM, "SQfp16": 2 * DIM, "SQ8": DIM}
    rows = []
    for count in (*SIZES[:1], 10**7, *SIZES[1:]):
        try:
            kind, _ = choose_kind(count, DIM)
        except RecipeError:
            rows.append(
                (f"{count:,}", "none: a database over several hosts, such as Milvus", "", "", size(2 * DIM * count))
            )
            continue
        lists, storage = re.fullmatch(r"IVF(\d+),(\w+)", kind).groups()  # type: ignore[union-attr]
        assign = rates["assign"][lists]
        training = 10 * min(count, TRAINING_PER_LIST * int(lists)) / assign
        memory = count * (code_bytes[storage] + 8) + 4 * DIM * int(lists)
        rows.append((f"{count:,}", f"`{kind}`", hours(training), hours(count / assign), size(memory)))
    return markdown(("vectors", "`auto` chooses", "training it, core-hours", "adding, core-hours", "memory"), rows)


def size(count: float) -> str:
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} bytes"


def hours(seconds: float) -> str:
    value = seconds / 3600
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def insert(page: str, parts: dict[str, str]) -> str:
    """Return a page with each table between its marks, such as ``<!-- rates -->``."""
    for name, table in parts.items():
        before, mark, after = page.partition(f"<!-- {name} -->\n")
        if not mark:
            raise SystemExit(f"{PAGE}: no mark <!-- {name} -->")
        page = f"{before}{mark}\n{table}\n\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure the rates of this machine")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/scale.md")
    arguments = parser.parse_args()
    if arguments.measure:
        if "AEKIT_DATA" not in os.environ:
            parser.error("--measure: set AEKIT_DATA to a folder with weights/efficientnet_lite0_in1k.safetensors")
        RATES.write_text(json.dumps(measure(), indent=2) + "\n", "utf-8")
    parts = tables(json.loads(RATES.read_text("utf-8")))
    if arguments.write:
        PAGE.write_text(insert(PAGE.read_text("utf-8"), parts), "utf-8")
    print("\n\n".join(parts.values()))


if __name__ == "__main__":
    main()
