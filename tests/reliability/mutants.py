"""Change what aekit wrote in every way that comes to mind, read it again, and count what happens.

``python tests/reliability/mutants.py --count 20000`` reads 20,000 mutants of all formats in forked children with limits on time
and memory, and keeps the figures. A mutant is harmless if the answer is unchanged or it is refused in one line. Some are sealed
again, as by a stranger who knows the format: those may give another answer, but never a traceback.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, record
from PIL import Image
from safetensors.torch import load_file, save_file

import aekit
from aekit.errors import LONGEST, AekitError
from aekit.io.manifests import SEAL
from aekit.training.phases import Interrupted

sys.path.append(str(Path(__file__).parents[1]))
from resealing import reseal, reseal_files

SECONDS, MEMORY = 30, 4 * 2**30
"""Limits of a mutant: time, and memory beyond what the process has."""
UNCHANGED, REFUSED, RESEALED, WRONG = "unchanged", "refused", "changed under a new seal", "wrong"

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
LABELS = np.repeat(["a", "b"], 20)
FAST = {"train.epochs": 2, "train.precision": "fp32", "train.batch_size": 20}

LONG = "A" * 1_000_000
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2**31,
        10**12,
        2**63,
        -(2**63),
        1e308,
        float("nan"),
        float("inf"),
        0.5,
        "",
        "x",
        LONG,
    ),
    *("../../../../etc/passwd", "/etc/passwd", "/dev/zero", "a\0b", "a\nb\x1b[2J", "os:system", "a/b", "..", "1e9"),
    *([], {}, [1e9], [10**9], [10**6, 10**6], [-1], [0], ["a"], [[[]]], {"a": {"b": {}}}, [None]),
]


@dataclass(frozen=True)
class Format:
    """A kind of artifact.

    Attributes:
        folder: name of the folder below the base, which a child copies.
        files: names of the files that are changed.
        use: reads the copy by the public API, and returns an answer as plain values.
        manifests: name of a file -> name of the manifest that holds its checksum.
    """

    folder: str
    files: tuple[str, ...]
    use: Callable[[Path], Any]
    manifests: dict[str, str]


def build(base: Path) -> None:
    """Write one artifact of each format."""
    images(base)
    np.savez(base / "data.npz", X=IMAGES, y=LABELS)
    data, quick = str(base / "data.npz"), {"overrides": FAST, "dim": 4, "report": False}
    aekit.fit(data, variants=["denoising"], evaluators=["knn"], out=base / "run", **quick)
    aekit.fit(data, pretexts=["inpainting"], out=base / "task", **quick)
    aekit.embed(base / "run", data, out=base / "embeddings")
    for name, kind in {"flat": "Flat", "ivf": "IVF4,SQ8", "hnsw": "HNSW8"}.items():
        aekit.build_index(base / "embeddings", base / name, options={"kind": kind})
    aekit.find_anomalies(base / "run", data, out=base / "anomalies", baselines=False)
    aekit.finetune(base / "run", data, out=base / "tuned", epochs=2, baselines=False)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    aekit.fit(data, backbone=network, out=base / "programs", overrides=FAST, report=False)
    unfinished(base, data)


def images(base: Path) -> None:
    """Write a run on images in files, and a detector of anomalies that remembers patches of them."""
    (base / "images").mkdir()
    for number, pixels in enumerate(np.random.default_rng(1).integers(0, 256, (40, 16, 16), np.uint8)):
        Image.fromarray(pixels).save(base / "images" / f"{number}.png")
    data = str(base / "images")
    aekit.fit(data, variants=["denoising"], backbone="conv", dim=4, out=base / "imaged", overrides=FAST, report=False)
    aekit.find_anomalies(base / "imaged", data, out=base / "patches", heatmaps=2, patches=True, baselines=False)


def unfinished(base: Path, data: str) -> None:
    """Write a run that was interrupted after its training, before anything was saved."""
    from aekit.workflows import fitting

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        raise Interrupted("stopped")

    saving = fitting._Run._save
    fitting._Run._save = interrupted  # type: ignore[method-assign]
    try:
        aekit.fit(data, variants=["plain"], out=base / "unfinished", overrides=FAST, dim=4, report=False)
    except Interrupted:
        pass
    finally:
        fitting._Run._save = saving  # type: ignore[method-assign]


def rounded(values: Any) -> Any:
    """Return numbers as plain values, to four digits."""
    return np.round(np.asarray(values, np.float64), 4).tolist()


def use_encoder(folder: Path) -> Any:
    return rounded(aekit.load(folder).embed(IMAGES[:4]).vectors)


def use_decoder(folder: Path) -> Any:
    return rounded(aekit.load_autoencoder(folder).reconstruct(torch.from_numpy(IMAGES[:2, None])))


def use_results(folder: Path) -> Any:
    comparison = aekit.compare([folder])
    return [comparison.text().replace(str(folder.parent), ""), list(comparison.skipped.values())]


def use_report(folder: Path) -> Any:
    aekit.make_report(folder)
    return json.loads((folder / "results.json").read_text())["findings"]


def use_task(folder: Path) -> Any:
    return rounded(aekit.apply(folder, IMAGES[:2], task="inpaint").values)


def use_embeddings(folder: Path) -> Any:
    opened = aekit.Embeddings.open(folder)
    metadata = opened.metadata().to_pylist()
    clusters = aekit.find_clusters(folder, clusters=2)
    return [len(opened), rounded(opened.vectors), list(opened.ids), opened.labels.tolist(), metadata, str(clusters)]


def use_index(folder: Path) -> Any:
    index = aekit.open_index(folder)
    hits = index.search(np.eye(4, dtype=np.float32), 5)
    by_id = index.search_ids([index.ids[3], index.ids[7]], 3)
    return [rounded(hits.scores), hits.rows.tolist(), by_id.rows.tolist(), hits.records(), by_id.records()]


def use_detector(folder: Path) -> Any:
    found = aekit.find_anomalies(folder.parent / "base" / "run", IMAGES[:6], detector=folder, baselines=False)
    return {name: rounded(values) for name, values in found.scores.items()}


def use_patch_memory(folder: Path) -> Any:
    samples = np.random.default_rng(2).integers(0, 256, (4, 16, 16), np.uint8)
    run = folder.parent / "base" / "imaged"
    found = aekit.find_anomalies(run, samples, detector=folder, heatmaps=2, patches=True, baselines=False)
    maps = found.heatmaps
    return [
        {name: rounded(values) for name, values in found.scores.items()},
        maps and rounded(list(maps.maps.values())),
    ]


def use_classifier(folder: Path) -> Any:
    classifier = aekit.load_classifier(folder)
    return [classifier.predict(IMAGES[:4]).tolist(), rounded(classifier.probabilities(IMAGES[:4]))]


def use_checkpoint(folder: Path) -> Any:
    data = str(folder.parent / "data.npz")
    encoder = aekit.fit(data, variants=["plain"], out=folder, overrides=FAST, dim=4, report=False, resume=True)
    return encoder.digest


ENCODER = {"encoder.json": "encoder.json"}
INDEX = dict.fromkeys(("manifest.json", "index.faiss", "ids.parquet"), "manifest.json")
FORMATS = {
    "encoder": Format("run/encoder", ("encoder.json", "weights.safetensors"), use_encoder, ENCODER),
    "encoder of programs": Format(
        "programs/encoder",
        ("encoder.json", "stage-0.pt2", "weights.safetensors"),
        use_encoder,
        ENCODER | {"stage-0.pt2": "encoder.json"},
    ),
    "decoder": Format(
        "run",
        ("decoder/decoder.json", "decoder/weights.safetensors", "encoder/encoder.json"),
        use_decoder,
        dict.fromkeys(("decoder/decoder.json", "decoder/weights.safetensors"), "decoder/decoder.json"),
    ),
    "results of a run": Format("run", ("results.json",), use_results, {"results.json": "results.json"}),
    "run, reported again": Format(
        "run",
        ("results.json", "predictions.npz", "log.jsonl", "recipe.toml"),
        use_report,
        dict.fromkeys(("results.json", "predictions.npz", "log.jsonl"), "results.json"),
    ),
    "pretext task": Format(
        "task",
        ("pretexts/inpainting/pretext.json", "pretexts/inpainting/weights.safetensors"),
        use_task,
        dict.fromkeys(
            ("pretexts/inpainting/pretext.json", "pretexts/inpainting/weights.safetensors"),
            "pretexts/inpainting/pretext.json",
        ),
    ),
    "checkpoint": Format(
        "unfinished",
        ("checkpoint/state.safetensors", "checkpoint/data.json", "recipe.toml", "log.jsonl"),
        use_checkpoint,
        {"checkpoint/data.json": "checkpoint/data.json"},
    ),
    "embeddings": Format(
        "embeddings",
        ("manifest.json", "part-00000.parquet", "encoder/encoder.json"),
        use_embeddings,
        {"manifest.json": "manifest.json", "part-00000.parquet": "manifest.json"},
    ),
    "index, exact": Format("flat", ("manifest.json", "ids.parquet", "index.faiss"), use_index, INDEX),
    "index, inverted lists": Format("ivf", ("index.faiss", "manifest.json"), use_index, INDEX),
    "index, graph": Format("hnsw", ("index.faiss",), use_index, INDEX),
    "anomaly detector": Format(
        "anomalies",
        ("detector.json", "detector.safetensors"),
        use_detector,
        dict.fromkeys(("detector.json", "detector.safetensors"), "detector.json"),
    ),
    "patch memory": Format(
        "patches",
        ("patches.json", "patches.safetensors"),
        use_patch_memory,
        dict.fromkeys(("patches.json", "patches.safetensors"), "patches.json"),
    ),
    "classifier": Format(
        "tuned",
        ("classifier.json", "classifier.safetensors", "encoder/encoder.json"),
        use_classifier,
        dict.fromkeys(("classifier.json", "classifier.safetensors"), "classifier.json"),
    ),
}
SLOW = {"run, reported again": 20, "encoder of programs": 20, "checkpoint": 5, "patch memory": 4}
"""Formats whose reading takes long -> how many times fewer mutants they get."""


# The mutations


def paths(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each value in nested JSON."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*place, key))


def mutate_bytes(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Flip, cut, repeat or overwrite bytes."""
    changed, at = bytearray(content), rng.randrange(len(content))
    kind = rng.randrange(6)
    if kind == 0:
        return "cut", content[:at]
    if kind == 1:
        changed[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        changed[rng.randrange(min(len(changed), 400))] = rng.randrange(256)
    elif kind == 3:
        changed[at : at + 8] = struct.pack("<q", rng.choice([2**62, -1, 10**12, 2**31]))
    elif kind == 4:
        changed[-400:] = bytes(rng.randrange(256) if rng.random() < 0.02 else byte for byte in changed[-400:])
    else:
        changed[at : at + 64] = changed[at : at + 64] * 3
    return ("flip", "head", "number", "tail", "repeat")[kind - 1], bytes(changed)


WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "open brackets": lambda content: b"[" * 200_000,
    "nested lists": lambda content: b"[" * 50_000 + b"]" * 50_000,
    "nested objects": lambda content: b'{"a":' * 900 + b"1" + b"}" * 900,
    "thousands of digits": lambda content: b'{"format": ' + b"9" * 5000 + b"}",
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "list": lambda content: b"[]",
    "null": lambda content: b"null",
    "text": lambda content: b'"x"',
    "surrogate": lambda content: b'{"format":"\\ud800"}',
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
}


def mutate_json(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Delete, repeat, retype or replace an entry, or the whole."""
    if rng.random() < 0.1:
        name = rng.choice(sorted(WHOLE))
        return name, WHOLE[name](content)
    value = json.loads(content)
    place = rng.choice([place for place in paths(value) if place])
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    kind = rng.randrange(10)
    if kind == 0:
        del inner[place[-1]]
        return f"without {place}", json.dumps(value).encode()
    if kind == 1 and isinstance(inner, dict):  # the last of two entries of a name counts
        text = json.dumps(value)
        return f"twice {place}", (text[:-1] + f', "{place[0]}": {json.dumps(rng.choice(VALUES[:30]))}}}').encode()
    if kind == 2 and isinstance(inner, list):
        inner.append(copy.deepcopy(inner[place[-1]]))
        return f"repeated {place}", json.dumps(value).encode()
    if kind == 3 and isinstance(inner[place[-1]], (int, float)):
        inner[place[-1]] = inner[place[-1]] * rng.choice([-1, 2, 1e-3, 1 + 1e-9]) + rng.choice([0, 1, -1])
    else:
        inner[place[-1]] = copy.deepcopy(rng.choice(VALUES))
    return f"{place} = {inner[place[-1]]!r:.40}", json.dumps(value).encode()


def mutate_tensors(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change the header of a safetensors file: shapes, types, offsets, names."""
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = rng.choice([name for name in header if name != "__metadata__"])
    kind = rng.randrange(6)
    if kind == 0:
        header[name]["shape"] = rng.choice([[10**9], [10**6, 10**6], [-1], [0], [], [2**63], ["a"], None, [1.5]])
    elif kind == 1:
        header[name]["dtype"] = rng.choice(["F64", "F16", "I64", "BOOL", "U8", "BF16", "XX", 3])
    elif kind == 2:
        header[name]["data_offsets"] = rng.choice([[0, 10**12], [-1, 4], [4, 0], [0, 4], [0, 0], None, [2**64, 2**64]])
    elif kind == 3:
        del header[name]
    elif kind == 4:
        header[rng.choice(["../x", "", f"{name}x", LONG[:5000]])] = dict(header[name])
    else:
        size = rng.choice([2**63, 2**64 - 1, 10**9, 0, 1])
    text = json.dumps(header).encode()
    return f"tensor {name} {kind}", struct.pack("<Q", size if kind == 5 else len(text)) + text + data


def mutate_values(path: Path, rng: random.Random) -> str:
    """Put values that are not finite, or huge, into weights, in a file that is sound otherwise."""
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    name = rng.choice([name for name, tensor in tensors.items() if tensor.numel() and tensor.is_floating_point()])
    flat = tensors[name].flatten()
    flat[rng.randrange(len(flat))] = rng.choice([float("nan"), float("inf"), 1e38, -1e38, 0.5])
    tensors[name] = flat.reshape(tensors[name].shape)
    save_file(tensors, path)
    return f"value in {name}"


def mutate(folder: Path, kind: Format, spare: Path, rng: random.Random) -> tuple[str, bool]:
    """Change one thing in a copy of an artifact; return a description, and whether it was sealed again."""
    name = rng.choice(kind.files)
    path, draw = folder / name, rng.random()
    content = path.read_bytes()
    if draw < 0.04:  # something else in its place
        how = rng.choice(["missing", "a link", "a folder", "another file", "a pipe"])
        path.unlink()
        if how == "a link":
            (spare / "linked").write_bytes(content)
            path.symlink_to(spare / "linked")
        elif how == "a folder":
            path.mkdir()
        elif how == "a pipe":
            os.mkfifo(path)
        elif how == "another file":
            others = [other for other in sorted((spare / "base").rglob("*")) if other.suffix == path.suffix]
            path.write_bytes(rng.choice(others).read_bytes())
        return f"{name}: {how}", False
    if path.suffix == ".json" and draw < 0.85:
        how, changed = mutate_json(content, rng)
    elif path.suffix == ".safetensors" and draw < 0.5:
        how, changed = mutate_tensors(content, rng)
    elif path.suffix == ".safetensors" and draw < 0.6:
        how, changed = mutate_values(path, rng), path.read_bytes()
    else:
        how, changed = mutate_bytes(content, rng)
    path.write_bytes(changed)
    manifest = kind.manifests.get(name)
    if manifest is None or rng.random() < 0.5:
        return f"{name}: {how}", False
    try:
        entries = json.loads((folder / manifest).read_text("utf-8"))
        (reseal_files if name != manifest and "sha256" in entries else reseal)(folder / manifest)
        if "parts" in entries and name != manifest:
            reseal_part(folder, manifest, name)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return f"{name}: {how}", False  # no JSON any longer
    return f"{name}: {how}, sealed again", True


def reseal_part(folder: Path, manifest: str, name: str) -> None:
    """Write the checksum of a part of embeddings as it is now."""
    from aekit.io.atomic import file_sha256

    entries = json.loads((folder / manifest).read_text("utf-8"))
    parts = [part | {"sha256": file_sha256(folder / part["file"])} for part in entries["parts"]]
    entries.pop(SEAL)
    reseal(folder / manifest, parts=parts)


# Reading them


def outcome(kind: Format, folder: Path, reference: str, sealed: bool) -> tuple[str, str]:
    """Read a mutant; return what happened and why."""
    try:
        answer = json.dumps(kind.use(folder), default=str)
    except AekitError as error:
        text = str(error)
        printable = all(char.isprintable() or char == "\n" for char in text)
        problems = getattr(error, "problems", None)
        lines = len(text.splitlines())
        if not text or not printable or lines > len(problems or [""]) or len(text) > LONGEST * lines:
            return WRONG, f"message of {lines} lines, {len(text)} characters: {text[:200]!r}"
        return REFUSED, text[:200]
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [
            frame for frame in frames if "aekit" in frame.filename and "reliability" not in frame.filename
        ] or frames
        return WRONG, f"{type(error).__name__}: {str(error)[:160]!r} at {inside[-1].filename}:{inside[-1].lineno}"
    if answer == reference:
        return UNCHANGED, ""
    return (RESEALED, "") if sealed else (WRONG, "another answer in silence")


def spare_folder(base: Path) -> Path:
    """Make a folder for mutants, with the data that the artifacts name."""
    spare = Path(tempfile.mkdtemp(dir=base.parent))
    (spare / "base").symlink_to(base)
    shutil.copy2(base / "data.npz", spare / "data.npz")
    return spare


def child(name: str, base: Path, numbers: list[int], seed: int, pipe: int, reference: str) -> None:
    """Read mutants one after the other, and write a line for each to a pipe."""
    kind = FORMATS[name]
    silent = os.open(base.parent / "child.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")

    def too_long(number: int, frame: Any) -> None:
        raise TimeoutError(f"took more than {SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    spare = spare_folder(base)
    folder = spare / "mutant"
    for number in numbers:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base / kind.folder, folder)
        how, sealed = mutate(folder, kind, spare, random.Random(f"{seed} {name} {number}"))
        os.write(pipe, (json.dumps([number, "begun", how]) + "\n").encode())
        signal.alarm(SECONDS)
        what, why = outcome(kind, folder, reference, sealed)
        signal.alarm(0)
        os.write(pipe, (json.dumps([number, what, f"{how} -> {why}"]) + "\n").encode())
    shutil.rmtree(spare, ignore_errors=True)


def forked(work: Callable[[int], None], patience: float) -> tuple[list[str], int]:
    """Run work in a child; return the lines that it wrote to its pipe, and its exit code."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reading)
            work(writing)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    received = b""
    while True:
        ready, _, _ = select.select([reading], [], [], patience)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            break
        if not (piece := os.read(reading, 2**16)):
            break
        received += piece
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    return received.decode().splitlines(), os.waitstatus_to_exitcode(status)


def attack(name: str, base: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Read mutants of a format; return how many had each outcome, and what went wrong."""
    kind = FORMATS[name]

    def refer(pipe: int) -> None:
        spare = spare_folder(base)
        shutil.copytree(base / kind.folder, spare / "mutant")
        with os.fdopen(pipe, "w") as file:
            file.write(json.dumps(kind.use(spare / "mutant"), default=str))
        shutil.rmtree(spare, ignore_errors=True)

    lines, code = forked(refer, 300)
    if code:
        raise RuntimeError(f"{name}: cannot be read unchanged")
    reference = "\n".join(lines)
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    numbers = list(range(count))
    while numbers:
        lines, code = forked(lambda pipe: child(name, base, list(numbers), seed, pipe, reference), 2 * SECONDS)
        begun: dict[int, str] = {}
        for number, what, why in map(json.loads, lines):
            if what == "begun":
                begun[number] = why
                continue
            begun.pop(number)
            numbers.remove(number)
            outcomes[what] += 1
            wrong += [f"{name} {number}: {why}"] if what == WRONG else []
        for number, how in begun.items():  # the process did not survive it
            numbers.remove(number)
            outcomes[WRONG] += 1
            wrong.append(f"{name} {number}: {how} -> the process ended with {code}")
        if not lines:
            said = (base.parent / "child.log").read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"{name}: the child ended with {code} before it read anything: {said}")
    return outcomes, wrong


def shares(count: int, names: list[str]) -> dict[str, int]:
    """Divide a number of mutants among the formats; those that take long get fewer."""
    weights = {name: 1 / SLOW.get(name, 1) for name in names}
    total = sum(weights.values())
    return {name: max(3, round(count * weight / total)) for name, weight in weights.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="mutants of all formats together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(FORMATS), help="one format")
    parser.add_argument("--no-record", action="store_true", help="do not keep the figures")
    parser.add_argument("--base", type=Path, help="folder for the artifacts; default: a temporary one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    place = options.base or Path(tempfile.mkdtemp(prefix="aekit-mutants-"))
    base = place / "base"
    os.environ["AEKIT_CACHE"], os.environ["XDG_CONFIG_HOME"] = str(place / "cache"), str(place / "config")
    warnings.simplefilter("ignore")
    if not base.exists():
        base.mkdir(parents=True)
        _, code = forked(lambda pipe: build(base), 900)  # in a child, so that this process starts no threads
        if code:
            shutil.rmtree(base)
            return 1
    figures, problems = [], []
    for name, count in shares(options.count, [options.only] if options.only else list(FORMATS)).items():
        started = time.monotonic()
        outcomes, wrong = attack(name, base, count, options.seed)
        counts = ", ".join(f"{outcomes[what]:,} {what}" for what in (UNCHANGED, REFUSED, RESEALED) if outcomes[what])
        seconds = time.monotonic() - started
        print(f"{name}: {count:,} mutants, {counts}, {outcomes[WRONG]} wrong, in {seconds:.0f} s", flush=True)
        how = "bits, numbers, entries and files changed, half of them sealed again"
        figures.append(Figure(name, how, count, outcomes[WRONG], counts))
        problems += wrong
    print("\n".join(problems[:100]))
    if not options.no_record:
        record("mutants", figures)
    if options.base is None:
        shutil.rmtree(place, ignore_errors=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
