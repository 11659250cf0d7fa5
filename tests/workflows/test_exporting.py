"""Test export: the exported model gives the embeddings of the encoder, or no file is written."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from commands import FAST

import aekit
from aekit.errors import AekitError, DataError, IdentityError
from aekit.workflows import exporting

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
ROOT = Path(__file__).parents[2]


def data_of(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    return {
        "uint8 images": lambda: rng.integers(0, 256, (70, 3, 11, 8), dtype=np.uint8),
        "uint16 images": lambda: rng.integers(0, 4096, (70, 1, 9, 9)).astype(np.uint16),
        "float64 table": lambda: rng.normal(5, 3, (70, 6)),
        "table far from 0": lambda: rng.normal(1.7e9, 3, (70, 6)),
        "whole numbers far from 0": lambda: rng.integers(10**12, 10**12 + 1000, (70, 6)),
    }[kind]()


@pytest.mark.parametrize(
    "kind", ["uint8 images", "uint16 images", "float64 table", "table far from 0", "whole numbers far from 0"]
)
@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_exports_map_raw_samples_to_the_same_embeddings(tmp_path: Path, kind: str, ending: str) -> None:
    data = data_of(kind)
    encoder = aekit.fit(data, dim=4, overrides=FAST)
    folder = encoder.save(tmp_path / "encoder")
    out = tmp_path / f"model.{ending}"
    made = aekit.export_encoder(encoder, out, data=data, folder=folder)
    assert made["difference"] <= made["tolerance"] == exporting.TOLERANCE
    read = exporting._read_onnx if ending == "onnx" else exporting._read_pt2
    import torch

    for size in (1, 2, 5, 70):
        ours = encoder.embed(data[:size]).vectors
        theirs = read(out)(torch.from_numpy(data[:size])).detach().numpy()
        assert theirs == pytest.approx(ours, abs=1e-4 * float(np.abs(ours).max()))
    assert f"| model.{ending} |" in (folder / "README.md").read_text()
    assert aekit.load(folder).digest == encoder.digest, "noting the export changed the encoder"


def test_exports_contain_the_digest_and_no_pickle(tmp_path: Path) -> None:
    data = data_of("float64 table")
    encoder = aekit.fit(data, dim=2, overrides=FAST)
    aekit.export_encoder(encoder, tmp_path / "m.onnx", data=data)
    aekit.export_encoder(encoder, tmp_path / "m.pt2", data=data)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_modelmeta().custom_metadata_map["aekit.digest"] == encoder.digest
    archive = zipfile.ZipFile(tmp_path / "m.pt2")
    assert archive.read("archive/extra/aekit.digest").decode() == encoder.digest
    for name in archive.namelist():
        if not name.startswith("archive/data/weights/weight"):
            assert not archive.read(name).startswith(b"\x80"), f"{name} is a pickle"
            assert not archive.read(name).startswith(b"PK"), f"{name} is a torch archive, which is pickle inside"
    folders = [str(Path(module.__file__ or "").parent).encode() for module in (aekit, np)]
    contents = [(tmp_path / "m.onnx").read_bytes(), *map(archive.read, archive.namelist())]
    assert not any(folder in content for folder in folders for content in contents), "folders of this machine"


def test_an_export_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of("float64 table")
    encoder = aekit.fit(data, dim=2, overrides=FAST)
    honest = exporting._read_onnx
    monkeypatch.setattr(exporting, "_read_onnx", lambda path: lambda raw: honest(path)(raw) * 1.01)
    (tmp_path / "m.onnx").write_text("what was there before")
    with pytest.raises(IdentityError, match=r"not written: the exported encoder differs by 0\.01"):
        aekit.export_encoder(encoder, tmp_path / "m.onnx", data=data)
    assert (tmp_path / "m.onnx").read_text() == "what was there before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_missing_samples_and_unknown_suffixes(tmp_path: Path) -> None:
    encoder = aekit.fit(data_of("float64 table"), dim=2, overrides=FAST)
    with pytest.raises(DataError, match=r"expected one of \.onnx, \.pt2"):
        aekit.export_encoder(encoder, tmp_path / "m.h5", data=data_of("float64 table"))
    with pytest.raises(DataError, match=r"pass some as data \(--data\)"):
        aekit.export_encoder(encoder, tmp_path / "m.onnx")


def test_the_script_in_the_docs_runs_without_aekit(tmp_path: Path) -> None:
    """Run the documented ten lines with aekit hidden."""
    data = data_of("uint8 images")
    encoder = aekit.fit(data, dim=4, overrides=FAST)
    aekit.export_encoder(encoder, tmp_path / "model.onnx", data=data)
    np.save(tmp_path / "samples.npy", data)
    text = (ROOT / "docs" / "how-to" / "production-index.md").read_text("utf-8")
    script = next(block for block in text.split("```")[1::2] if "onnxruntime" in block).removeprefix("python")
    assert len([line for line in script.splitlines() if line.strip()]) <= 10 and "aekit" not in script.replace(
        "aekit.digest", ""
    )
    hidden = "import sys; sys.modules['aekit'] = None; sys.modules['torch'] = None\n"
    done = subprocess.run([sys.executable, "-c", hidden + script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert encoder.digest[:12] in done.stdout
    assert np.load(tmp_path / "embeddings.npy") == pytest.approx(encoder.embed(data).vectors, abs=1e-4)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_before_anything_is_exported(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_of("uint8 images")
    encoder = aekit.fit(data, dim=4, overrides=FAST)
    for name in [name for name in sys.modules if name.partition(".")[0] in (package, "onnxscript")]:
        monkeypatch.delitem(sys.modules, name)  # onnxscript imports onnx
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        AekitError, match=r"^ONNX export needs the packages of the extra 'onnx': pip install 'aekit\[onnx\]'$"
    ):
        aekit.export_encoder(encoder, tmp_path / "model.onnx", data=data)
    assert not list(tmp_path.iterdir())


def test_an_export_reports_nothing_to_the_makers_of_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    session = onnxruntime.InferenceSession

    def disable() -> None:
        calls.append("disabled")

    def start(*arguments: object, **options: object) -> object:
        calls.append("session")
        return session(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", disable)
    monkeypatch.setattr(onnxruntime, "InferenceSession", start)
    encoder = aekit.fit(data_of("uint8 images"), dim=4, overrides=FAST)
    aekit.export_encoder(encoder, tmp_path / "model.onnx", data=data_of("uint8 images"))
    assert calls == ["disabled", "session"]
