"""Recordings: times, gaps, machines, sound and series."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import wavfile
from unusual.harness import Area, Listener

import aekit
from aekit.data.readers import _sound_files
from aekit.data.source import Source

AREA = Area(__name__)
STEPS = np.arange(120)
SECONDS = np.datetime64("2024-01-01T00:00:00") + STEPS.astype("timedelta64[s]")


def write(path: Path, header: str, *columns: Any) -> Path:
    lines = [",".join(map(str, row)) for row in zip(*columns)]
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def opened(path: Path, listener: Listener | None = None, **options: Any) -> Source:
    source = aekit.open_data(f"recordings:{path}", {"recordings": {"steps": 10, "test": 0} | options})
    if listener is not None:
        listener.lines += source.notes
    return source


def windows(source: Source) -> np.ndarray:
    rows, ok = source.read(np.arange(len(source)))
    assert ok.all(), source.skipped
    return rows


def runs(source: Source) -> bool:
    """Return whether the steps of each window follow each other: the channel counts."""
    return bool((np.diff(windows(source)[:, 0]) == 1).all())


# ---- times


@AREA.changed("rows out of order", "rows are out of order and sorted by 'timestamp'")
def _(folder: Path, listener: Listener) -> None:
    order = np.random.default_rng(0).permutation(120)
    source = opened(write(folder / "a.csv", "timestamp,v", SECONDS[order], STEPS[order] * 1.0))
    assert len(source) == 12 and runs(source) and source.spec.shape == (1, 10)


@AREA.changed("rows out of order, with a counter or seconds", "120 rows are out of order and sorted by 'time_s'")
def _(folder: Path, listener: Listener) -> None:
    for name in ("step", "Time (s)", "time_s"):
        source = opened(write(folder / "a.csv", f"{name},v", STEPS[::-1], STEPS[::-1] * 1.0))
        assert [column.name for column in source.spec.columns] == ["v"] and runs(source), name


@AREA.changed("the newest row first", "120 rows are out of order and sorted by 'time'")
def _(folder: Path, listener: Listener) -> None:
    source = opened(write(folder / "a.csv", "time,v", SECONDS[::-1], STEPS[::-1] * 1.0))
    assert runs(source) and windows(source)[0, 0, 0] == 0


@AREA.changed("two files under each other, the later one first", "120 rows are out of order and sorted by 'time'")
def _(folder: Path, listener: Listener) -> None:
    order = np.roll(STEPS, 60)
    assert runs(opened(write(folder / "a.csv", "time,v", SECONDS[order], STEPS[order] * 1.0)))


@AREA.changed("a gap of 20 days", "1 gap in 'timestamp', of up to 1.728e+06 usual steps: no window crosses one")
def _(folder: Path, listener: Listener) -> None:
    late = SECONDS.copy()
    late[65:] += np.timedelta64(20, "D")
    source = opened(write(folder / "a.csv", "timestamp,v", late, STEPS * 1.0))
    assert len(source) == 6 + 5 and runs(source)
    assert not any(start < 65 <= start + 9 for start in windows(source)[:, 0, 0])


@AREA.changed("a single missing row", "1 gap in 'timestamp', of up to 2 usual steps")
def _(folder: Path, listener: Listener) -> None:
    kept = STEPS[STEPS != 33]
    source = opened(write(folder / "a.csv", "timestamp,v", SECONDS[kept], kept * 1.0), stride=1)
    assert runs(source) and len(source) == (33 - 9) + (86 - 9)


@AREA.changed("dates as text in a column of any name, in four files", "120 rows are out of order and sorted by 'Zeit'")
def _(folder: Path, listener: Listener) -> None:
    import pandas as pd

    late = SECONDS.copy()
    late[65:] += np.timedelta64(20, "D")
    moments = pd.Series(late[::-1])
    german = moments.dt.strftime("%d.%m.%Y %H:%M:%S")
    table = pd.DataFrame({"Zeit": moments, "v": STEPS[::-1] * 1.0})
    table.to_excel(folder / "a.xlsx", index=False)
    table.to_parquet(folder / "a.parquet")
    table.to_csv(folder / "a.csv", index=False)
    write(folder / "b.csv", "Zeit,v", german, STEPS[::-1] * 1.0)
    for name in ("a.xlsx", "a.parquet", "a.csv", "b.csv"):
        source = opened(folder / name, listener)
        listener.lines += source.losses
        assert runs(source) and len(source) == 6 + 5, name
        assert "steps are in order of 'Zeit'" in source.notes, name


@AREA.right("a date and a time of day of any name")
def _(folder: Path, listener: Listener) -> None:
    days = np.repeat(["01.03.2024", "02.03.2024"], 60)
    clock = [f"10:{step % 60:02d}" for step in STEPS]
    for names in ("Datum,Uhrzeit,v", "Datum,time,v"):
        order = np.random.default_rng(0).permutation(120)
        rows = [values[order] for values in (days, np.array(clock), STEPS * 1.0)]
        source = opened(write(folder / "a.csv", names, *rows))
        assert runs(source) and source.spec.names == ["v"], names


@AREA.right("dates that tell no steps apart, such as birthdays, beside a counter; and times as long as a run")
def _(folder: Path, listener: Listener) -> None:
    birthday = ["1960-03-04"] * 60 + ["1961-05-06"] * 60
    source = opened(write(folder / "a.csv", "unit,cycle,birthday,v", STEPS // 60, STEPS % 60, birthday, STEPS * 1.0))
    assert "steps are in order of 'cycle'" in source.notes and source.spec.names == ["v"]
    pace = [f"{5 + step % 3}:{step % 60:02d}" for step in STEPS]
    assert runs(opened(write(folder / "b.csv", "pace,v", pace, STEPS * 1.0)))


@AREA.changed("dates of any name that can be read in two ways", "'Datum' holds no times that are understood")
def _(folder: Path, listener: Listener) -> None:
    dates = [f"{1 + step % 12:02d}/{1 + step % 11:02d}/2024" for step in STEPS]
    listener.lines += opened(write(folder / "a.csv", "Datum,v", dates, STEPS * 1.0)).losses


@AREA.right("gzipped recordings")
def _(folder: Path, listener: Listener) -> None:
    import gzip

    write(folder / "a.csv", "time_s,v", STEPS, STEPS * 1.0)
    np.save(folder / "a.npy", STEPS * 1.0)
    for name in ("a.csv", "a.npy"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        assert runs(opened(folder / f"{name}.gz")), name


@AREA.refused(
    "a recording in a format of records", "recordings are read from .csv, .tsv, .parquet, .xlsx, .npy or sound"
)
def _(folder: Path, listener: Listener) -> None:
    (folder / "a.jsonl").write_text('{"t": 1, "v": 2}\n')
    opened(folder / "a.jsonl")


@AREA.right("prices of working days, whose weekends are no gaps")
def _(folder: Path, listener: Listener) -> None:
    days = np.arange("2024-01-01", "2024-07-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)][:120]
    source = opened(write(folder / "a.csv", "Date,price", days, STEPS * 1.0))
    assert len(source) == 12 and runs(source) and not source.losses


@AREA.right("times in epoch seconds, milliseconds and seconds since the start, which are no channels")
def _(folder: Path, listener: Listener) -> None:
    columns = {
        "time_s": STEPS * 0.01,
        "Time (s)": STEPS / 10,
        "epoch": 1.7e9 + STEPS,
        "timestamp_ms": 1700000000000 + STEPS,
    }
    for name, values in columns.items():
        source = opened(write(folder / "a.csv", f"{name},v", values, STEPS * 1.0))
        assert [column.name for column in source.spec.columns] == ["v"] and runs(source), name
        assert f"steps are in order of {name!r}" in source.notes


@AREA.right("counters named cycle, step, index or nothing, which are no channels")
def _(folder: Path, listener: Listener) -> None:
    for name in ("cycle", "step", "Index", "Unnamed: 0", ""):
        source = opened(write(folder / "a.csv", f"{name},v,w", STEPS, STEPS * 1.0, np.sin(STEPS)))
        assert [column.name for column in source.spec.columns] == ["v", "w"] and runs(source), name


@AREA.right("channels whose names hold a word of time")
def _(folder: Path, listener: Listener) -> None:
    path = write(folder / "a.csv", "response_time,time,t (degC),v", np.sin(STEPS), SECONDS, np.cos(STEPS), STEPS * 1.0)
    assert [column.name for column in opened(path).spec.columns] == ["response_time", "t (degC)", "v"]


@AREA.right("a date and a time of day in two columns")
def _(folder: Path, listener: Listener) -> None:
    times = np.datetime64("2024-01-01T23:59:00") + STEPS.astype("timedelta64[s]")
    days, clock = zip(*(str(one).split("T") for one in times))
    source = opened(write(folder / "a.csv", "Date,Time,v", days, clock, STEPS * 1.0))
    assert len(source) == 12 and runs(source) and not source.losses and len(source.spec.columns) == 1


@AREA.right("dates with the day first, with the month first, and with a zone")
def _(folder: Path, listener: Listener) -> None:
    days = np.arange("2024-01-20", "2024-12-31", dtype="datetime64[D]")[:120].tolist()
    for form in ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y %H:%M", "%Y/%m/%d", "%Y-%m-%dT00:00:00Z"):
        source = opened(
            write(folder / "a.csv", "date,v", [day.strftime(form) for day in days[::-1]], STEPS[::-1] * 1.0)
        )
        assert runs(source) and windows(source)[0, 0, 0] == 0, form


@AREA.changed("dates that are not understood", "'date' holds no times that are understood, e.g. 'Monday 0'")
def _(folder: Path, listener: Listener) -> None:
    assert runs(opened(write(folder / "a.csv", "date,v", [f"Monday {t}" for t in STEPS], STEPS * 1.0)))


@AREA.changed("rows without a time", "2 of 120 rows have no 'time' and are left out")
def _(folder: Path, listener: Listener) -> None:
    times = [str(one) for one in SECONDS]
    times[5] = times[50] = ""
    source = opened(write(folder / "a.csv", "time,v", times, STEPS * 1.0), stride=1)
    assert runs(source) and not {5, 50} & set(windows(source).ravel().tolist())


@AREA.right("timestamps of Parquet, with a zone and nanoseconds")
def _(folder: Path, listener: Listener) -> None:
    times = pa.array(SECONDS[::-1].astype("datetime64[ns]"), pa.timestamp("ns", "Europe/Oslo"))
    pq.write_table(pa.table({"when": times, "v": STEPS[::-1] * 1.0}), folder / "a.parquet")
    source = opened(folder / "a.parquet")
    assert runs(source) and windows(source)[0, 0, 0] == 0


@AREA.right("a chosen column of times, and none")
def _(folder: Path, listener: Listener) -> None:
    path = write(folder / "a.csv", "when,v", 1000 - STEPS, STEPS * 1.0)
    assert windows(opened(path, time="when", x="v"))[0, 0].tolist() == list(range(119, 109, -1))
    timed = write(folder / "b.csv", "time,v", 1000 - STEPS, STEPS * 1.0)
    assert windows(opened(timed, time="none"))[0, 0].tolist() == list(range(10))


@AREA.refused("a chosen column of times that does not exist", "time = 'tme': no such column; did you mean 'time'?")
def _(folder: Path, listener: Listener) -> None:
    opened(write(folder / "a.csv", "time,v", SECONDS, STEPS), time="tme")


@AREA.refused(
    "rows out of order with times that occur more than once", "rows are not in order of 'time', which has repeated"
)
def _(folder: Path, listener: Listener) -> None:
    times = np.random.default_rng(0).integers(0, 40, 120)
    opened(write(folder / "a.csv", "time,v", SECONDS[times], STEPS * 1.5))


# ---- machines


@AREA.right("machines one under the other, each with the same times")
def _(folder: Path, listener: Listener) -> None:
    path = write(folder / "a.csv", "machine,timestamp,v", STEPS // 33, SECONDS[STEPS % 33], STEPS * 1.0)
    source = opened(path)
    assert runs(source) and {one.partition("@")[0] for one in source.ids} == {f"a.csv:{n}" for n in range(3)} | {
        "a.csv:3"
    }
    assert all(len(set((row[0] // 33).tolist())) == 1 for row in windows(source)[source.segment_starts[:, 0] < 3])


@AREA.right("machines in turns, and each machine in one split")
def _(folder: Path, listener: Listener) -> None:
    path = write(
        folder / "a.csv", "time,device_id,v", SECONDS[STEPS // 3], np.array(list("abc"))[STEPS % 3], STEPS // 3 * 1.0
    )
    source = opened(path, test=0.3)
    assert len(source) == 12 and runs(source)
    machines = {one.partition("@")[0]: split for one, split in zip(source.ids, source.splits)}
    assert machines == {"a.csv:a": "train", "a.csv:b": "train", "a.csv:c": "test"}
    assert all(machines[one.partition("@")[0]] == split for one, split in zip(source.ids, source.splits))


@AREA.right("units and cycles, as in data of engines")
def _(folder: Path, listener: Listener) -> None:
    source = opened(write(folder / "a.csv", "unit,cycle,v", STEPS // 40, STEPS % 40, STEPS * 1.0))
    assert len(source) == 12 and runs(source) and [column.name for column in source.spec.columns] == ["v"]


@AREA.right("recordings of several machines, named by a column of any name, where times repeat")
def _(folder: Path, listener: Listener) -> None:
    names = np.array(["Oslo", "Bern", "Rome"])
    source = opened(write(folder / "a.csv", "time,town,v", SECONDS[STEPS // 3], names[STEPS % 3], STEPS // 3 * 1.0))
    assert len(source) == 12 and runs(source) and "3 recordings by 'town'" in source.notes


@AREA.changed(
    "cycles that start again, without a column of machines", "'cycle' starts again 2 times: no window crosses that"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(write(folder / "a.csv", "cycle,v", STEPS % 45, STEPS * 1.0), stride=1)
    assert runs(source) and not {*range(36, 45), *range(81, 90)} & set(windows(source)[:, 0, 0].astype(int).tolist())


@AREA.right("a column run of 0 and 1 that is a channel")
def _(folder: Path, listener: Listener) -> None:
    source = opened(write(folder / "a.csv", "time,run,v", SECONDS, STEPS // 7 % 2, STEPS * 1.0))
    assert [column.name for column in source.spec.columns] == ["run", "v"] and len(source) == 12


@AREA.right("machines by option, or not")
def _(folder: Path, listener: Listener) -> None:
    path = write(folder / "a.csv", "time,town,v", SECONDS, STEPS // 60, STEPS * 1.0)
    assert len({one.partition("@")[0] for one in opened(path, group="town").ids}) == 2
    assert len(opened(path, group="none").spec.columns) == 2


@AREA.right("an encoder of recordings, and a table of other machines")
def _(folder: Path, listener: Listener) -> None:
    train = write(folder / "a.csv", "machine,time,v", STEPS // 40, SECONDS, np.sin(STEPS))
    encoder = aekit.fit(f"recordings:{train}", overrides={"data.recordings.steps": 10}, dim=2, epochs=1, backbone="mlp")
    new = write(folder / "b.csv", "v,machine,time", STEPS * 1.0, ["x"] * 60 + ["y"] * 60, SECONDS)
    source = aekit.open_data(f"recordings:{new}", {"recordings": {"test": 0}}, like=encoder.spec)
    assert source.spec.shape == (1, 10) and runs(source) and len(encoder.embed(source)) == 12


@AREA.refused("an empty array as a recording", "shape (0, 3): it holds no values; expected at least one step")
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "a.npy", np.zeros((0, 3)))
    aekit.open_data(f"recordings:{folder / 'a.npy'}")


@AREA.refused(
    "frames without pixels as a clip", "uint8 of shape (100, 0, 5): expected frames (T, H, W) or (T, H, W, C)"
)
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "a.npy", np.zeros((100, 0, 5), np.uint8))
    aekit.open_data(f"clips:{folder / 'a.npy'}", {"clips": {"frames": 2}})


@AREA.refused("a recording whose gaps leave no window", "no 10 steps without a gap")
def _(folder: Path, listener: Listener) -> None:
    opened(
        write(folder / "a.csv", "time,v", SECONDS[STEPS] + (STEPS // 8 * 1000).astype("timedelta64[s]"), STEPS * 1.0)
    )


@AREA.right("values far from 0 that differ little, such as coordinates")
def _(folder: Path, listener: Listener) -> None:
    values = 5e8 + STEPS * 0.01
    source = opened(write(folder / "a.csv", "time,north", SECONDS, [f"{value:.3f}" for value in values]))
    assert source.spec.dtype == "float64" and np.allclose(windows(source).ravel(), values, rtol=0, atol=1e-4)


# ---- sound


TONE, LOUD = np.sin(np.arange(800) / 20), 32000 / 2**15


def write_wav(path: Path, rate: int = 8000, values: np.ndarray = TONE) -> Path:
    wavfile.write(path, rate, (values * 32000).astype(np.int16))
    return path


@AREA.changed("sound of two rates", "sound of 16000 Hz is resampled to 8000 Hz: 1 of 3 files, e.g. 'c.wav'")
def _(folder: Path, listener: Listener) -> None:
    write_wav(folder / "a.wav")
    write_wav(folder / "b.wav")
    write_wav(folder / "c.wav", 16000, np.sin(np.arange(1600) / 40))
    source = aekit.open_data(folder, {"recordings": {"steps": 400, "test": 0}})
    assert source.spec.sample_rate == 8000 and source.ids[-2:] == ["c.wav@0", "c.wav@400"]
    rows = windows(source)
    assert abs(rows[4, 0, 20:380] - rows[0, 0, 20:380]).max() < 0.01


@AREA.changed("sound of another rate than the encoder's", "sound of 44100 Hz is resampled to 8000 Hz")
def _(folder: Path, listener: Listener) -> None:
    options = {"data.recordings.steps": 100, "data.recordings.test": 0}
    encoder = aekit.fit(write_wav(folder / "a.wav"), overrides=options, dim=2, epochs=1, backbone="mlp")
    encoder.save(folder / "saved")
    spec = aekit.load(folder / "saved").spec
    assert spec.sample_rate == 8000
    new = write_wav(folder / "b.wav", 44100, np.sin(np.arange(4410) * 8000 / 44100 / 20))
    source = aekit.open_data(new, {"recordings": {"test": 0}}, like=spec)
    assert len(source) == 8 and abs(windows(source)[1, 0] - TONE[100:200] * LOUD).max() < 0.01


@AREA.right("a chosen rate")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(write_wav(folder / "a.wav"), {"recordings": {"steps": 100, "rate": 4000, "test": 0}})
    assert source.spec.sample_rate == 4000 and len(source) == 4


@AREA.changed("stereo among mono", "channels are averaged to one: 1 of 2 files, e.g. 'b.wav'")
def _(folder: Path, listener: Listener) -> None:
    write_wav(folder / "a.wav")
    write_wav(folder / "b.wav", values=np.stack([TONE, TONE / 2], 1))
    source = aekit.open_data(folder, {"recordings": {"steps": 800, "test": 0}})
    assert np.allclose(windows(source)[1, 0], TONE * 0.75 * LOUD, atol=1e-3)


@AREA.changed("mono for an encoder of stereo", "one channel is repeated as 2: 1 of 1 files")
def _(folder: Path, listener: Listener) -> None:
    spec = aekit.open_data(
        write_wav(folder / "a.wav", values=np.stack([TONE, TONE], 1)), {"recordings": {"steps": 100, "test": 0}}
    ).spec
    rows = windows(aekit.open_data(write_wav(folder / "b.wav"), {"recordings": {"test": 0}}, like=spec))
    assert rows.shape == (8, 2, 100) and np.array_equal(rows[:, 0], rows[:, 1])


@AREA.right("WAV files of 8, 16, 24 and 32 bits, and of floats")
def _(folder: Path, listener: Listener) -> None:
    import soundfile

    for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"):
        soundfile.write(folder / f"{name}.wav", TONE * 0.9, 8000, subtype=name)
    rows = windows(aekit.open_data(folder, {"recordings": {"steps": 800, "test": 0}}))
    assert len(rows) == 7 and abs(rows[:, 0] - TONE * 0.9).max() < 0.03


@AREA.right("WAV files as telephones code them, which can be read from the start alone")
def _(folder: Path, listener: Listener) -> None:
    import soundfile

    names = ("ALAW", "G721_32", "GSM610", "IMA_ADPCM")
    for name in names:
        soundfile.write(folder / f"{name}.wav", TONE * 0.9, 8000, subtype=name)
    rows = windows(aekit.open_data(folder, {"recordings": {"steps": 700, "test": 0}}))
    expected = [soundfile.read(folder / f"{name}.wav", frames=700, dtype="float32")[0] for name in names]
    assert np.array_equal(rows[:, 0], expected)


@AREA.right("FLAC, OGG, AIFF and MP3 files")
def _(folder: Path, listener: Listener) -> None:
    import soundfile

    tone = np.sin(np.arange(8000) / 20)
    for ending in ("flac", "ogg", "aiff", "mp3"):
        soundfile.write(folder / f"a.{ending}", tone * 0.5, 8000)
    source = aekit.open_data(folder, {"recordings": {"steps": 7000, "test": 0}})
    assert source.spec.sample_rate == 8000 and len(source) == 4
    assert abs(windows(source)[:, 0].std(axis=1) - 0.5 / np.sqrt(2)).max() < 0.02


WITHOUT_SOUNDFILE = mock.patch.object(_sound_files, "has_soundfile", lambda: False)


@AREA.refused("FLAC files without soundfile", ".flac files need soundfile: pip install 'aekit[audio]'")
@WITHOUT_SOUNDFILE
def _(folder: Path, listener: Listener) -> None:
    (folder / "a.flac").write_bytes(b"fLaC")
    aekit.open_data(folder)


@AREA.changed(
    "FLAC files among WAV files, without soundfile", "1 of 2 recordings cannot be read: .flac files need soundfile"
)
@WITHOUT_SOUNDFILE
def _(folder: Path, listener: Listener) -> None:
    write_wav(folder / "a.wav")
    (folder / "b.flac").write_bytes(b"fLaC")
    source = aekit.open_data(folder, {"recordings": {"steps": 800, "test": 0}})
    assert source.read(np.arange(2))[1].tolist() == [True, False]


@AREA.right("sound in train/ and test/, in folders of classes")
def _(folder: Path, listener: Listener) -> None:
    for number, name in enumerate(("train/yes", "train/no", "test/yes", "test/no")):
        (folder / name).mkdir(parents=True)
        write_wav(folder / name / f"{number}.WAV")
    source = aekit.open_data(folder, {"recordings": {"steps": 800}})
    assert sorted(zip(source.splits.tolist(), source.labels.tolist())) == [
        ("test", "no"),
        ("test", "yes"),
        ("train", "no"),
        ("train", "yes"),
    ]


@AREA.changed("a recording whose name is not UTF-8", "1 file name is not UTF-8 and read as Latin-1, e.g. 'père.wav'")
def _(folder: Path, listener: Listener) -> None:
    import os

    write_wav(folder / "a.wav")
    os.rename(folder / "a.wav", os.fsencode(folder) + b"/p\xe8re.wav")
    assert aekit.open_data(folder, {"recordings": {"steps": 800, "test": 0}}).ids == ["père.wav@0"]


@AREA.changed("a WAV file that is cut off", "sound is cut off, and read up to there: 1 of 2 files, e.g. 'b.wav'")
def _(folder: Path, listener: Listener) -> None:
    write_wav(folder / "a.wav")
    (folder / "b.wav").write_bytes((folder / "a.wav").read_bytes()[:1000])
    source = aekit.open_data(folder, {"recordings": {"steps": 100, "test": 0}})
    assert [id.partition("@")[0] for id in source.ids].count("b.wav") == 4


@AREA.changed("an Ogg file that is cut off, and such files of Sun and Apple", "1 of 2 files, e.g. 'b.ogg'")
def _(folder: Path, listener: Listener) -> None:
    soundfile = pytest.importorskip("soundfile")
    for ending in ("aiff", "au", "ogg"):
        sounds = folder / ending
        sounds.mkdir()
        soundfile.write(sounds / f"a.{ending}", np.random.default_rng(0).normal(size=40_000) / 10, 8000)
        assert not aekit.open_data(sounds).losses
        content = (sounds / f"a.{ending}").read_bytes()
        (sounds / f"b.{ending}").write_bytes(content[: len(content) // 2])
        assert f"'b.{ending}'" in aekit.open_data(sounds).losses[-1]


@AREA.right("WAV files from a pipe, whose header does not know their size")
def _(folder: Path, listener: Listener) -> None:
    content = bytearray(write_wav(folder / "a.wav").read_bytes())
    content[4:8] = b"\xff\xff\xff\xff"
    (folder / "a.wav").write_bytes(content)
    assert not aekit.open_data(folder, {"recordings": {"steps": 100, "test": 0}}).losses


@AREA.changed(
    "tables of which the first lacks a channel", "columns that '0.csv' lacks are left out of other files: 'w' of 2"
)
def _(folder: Path, listener: Listener) -> None:
    write(folder / "0.csv", "time,v", STEPS, STEPS / 7)
    for number in (1, 2):
        write(folder / f"{number}.csv", "time,v,w", STEPS, STEPS / 7, STEPS / 3)
    assert opened(folder).spec.shape == (1, 10)


# ---- videos


def video_file(path: Path, rate: int = 10, turn: tuple[int, ...] = ()) -> Path:
    """Write 20 frames of 32x24 pixels with a bright corner, upper left; `turn`: the matrix by which they are shown."""
    av = pytest.importorskip("av")
    frame = np.zeros((24, 32, 3), np.uint8)
    frame[:8, :8] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    if turn:
        content = bytearray(path.read_bytes())
        place = content.index(b"tkhd") + 44
        a, b, c, d = (entry << 16 for entry in turn)
        content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(content)
    return path


@AREA.right("videos of a telephone that was held upright or upside down")
def _(folder: Path, listener: Listener) -> None:
    corners = {"right": ((0, 1, -1, 0), 0, -1), "down": ((-1, 0, 0, -1), -1, -1), "left": ((0, -1, 1, 0), -1, 0)}
    for name, (turn, row, column) in corners.items():
        (folder / name).mkdir()
        video_file(folder / name / "a.mp4", turn=turn)
        source = aekit.open_data(folder / name)
        assert source.spec.shape[2:] == ((24, 32) if name == "down" else (32, 24))
        frame = windows(source)[0, 0, 0]
        assert frame[row, column] > 200 and (frame > 100).sum() < 100, name


@AREA.changed("videos of two frame rates", "videos of 10 to 30 frames per second: clips differ in duration")
def _(folder: Path, listener: Listener) -> None:
    video_file(folder / "a.mp4")
    video_file(folder / "b.mp4", rate=30)
    aekit.open_data(folder).report_notes(listener)
