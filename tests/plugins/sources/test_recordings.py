"""Recordings: which windows are cut, that no step is in two splits, channels by name, labels of steps, sound, and bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command
from scipy.io import wavfile

import aekit
from aekit.data.opening import open_data
from aekit.data.source import Source, read_valid
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError
from aekit.visualization.plots import COLORS, draw_time_courses


def machine(path: Path, steps: int = 100, **others: str) -> Path:
    """Two channels that say which step it is, a time, and labels that change every 25 steps."""
    rows = [f"2024-01-01,{t},{-t},{'on' if t // 25 % 2 else 'off'}" for t in range(steps)]
    path.write_text("\n".join(["date,speed,load,label", *rows]) + "\n")
    return path


def opened(path: Path, **options: object) -> Source:
    return open_data(f"recordings:{path}", {"recordings": options})


def everything(source: Source) -> np.ndarray:
    rows, ok = read_valid(source, np.arange(len(source)))
    assert ok.all()
    return rows


def test_windows_follow_one_another_and_no_step_is_in_two_splits(tmp_path: Path) -> None:
    source = opened(machine(tmp_path / "m.csv"), steps=10)
    assert source.spec == SampleSpec("series", (2, 10), "float32", columns=(Column("speed"), Column("load")))
    assert "; ".join(source.notes) == "windows of 10 steps; column 'label' is the label; columns ignored: date"
    assert source.splits is not None
    rows = everything(source)
    assert np.array_equal(rows[:, 0], -rows[:, 1])
    steps = {split: set(rows[source.splits == split, 0].ravel().tolist()) for split in ("train", "test")}
    assert steps == {"train": set(range(70)), "test": set(range(80, 100))}, "a window's length lies between them"
    assert list(source.ids)[:2] == ["m.csv@0", "m.csv@10"]


def test_windows_that_overlap_and_take_every_other_step(tmp_path: Path) -> None:
    source = opened(machine(tmp_path / "m.csv"), steps=5, frame_step=2, stride=3, test=0)
    assert source.splits is None
    rows = everything(source)
    assert rows[1, 0].tolist() == [3, 5, 7, 9, 11]
    assert rows[-1, 0].max() <= 99 and len(rows) == len(range(0, 100 - 9 + 1, 3))


def test_a_window_has_the_label_of_most_of_its_steps_or_the_largest(tmp_path: Path) -> None:
    path = machine(tmp_path / "m.csv")
    most, largest = (opened(path, steps=20, stride=20, test=0, label=rule) for rule in ("most", "largest"))
    assert most.labels is not None and largest.labels is not None
    assert most.labels.tolist() == ["off", "on", "off", "off", "on"]  # 40..59: ten and ten, and off comes first
    assert largest.labels.tolist() == ["off", "on", "on", "on", "on"]
    assert opened(path, steps=20, y="none").labels is None


def test_folders_are_classes_and_the_last_recordings_are_held_out(tmp_path: Path) -> None:
    for name in ("a/1.csv", "a/2.csv", "b/1.csv", "b/2.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x,y,label\n" + "\n".join(f"{t * t},{t % 3},{t % 5}" for t in range(30)) + "\n")
    source = opened(tmp_path, steps=10)
    assert source.labels is not None and source.splits is not None
    assert sorted(set(source.labels.tolist())) == ["a", "b"] and source.spec.shape == (2, 10)
    named = opened(tmp_path, steps=10, y="label")
    assert named.labels is not None and named.labels.tolist()[0] == 0
    held = {name.partition("@")[0] for name, split in zip(source.ids, source.splits) if split == "test"}
    assert held == {"a/2.csv", "b/2.csv"} and len(source) == 12


def test_channels_are_found_by_name(tmp_path: Path) -> None:
    first = opened(machine(tmp_path / "m.csv"), steps=10, test=0)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"load": -np.arange(100.0), "more": np.ones(100), "speed": np.arange(100.0)}), other)
    second = open_data(f"recordings:{other}", {"recordings": {"test": 0}}, like=first.spec)
    assert np.array_equal(everything(second), everything(first))
    slow = opened(machine(tmp_path / "m.csv"), steps=10, frame_step=3, test=0).spec
    assert SampleSpec.from_dict(slow.to_dict()) == slow and slow.frame_step == 3
    third = open_data(f"recordings:{other}", {"recordings": {"test": 0}}, like=slow)
    assert everything(third)[0, 0].tolist() == list(range(0, 30, 3))
    with pytest.raises(DataError, match="no column 'speed', expected by the encoder"):
        missing = tmp_path / "missing.csv"
        missing.write_text("load,sped\n" + "1,2\n" * 50)
        open_data(f"recordings:{missing}", like=first.spec)


def test_gaps_and_recordings_that_cannot_be_used(tmp_path: Path) -> None:
    lines = machine(tmp_path / "a.csv", 40).read_text().splitlines()
    lines[6] = "2024-01-01,,-5,off"
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    machine(tmp_path / "b.csv", 4)
    (tmp_path / "c.csv").write_text("speed\n1\n")
    source = opened(tmp_path, steps=10, test=0)
    _, ok = read_valid(source, np.arange(len(source)))
    assert ok.tolist() == [False, True, True, True, False, False]
    assert source.skipped == {
        "a.csv@0": "nan in column 'speed'",
        "b.csv@0": "4 steps, expected 10",
        "c.csv@0": "no column 'load', expected by the encoder; available: speed",
    }
    filled = opened(tmp_path / "a.csv", steps=10, test=0, missing="interpolate")
    assert everything(filled)[0, 0].tolist() == list(range(10))
    with pytest.raises(DataError, match="4 steps, 0 of them in the train part; expected 10, the span of a window"):
        opened(tmp_path / "b.csv", steps=10)
    (tmp_path / "d.csv").write_text("word\nx\n")
    with pytest.raises(DataError, match="no numbers in 'word'"):
        opened(tmp_path / "d.csv")


def test_sound_and_arrays(tmp_path: Path) -> None:
    tone = (np.sin(np.arange(400) / 5) * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    wavfile.write(tmp_path / "mono.wav", 8000, tone)
    mono = open_data(tmp_path / "mono.wav", {"recordings": {"steps": 100, "test": 0}})
    assert mono.spec.shape == (1, 100) and np.allclose(everything(mono).ravel(), tone / 2**15)
    wavfile.write(tmp_path / "stereo.wav", 8000, np.stack([tone, -(tone // 2)], 1))
    assert everything(opened(tmp_path / "stereo.wav", steps=50, test=0)).shape == (8, 2, 50)
    wavfile.write(tmp_path / "fast.wav", 16000, tone)
    mixed = opened(tmp_path, steps=50, test=0)
    assert mixed.spec.shape == (1, 50) and mixed.spec.sample_rate == 8000
    assert mixed.losses == (
        "sound of 16000 Hz is resampled to 8000 Hz: 1 of 3 files, e.g. 'fast.wav'",
        "channels are averaged to one: 1 of 3 files, e.g. 'stereo.wav'",
    )
    _, ok = read_valid(mixed, np.arange(len(mixed)))
    assert ok.all() and len(ok) == 8 + 8 + 4
    (tmp_path / "bad.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(DataError, match=r"not a readable \.wav file"):
        open_data(tmp_path / "bad.wav")
    np.save(tmp_path / "a.npy", np.arange(60.0).reshape(30, 2))
    assert everything(opened(tmp_path / "a.npy", steps=3, test=0))[1].tolist() == [[6, 8, 10], [7, 9, 11]]


def test_a_folder_of_tables_is_taken_for_recordings_only_if_that_is_said(tmp_path: Path) -> None:
    machine(tmp_path / "m.csv")
    assert open_data(tmp_path).spec.kind == "vector", "a single table is a table"
    machine(tmp_path / "n.csv")
    with pytest.raises(DataError, match=r"or recordings:\S+ if each is a recording"):
        open_data(tmp_path)
    assert opened(tmp_path).spec.kind == "series"


def test_a_table_with_times_says_how_windows_are_cut(tmp_path: Path) -> None:
    source = open_data(machine(tmp_path / "m.csv"))
    assert source.spec.kind == "vector" and "recordings:m.csv cuts windows of rows" in "; ".join(source.notes)


def test_a_column_alone_says_how_windows_are_cut(tmp_path: Path) -> None:
    (tmp_path / "level.csv").write_text("level\n" + "".join(f"{np.sin(step):.6f}\n" for step in range(300)))
    source = open_data(tmp_path / "level.csv")
    assert source.spec.shape == (1,) and "recordings:level.csv cuts windows of rows" in "; ".join(source.notes)


def test_scores_are_drawn_in_the_course_of_time(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        machine(tmp_path / name, 400)
    source = opened(tmp_path, steps=10, test=0, y="none")
    assert source.segment_starts is not None
    assert [f"{'ab'[which]}.csv@{first}" for which, first in source.segment_starts.tolist()] == list(source.ids)
    scores = np.zeros(len(source))
    scores[55] = 2.0
    image = draw_time_courses(scores, source.segment_starts, {0: "a.csv", 1: "b.csv"}, "scores", scores > 0)
    pixels, blue = np.asarray(image).astype(int), np.array([int(COLORS[0][n : n + 2], 16) for n in (1, 3, 5)])
    rows, columns = np.nonzero((np.abs(pixels - blue) < 3).all(axis=2))
    # The strips are of one width and scale: the one peak is in the second, 15 of 39 windows along.
    assert abs(columns[rows < rows.max() - 40].max() - columns.max()) < 3, "the first strip is a line at the bottom"
    peak = columns[(rows > image.height // 2) & (rows < rows[rows > image.height // 2].min() + 3)]
    along = (peak.mean() - columns.min()) / (columns.max() - columns.min())
    assert along == pytest.approx(15 / 39, abs=0.02)
    one = draw_time_courses(scores[:40], source.segment_starts[:40], {0: "a.csv"}, "scores")
    assert one.height < image.height


def test_the_whole_way(command: Command, tmp_path: Path) -> None:
    path = machine(tmp_path / "m.csv", 2000)
    fast = ("--set", "data.recordings.steps=16", "--set", "train.epochs=1", "--dim", 4, "-q")
    command.ok("fit", f"recordings:{path}", "-o", tmp_path / "run", *fast)
    command.ok("embed", tmp_path / "run", f"recordings:{path}", "-o", tmp_path / "embeddings", "-q")
    found = aekit.Embeddings.open(tmp_path / "embeddings")
    assert found.vectors.shape[1] == 4 and found.labels is not None and "m.csv@16" in list(found.ids)
    scored = command.ok("anomalies", tmp_path / "run", f"recordings:{path}", "-o", tmp_path / "odd", "-q")
    assert "m.csv@" in scored
