"""Clips: which windows of frames are cut from videos, that no frame is in two splits, and videos of every form."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from PIL import Image

import aekit
from aekit.data.opening import open_data, reopen
from aekit.data.readers.video import Video, VideoReader
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.testing import conformance
from aekit.visualization.image_grid import render_sample

test_clips_conform = conformance("source", "clips", {"frames": 2, "frame_step": 2, "size": [5, 6], "test": 0.0})


def everything(source: Source) -> tuple[np.ndarray, np.ndarray]:
    return source.read(np.arange(len(source)))


def moving(count: int, height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    """(T, H, W, 3) uint8, each frame of its own."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def saved(path: Path, frames: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, frames=frames)
    return f"clips:{path}"


def video(path: Path, frames: np.ndarray, rate: int = 10) -> Path:
    """A video file that loses nothing."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def frames_of(source: Source, span: int, step: int) -> dict[str, set[int]]:
    """The numbers of the frames that each split shows."""
    assert source.splits is not None
    found: dict[str, set[int]] = {}
    for name, split in zip(source.ids, source.splits.tolist()):
        first = int(name.rpartition("@")[2])
        found.setdefault(split, set()).update(range(first, first + span, step))
    return found


@pytest.mark.parametrize(
    "options", [{}, {"stride": 1}, {"frames": 4, "frame_step": 3, "stride": 2}, {"gap": 0, "stride": 1}]
)
def test_clips_are_windows_of_the_video(tmp_path: Path, options: dict[str, Any]) -> None:
    frames = moving(100)
    source = open_data(saved(tmp_path / "a.npz", frames), {"clips": options})
    length, step = options.get("frames", 8), options.get("frame_step", 1)
    assert source.spec == SampleSpec("clip", (3, length, 12, 16), "uint8", "crop", frame_step=step)
    rows, ok = everything(source)
    assert ok.all()
    for name, row in zip(source.ids, rows):
        first = int(name.removeprefix("a.npz@"))
        expected = frames[first : first + length * step : step]
        np.testing.assert_array_equal(row, expected.transpose(3, 0, 1, 2))
    firsts = [int(name.rpartition("@")[2]) for name in source.ids]
    training = [first for first, split in zip(firsts, source.splits.tolist()) if split == "train"]  # type: ignore[union-attr]
    assert set(np.diff(training)) == {options.get("stride", length * step)}


@pytest.mark.parametrize(
    "options", [{}, {"stride": 1}, {"frames": 4, "frame_step": 3, "stride": 1, "test": 0.5}, {"gap": 0, "stride": 1}]
)
def test_no_frame_is_in_two_splits(tmp_path: Path, options: dict[str, Any]) -> None:
    source = open_data(saved(tmp_path / "a.npz", moving(100)), {"clips": options})
    length, step = options.get("frames", 8), options.get("frame_step", 1)
    span = (length - 1) * step + 1
    seen = frames_of(source, span, 1)  # also those that are stepped over
    cut = round(100 * (1 - options.get("test", 0.2)))
    assert min(seen["test"]) == cut and max(seen["test"]) <= 99
    assert max(seen["train"]) < cut - options.get("gap", span)
    if options.get("stride") == 1:
        assert max(seen["train"]) == cut - options.get("gap", span) - 1 and max(seen["test"]) == 99


def test_a_video_that_is_not_split(tmp_path: Path) -> None:
    source = open_data(saved(tmp_path / "a.npz", moving(20)), {"clips": {"test": 0.0}})
    assert source.splits is None and source.ids == ["a.npz@0", "a.npz@8"]


def test_reading_in_any_order_and_size(tmp_path: Path) -> None:
    frames = moving(60)
    source = open_data(saved(tmp_path / "a.npz", frames), {"clips": {"stride": 1, "frames": 5}})
    rows, _ = everything(source)
    order = np.random.default_rng(0).permutation(len(source))
    for part in np.array_split(order, 7):
        np.testing.assert_array_equal(source.read(part)[0], rows[part])
    again = reopen(source.origin or {})
    assert list(again.fingerprints(order)) == list(source.fingerprints(order))
    assert len(set(source.fingerprints(order))) == len(source)


def test_size_and_channels(tmp_path: Path) -> None:
    frames = moving(20)
    small = open_data(saved(tmp_path / "a.npz", frames), {"clips": {"size": [6, 8], "grayscale": True, "test": 0.0}})
    assert small.spec.shape == (1, 8, 6, 8)
    expected = np.asarray(Image.fromarray(frames[3]).convert("L").resize((8, 6), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(everything(small)[0][0, 0, 3], expected)
    gray = open_data(saved(tmp_path / "gray.npz", frames[..., 0]), {"clips": {"test": 0.0}})
    assert gray.spec.shape == (1, 8, 12, 16)
    like = SampleSpec("clip", (3, 4, 6, 6), "uint8", "stretch")
    taken = open_data(saved(tmp_path / "gray.npz", frames[..., 0]), {"clips": {"frames": 2, "size": 9}}, like=like)
    assert taken.spec == like and everything(taken)[0].shape[1:] == like.shape
    slow = SampleSpec("clip", (3, 4, 12, 16), "uint8", frame_step=3)
    third = open_data(saved(tmp_path / "a.npz", frames), {"clips": {"test": 0.0}}, like=slow)
    np.testing.assert_array_equal(everything(third)[0][0], np.moveaxis(frames[0:12:3], -1, 0))


def test_arrays_of_other_depths_keep_them(tmp_path: Path) -> None:
    deep = (moving(20)[..., 0].astype(np.uint16) * 200) + 7
    source = open_data(saved(tmp_path / "deep.npz", deep), {"clips": {"test": 0.0}})
    assert source.spec.dtype == "uint16"
    np.testing.assert_array_equal(everything(source)[0][0, 0], deep[:8])
    resized = open_data(saved(tmp_path / "deep.npz", deep), {"clips": {"test": 0.0, "size": 4}})
    assert not everything(resized)[1].any()
    assert "only 8-bit frames are resized and converted" in resized.skipped["deep.npz@0"]
    np.save(tmp_path / "wrong.npy", np.zeros((3, 4, 5, 6, 7), np.uint8))
    with pytest.raises(DataError, match=r"uint8 of shape \(3, 4, 5, 6, 7\): expected frames \(T, H, W\)"):
        open_data(f"clips:{tmp_path / 'wrong.npy'}")


def test_animated_images(tmp_path: Path) -> None:
    frames = moving(12)[..., :1].repeat(3, -1)
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], lossless=True)
    colors = [Image.new("RGB", (16, 12), (20 * number, 0, 90)) for number in range(12)]
    colors[0].save(tmp_path / "a.gif", save_all=True, append_images=colors[1:], duration=100)
    for name, expected in (("a.webp", frames), ("a.gif", np.stack([np.asarray(color) for color in colors]))):
        source = open_data(f"clips:{tmp_path / name}", {"clips": {"frames": 4, "test": 0.0}})
        rows, ok = everything(source)
        assert ok.all() and len(source) == 3 and source.spec.shape == (3, 4, 12, 16)
        np.testing.assert_allclose(rows[1].astype(int), expected[4:8].transpose(3, 0, 1, 2), atol=2)
    assert open_data(tmp_path / "a.gif").spec.kind == "image", "a clip only where clips are asked for"
    (tmp_path / "b.gif").write_bytes(b"GIF89a and no more")
    with pytest.raises(DataError, match=r"b.gif: not an animated image that Pillow reads"):
        open_data(f"clips:{tmp_path / 'b.gif'}")


def test_video_files(tmp_path: Path) -> None:
    frames = moving(40)
    path = video(tmp_path / "a.mkv", frames)
    assert Video(path).count == 40, "Matroska does not say; its packets are counted"
    source = open_data(path, {"clips": {"frames": 4, "stride": 1, "gap": 0}})
    rows, ok = everything(source)
    assert ok.all() and source.spec.shape == (3, 4, 12, 16)
    np.testing.assert_array_equal(rows[5], frames[5:9].transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(source.read(np.array([30, 2]))[0][1], frames[2:6].transpose(3, 0, 1, 2))


def test_a_video_is_decoded_once_for_all_batches_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, starts = video(tmp_path / "a.mkv", moving(40)), []
    decode = Video.frames
    monkeypatch.setattr(Video, "frames", lambda self, first=0: (starts.append(first), decode(self, first))[1])
    source = open_data(path, {"clips": {"frames": 4, "frame_step": 2, "stride": 3, "gap": 0}})
    for part in np.array_split(np.arange(len(source)), 5):
        source.read(part)
    assert starts == [0]
    player = VideoReader(Video(path), SampleSpec("image", (3, 12, 16), "uint8"), keep=3)
    for number in range(30):
        player.frame(number)
    assert len(player._kept) == 3, "no more is held than a clip spans"


def test_damaged_and_short_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "videos"
    for number in range(3):
        video(folder / f"{number}.mkv", moving(20, seed=number))
    whole = (folder / "1.mkv").read_bytes()
    (folder / "1.mkv").write_bytes(whole[: len(whole) // 2])
    video(folder / "short.mkv", moving(3))
    (folder / "text.mp4").write_text("no video")
    source = open_data(folder, {"clips": {"frames": 4}})
    _, ok = everything(source)
    by_video = {
        name: ok[[i.startswith(f"{name}@") for i in source.ids]] for name in ("0.mkv", "1.mkv", "short.mkv", "text.mp4")
    }
    assert by_video["0.mkv"].all() and len(by_video["0.mkv"]) == 5
    assert not by_video["short.mkv"].any() and source.skipped["short.mkv@0"] == "ends after 3 frames"
    assert not by_video["text.mp4"].any() and source.skipped["text.mp4@0"].startswith("not a video that PyAV reads")
    assert by_video["1.mkv"].sum() < 5
    with pytest.raises(DataError, match=r"text.mp4: not a video that PyAV reads"):
        open_data(folder / "text.mp4")
    with pytest.raises(
        DataError, match=r"short.mkv: 3 frames, 0 of them in the train part; expected 8, the span of a clip"
    ):
        open_data(folder / "short.mkv")


def test_a_folder_of_videos_by_class_and_split(tmp_path: Path) -> None:
    for name in ("run/1.mkv", "run/2.mkv", "run/10.mkv", "jump/1.mkv", "jump/2.mkv"):
        video(tmp_path / "videos" / name, moving(9))
    source = open_data(tmp_path / "videos", {"clips": {"frames": 3, "test": 0.34}})
    assert source.labels is not None and source.splits is not None
    found = {
        name: (label, split) for name, label, split in zip(source.ids, source.labels.tolist(), source.splits.tolist())
    }
    assert len(found) == 15 and found["run/1.mkv@6"] == ("run", "train") and found["run/10.mkv@0"] == ("run", "test")
    assert found["run/2.mkv@0"][1] == "train" and found["jump/2.mkv@3"] == ("jump", "test")
    for name in ("train/run/1.mkv", "test/run/1.mkv", "train/jump/1.mkv"):
        video(tmp_path / "parted" / name, moving(9))
    parted = open_data(tmp_path / "parted", {"clips": {"frames": 3}})
    assert parted.splits is not None and dict(zip(parted.ids, parted.splits.tolist()))["test/run/1.mkv@0"] == "test"


def test_what_needs_pyav_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"...")
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"a.mp4: reading videos needs PyAV: pip install 'aekit\[video\]'"):
        open_data(tmp_path / "a.mp4")


def test_the_real_video_and_its_small_frames_agree(data_dir: Path) -> None:
    pytest.importorskip("av")
    small = open_data(
        f"clips:{data_dir}/video/cockatoo_96x54_10fps.npz", {"clips": {"frames": 2, "stride": 1, "test": 0.0}}
    )
    large = open_data(
        data_dir / "video" / "cockatoo.mp4",
        {"clips": {"frames": 2, "frame_step": 2, "stride": 20, "size": [54, 96], "test": 0.0}},
    )
    first, _ = large.read(np.arange(2))
    places = [int(name.rpartition("@")[2]) // 2 for name in large.ids[:2]]
    expected, _ = small.read(np.array(places))
    assert np.abs(first.astype(int) - expected).mean() < 2, "every second frame, resized by another filter"


def test_clips_from_the_command_line(command: Command, tmp_path: Path) -> None:
    gray = np.arange(16)[None, None, :] + np.arange(80)[:, None, None] * 2
    where = saved(tmp_path / "a.npz", np.broadcast_to((127 + 120 * np.sin(gray / 5)), (80, 12, 16)).astype(np.uint8))
    run = tmp_path / "run"
    cut = ["--set", "data.clips.frames=4", "--set", "data.clips.stride=1"]
    told = command("fit", where, "-o", run, "--pretext", "predict-part", "--epochs", "2", "--dim", "8", *cut)
    assert told.code == 0 and "57 samples of the train split, clip 1x4x12x16 uint8" in told.err
    record = json.loads((run / "encoder" / "encoder.json").read_text())
    assert record["spec"]["kind"] == "clip"
    embeddings = aekit.embed(aekit.load(run), where, split="test")
    assert embeddings.vectors.shape == (4, 8) and list(embeddings.ids) == [
        f"a.npz@{first}" for first in (64, 68, 72, 76)
    ]


def test_a_clip_is_drawn_as_its_frames_from_first_to_last() -> None:
    spec = SampleSpec("clip", (1, 11, 40, 30), "uint8")
    sample = np.broadcast_to(np.arange(11, dtype=np.uint8)[None, :, None, None] * 20, spec.shape)
    drawn = np.asarray(render_sample(sample, spec))
    assert drawn.shape == (80, 360, 3), "six frames, twice as large"
    assert drawn[40, 30::60, 0].tolist() == [0, 40, 80, 120, 160, 200]
