"""Tables, arrays and folders as other programs export them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from unusual.harness import Area, Listener

import aekit
from aekit.data.source import Source
from aekit.errors import DataError

AREA = Area(__name__)
NOISE = np.random.default_rng(0).normal(size=(40, 3)).round(3)
NAMES = ["h", "w", "d"]


def table(folder: Path, columns: dict[str, Any], name: str = "t.csv", **options: Any) -> Source:
    """Open a CSV of columns whose cells are written as they are, in quotes."""
    rows = [list(columns), *zip(*columns.values())]
    text = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    return opened(folder, text, name, **options)


def opened(folder: Path, text: str, name: str = "t.csv", prefix: str = "", **options: Any) -> Source:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return aekit.open_data(f"{prefix}{path}", {"arrays": options} if options else None)


def values(source: Source) -> np.ndarray:
    return source.read(np.arange(len(source)))[0]


def rows(array: np.ndarray, header: str = "") -> str:
    lines = [",".join(map(str, row)) for row in array.tolist()]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def save_square(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), len(path.name), np.uint8)).save(path)


# ---- numbers


@AREA.changed(
    "one number with a comma among numbers with points", "'1,5' (row 7) among the numbers of 'w' is a missing value"
)
def _(folder: Path, listener: Listener) -> None:
    columns = {name: list(map(str, NOISE[:, place])) for place, name in enumerate(NAMES)}
    columns["w"][7] = "1,5"
    read = values(table(folder, columns))
    assert np.array_equal(read[:7], NOISE[:7]) and np.isnan(read[7, 1]), "points are decimals in the other columns too"


@AREA.right("classes such as 1,5 beside numbers with points")
def _(folder: Path, listener: Listener) -> None:
    source = table(folder, {"h": NOISE[:, 0], "w": abs(NOISE[:, 1]) + 1.25, "class": ["1,5", "2,5"] * 20})
    assert np.array_equal(values(source)[:, 0], NOISE[:, 0]) and np.allclose(
        values(source)[:, 1], abs(NOISE[:, 1]) + 1.25
    )


@AREA.changed("units behind numbers, and codes of currencies", "units are left out in 'a' (kg)")
def _(folder: Path, listener: Listener) -> None:
    for form in ("{:.1f} kg", "{:.1f}kg", "{:.1f}°C", "{:.1f} km/h", "EUR {:.1f}", "R$ {:.1f}", "{:.1f} USD"):
        source = table(
            folder,
            {"a": [form.format(n / 2) for n in range(40)], "b": NOISE[:, 0]},
            f"{form[-2:].strip('}')}.csv".replace("/", ""),
        )
        assert values(source)[:3, 0].tolist() == [0, 0.5, 1], form
        listener.lines += source.notes
    frame = pd.DataFrame({"a": [f"{n / 2} kg" for n in range(40)], "b": NOISE[:, 0]})
    assert values(aekit.open_data(frame))[1, 0] == 0.5


@AREA.changed("a column with two units is no column of numbers", "columns without numbers ignored: 'a'")
def _(folder: Path, listener: Listener) -> None:
    source = table(folder, {"a": [f"{n}.5{'kM'[n % 2]}" for n in range(40)], "b": NOISE[:, 0]})
    assert source.spec.names == ["b"]
    assert table(folder, {"a": [f"{n:03d}a" for n in range(40)], "b": NOISE[:, 0]}).spec.names == ["b"], (
        "names, such as 007a"
    )
    assert table(folder, {"b": NOISE[:, 0], "class": ["1x", "2x"] * 20}).labels.tolist()[:2] == ["1x", "2x"]


@AREA.changed("negative numbers in parentheses, or with a minus behind them", "negative in 'a'")
def _(folder: Path, listener: Listener) -> None:
    for written in ("({:,.2f})", "{:.2f}-"):
        amounts = (NOISE[:, 0] * 3000).round(2)
        cells = [(written if v < 0 else written.strip("()-")).format(abs(v)) for v in amounts]
        source = table(folder, {"a": cells, "b": NOISE[:, 1]})
        assert np.array_equal(values(source)[:, 0], amounts)
        listener.lines += source.notes


@AREA.changed("thousands in the style of India, and with a typographic apostrophe", "separators of thousands in 'a'")
def _(folder: Path, listener: Listener) -> None:
    for cell in ("12,34,567", "1\u2019234\u2019567"):
        source = table(folder, {"a": [cell, cell.replace("12", "13", 1)] * 20, "b": NOISE[:, 0]})
        assert values(source)[0, 0] == int("".join(filter(str.isdigit, cell)))
        listener.lines += source.notes


@AREA.changed("codes of missing values: -32768, 1e20, 999.9, and -9999 in an array", "entry 1 is -9999 in 4 of 40 rows")
def _(folder: Path, listener: Listener) -> None:
    for code in (-32768, 1e20, 999.9, -999.25, 9.96921e36):
        holes = NOISE.copy()
        holes[::10, 1] = code
        source = opened(folder, rows(holes, "h,w,d"))
        assert any(f"'w' is {code:.7g} in 4 of 40 rows" in line for line in source.losses), (code, source.losses)
    holes[::10, 1] = -9999
    listener.lines += aekit.open_data(holes).losses
    assert not aekit.open_data(NOISE).losses and not opened(folder, rows(NOISE, "h,w,d")).losses


# ---- columns


@AREA.changed(
    "a column that rises from row to row", "'n' rises from row to row, from 0 to 390; if it numbers or times the rows"
)
def _(folder: Path, listener: Listener) -> None:
    for steps in (np.arange(40) * 10, np.arange(40) * 0.5, 1.7e9 + np.arange(40) ** 2):
        columns = {"n": steps} | {name: NOISE[:, place] for place, name in enumerate(NAMES)}
        assert table(folder, columns).spec.names == ["n", *NAMES]


@AREA.changed("numbers of folds", "'fold' (folds)")
def _(folder: Path, listener: Listener) -> None:
    for name in ("fold", "kfold", "cv_fold"):
        assert (
            aekit.open_data(pd.DataFrame(NOISE, columns=NAMES).assign(**{name: np.arange(40) % 5})).spec.names == NAMES
        )


@AREA.changed("a column of splits under another name", "column 'subset' holds the splits")
def _(folder: Path, listener: Listener) -> None:
    source = table(folder, {"h": NOISE[:, 0], "w": NOISE[:, 1], "subset": ["Train", "TEST"] * 20})
    assert source.splits is not None and source.splits[:2].tolist() == ["train", "test"] and source.spec.size == 2
    listener.lines += source.notes
    other = table(folder, {"h": NOISE[:, 0], "w": NOISE[:, 1], "stage": ["train", "bus"] * 20})
    assert other.splits is None and other.spec.size == 4


@AREA.right("labels in a column labels, class_id or y_true, and two columns of labels with blanks around their names")
def _(folder: Path, listener: Listener) -> None:
    for name in ("labels", "Class_ID", "y_true"):
        source = table(folder, {"h": NOISE[:, 0], "w": NOISE[:, 1], name: [0, 1] * 20})
        assert source.labels is not None and source.spec.names == ["h", "w"], name
    frame = pd.DataFrame(NOISE, columns=["h", "Label", " target"])
    assert aekit.open_data(frame).spec.names == ["h"]


@AREA.changed(
    "numbers that may be the label, by the name of their column",
    "if 'Outcome' is the label, data.arrays.y = 'Outcome' says so",
)
def _(folder: Path, listener: Listener) -> None:
    for name in ("is_fraud", "Outcome"):
        source = table(folder, {name: [0, 1] * 20, "h": NOISE[:, 0], "w": NOISE[:, 1]})
        assert f"if {name!r} is the label" in source.note
        listener.lines += source.notes


@AREA.changed(
    "a label that only the training part has, also for the encoder", "'outcome' is the label, as only the training part"
)
def _(folder: Path, listener: Listener) -> None:
    opened(folder, rows(np.column_stack([NOISE, np.arange(40) % 2]), "h,w,d,outcome"), "k/train.csv")
    opened(folder, rows(NOISE, "h,w,d"), "k/test.csv")
    encoder = aekit.fit(folder / "k", dim=2, epochs=1, progress=False)
    embeddings = aekit.embed(encoder, folder / "k", progress=False)
    assert embeddings.labels is not None and len(embeddings) == 80
    listener.lines += aekit.open_data(folder / "k").notes


@AREA.changed("columns that are the same in all rows", "the same in all rows, so that it tells nothing: 'c'")
def _(folder: Path, listener: Listener) -> None:
    source = table(folder, {"h": NOISE[:, 0], "c": [5] * 40})
    assert source.spec.names == ["h", "c"]
    listener.lines += source.notes


@AREA.changed("options of the data in the command that follows", "--set 'data.arrays.y=the kind'")
def _(folder: Path, listener: Listener) -> None:
    table(folder, {"h": NOISE[:, 0], "w": NOISE[:, 1], "the kind": [0, 1] * 20})
    settings = ["--dim", 2, "--epochs", 1, "--no-report", "--set", "data.arrays.y=the kind"]
    listener.command("fit", folder / "t.csv", "-o", folder / "run", *settings)


# ---- lines


@AREA.changed(
    "columns of several levels, as pandas and spreadsheets write them", "names of columns: 2 lines together, e.g. 'b y'"
)
def _(folder: Path, listener: Listener) -> None:
    levels = pd.MultiIndex.from_product([["a", "b"], ["x", "y"]])
    frame = pd.DataFrame(np.hstack([NOISE, NOISE[:, :1]]), columns=levels)
    frame.to_csv(folder / "index.csv")
    frame.to_csv(folder / "plain.csv", index=False)
    frame.rename_axis("when").to_excel(folder / "merged.xlsx")
    for name in ("index.csv", "plain.csv", "merged.xlsx"):
        source = aekit.open_data(folder / name)
        assert source.spec.names == ["a x", "a y", "b x", "b y"] and np.array_equal(values(source), frame.to_numpy()), (
            name
        )
        listener.lines += source.notes
    grouped = opened(folder, rows(NOISE[:, [0, 1, 0, 1]], "A,,B,\nx,y,x,y"))
    assert grouped.spec.names == ["A x", "A y", "B x", "B y"]


@AREA.changed("wavelengths or years as the only names", "line 1 is read as the names of columns")
def _(folder: Path, listener: Listener) -> None:
    for names in ("2019,2020,2021", "400.0,400.5,401.0,401.5,402.0"):
        width = names.count(",") + 1
        source = opened(folder, rows(np.resize(NOISE, (40, width)), names))
        assert len(source) == 40 and source.spec.names == names.split(",")
        listener.lines += source.notes
    assert len(opened(folder, rows(100 * NOISE[:, :1].round(2) + np.arange(6)))) == 40, "rows that are evenly spaced"


@AREA.refused("a quote that nothing closes, in the middle of a file", "row 20: a quote is not closed: 'x 20,")
def _(folder: Path, listener: Listener) -> None:
    lines = [f'{n / 7:.3f},"x {n}{"" if n == 20 else chr(34)},{n % 7}' for n in range(40)]
    opened(folder, "\n".join(["a,note,b", *lines]) + "\n")


@AREA.refused("a row with a cell too many: its line", "Expected 3 columns, got 4: 1,2,3,4); line 12")
def _(folder: Path, listener: Listener) -> None:
    lines = rows(NOISE, "h,w,d").splitlines()
    lines[11] = "1,2,3,4"
    opened(folder, "\n".join(lines) + "\n")


@AREA.right("a file with the mark of the end of DOS")
def _(folder: Path, listener: Listener) -> None:
    assert np.array_equal(values(opened(folder, rows(NOISE, "h,w,d") + "\x1a")), NOISE)


@AREA.changed(
    "a JSON object of rows by number or name, as pandas writes with orient='index'", "its objects are rows, by name"
)
def _(folder: Path, listener: Listener) -> None:
    frame = pd.DataFrame(NOISE, columns=NAMES)
    source = opened(folder, frame.to_json(orient="index"), "t.json")
    assert source.spec.names == NAMES and len(source) == 40
    listener.lines += source.notes
    people = {f"p{n}": {"h": n / 3, "w": n % 5, "kind": "ab"[n % 2]} for n in range(12)}
    named = opened(folder, json.dumps(people), "p.json")
    assert list(named.ids[:2]) == ["p0", "p1"] and named.spec.size == 4


# ---- arrays


@AREA.changed(
    "masked arrays in a pair (X, y) or a dict", "4 masked values are missing values: 4 of 40 rows cannot be used"
)
def _(folder: Path, listener: Listener) -> None:
    holes = np.ma.masked_array(NOISE.copy(), mask=np.zeros(NOISE.shape, bool))
    holes.mask[::10, 1] = True
    holes.data[::10, 1] = -9999
    labels = np.ma.masked_equal(np.arange(40) % 3, 2)
    for data in ((holes, np.arange(40)), {"X": holes, "y": labels}, {"x_train": holes, "x_test": holes[:5]}):
        source = aekit.open_data(data)
        assert np.nanmin(values(source)) > -9 and np.isnan(values(source)[0, 1])
        listener.lines += source.losses
    assert np.isnan(aekit.open_data({"X": NOISE, "y": labels}).labels[2])


@AREA.changed("an .npz with one array of samples under any name, and others", "arrays not used: wavelengths")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "t.npz", spectra=NOISE, wavelengths=np.arange(3))
    source = aekit.open_data(folder / "t.npz")
    assert np.array_equal(values(source), NOISE) and "samples are the array 'spectra'" in source.note
    listener.lines += source.notes


@AREA.changed("one-hot labels", "one-hot labels are read as classes 0 to 1")
def _(folder: Path, listener: Listener) -> None:
    np.savez(folder / "t.npz", X=NOISE, y=np.eye(2)[np.arange(40) % 2])
    source = aekit.open_data(folder / "t.npz")
    assert source.labels is not None and source.labels[:3].tolist() == [0, 1, 0]
    listener.lines += source.notes


@AREA.changed(
    "a single color image as an array",
    "read as 8 gray images of 9x3; a single color image is array[None], (1, H, W, 3)",
)
def _(folder: Path, listener: Listener) -> None:
    np.save(folder / "t.npy", np.zeros((8, 9, 3), np.uint8))
    listener.lines += aekit.open_data(folder / "t.npy").notes


@AREA.right("HDF5 with train_set_x and train_set_y, and MATLAB with fea, gnd and a number")
def _(folder: Path, listener: Listener) -> None:
    import h5py
    from scipy.io import savemat

    with h5py.File(folder / "t.h5", "w") as file:
        file["train_set_x"], file["train_set_y"] = NOISE, np.arange(40) % 2
    savemat(folder / "t.mat", {"fea": NOISE, "gnd": (np.arange(40) % 2)[:, None], "rate": 250})
    savemat(folder / "u.mat", {"val": NOISE, "rate": 250})
    for name in ("t.h5", "t.mat"):
        source = aekit.open_data(folder / name)
        assert source.labels is not None and source.labels[:2].tolist() == [0, 1] and source.spec.size == 3, name
    assert np.array_equal(values(aekit.open_data(folder / "u.mat")), NOISE)


# ---- folders


@AREA.changed("a folder with one table, and tables of splits under longer names or in folders", "read from only.csv")
def _(folder: Path, listener: Listener) -> None:
    content = rows(NOISE, "h,w,d")
    opened(folder, content, "one/only.csv")
    (folder / "one" / "README.md").write_text("about")
    source = aekit.open_data(folder / "one")
    listener.lines += source.notes
    assert len(source) == 40
    for names in (["sales_train.csv", "sales_test.csv"], ["train/data.csv", "test/data.csv"]):
        place = folder / names[0].replace("/", "-")
        for name in names:
            opened(place, content, name)
        assert set(aekit.open_data(place).splits.tolist()) == {"train", "test"}, names


@AREA.refused("a folder with several tables", "found 2 .csv; open one table, such as")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, rows(NOISE, "h,w,d"), "f/a.csv")
    opened(folder, rows(NOISE, "h,w,d"), "f/b.csv")
    aekit.open_data(folder / "f")


@AREA.changed("train/<class>/images and val/images, as in Tiny ImageNet", "4 of 12 images have no folder of a class")
def _(folder: Path, listener: Listener) -> None:
    for number in range(4):
        for place in ("train/n01/images", "train/n02/images", "val/images"):
            save_square(folder / "d" / place / f"{number}.png")
    source = aekit.open_data(folder / "d")
    listener.lines += source.losses
    assert source.labels is not None and set(source.labels.tolist()) == {"n01", "n02", ""}


@AREA.changed("labeled/<class> beside unlabeled, and unlabeled among classes", "images in 'unlabeled' have no label")
def _(folder: Path, listener: Listener) -> None:
    for number in range(3):
        for place in (
            "a/labeled/cats",
            "a/labeled/dogs",
            "a/unlabeled",
            "b/train/cats",
            "b/train/dogs",
            "b/train/unlabeled",
            "b/test/cats",
        ):
            save_square(folder / place / f"{number}.png")
    for name in "ab":
        source = aekit.open_data(folder / name)
        listener.lines += source.losses
        assert source.labels is not None and set(source.labels.tolist()) == {"cats", "dogs", ""}, name


@AREA.right("trainA, trainB, testA and testB, the domains of CycleGAN")
def _(folder: Path, listener: Listener) -> None:
    for place in ("trainA", "trainB", "testA", "testB"):
        for number in range(3):
            save_square(folder / "d" / place / f"{number}.png")
    source = aekit.open_data(folder / "d")
    assert source.splits is not None and source.labels is not None
    assert set(source.splits.tolist()) == {"train", "test"} and set(source.labels.tolist()) == {"A", "B"}


@AREA.changed(
    "a list of ids that are names of images, and their breeds", "column 'breed' is the label, as it alone is beside"
)
def _(folder: Path, listener: Listener) -> None:
    for number in range(8):
        save_square(folder / "train" / f"im{number}.png")
    source = opened(folder, "id,breed\n" + "".join(f"im{n},{'ab'[n % 2]}\n" for n in range(8)), "labels.csv")
    assert source.spec.is_visual and source.labels is not None and source.labels[:2].tolist() == ["a", "b"]
    listener.lines += source.notes


@AREA.right("a table of numbered rows beside a few images that are numbered too: it lists no images")
def _(folder: Path, listener: Listener) -> None:
    for number in range(3):
        save_square(folder / "shown" / f"{number}.png")
    source = opened(folder, "id,size,weight\n" + "".join(f"{n},{n / 8},{n * n / 4}\n" for n in range(60)))
    assert source.spec.is_vector and source.spec.shape == (2,) and source.ids[3] == "3"


@AREA.changed(
    "a list of boxes, with several rows an image",
    "8 of 16 rows name an image again: each image is used once; 1 images have",
)
def _(folder: Path, listener: Listener) -> None:
    for number in range(8):
        save_square(folder / f"im{number}.png")
    lines = "".join(f"im{n // 2}.png,{'car' if n % 2 and n > 13 else 'dog'},{n}\n" for n in range(16))
    source = opened(folder, "image_id,class,x_min\n" + lines, "boxes.csv")
    assert len(source) == 8 and source.labels is not None and source.labels.tolist() == ["dog"] * 7 + [""]


# ---- recordings


def recording(folder: Path, columns: dict[str, Any], name: str = "r.csv") -> Source:
    text = "".join(",".join(map(str, row)) + "\n" for row in [list(columns), *zip(*columns.values())])
    (folder / name).write_text(text, "utf-8")
    return aekit.open_data(f"recordings:{folder / name}", {"recordings": {"steps": 10, "test": 0}})


@AREA.changed("times of day that pass midnight", "'time' passes midnight once: the rows behind are of the next day")
def _(folder: Path, listener: Listener) -> None:
    clock = [f"{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}" for n in range(86340, 86460)]
    read = values(recording(folder, {"time": clock, "v": range(120)}))
    assert read.shape == (12, 1, 10) and (np.diff(read.ravel()) == 1).all()


@AREA.right("a first column of any name that rises evenly, which is no channel")
def _(folder: Path, listener: Listener) -> None:
    for name in ("Zeit", "X", "Elapsed (ms)"):
        assert recording(folder, {name: np.arange(120) * 5, "v": np.sin(np.arange(120))}).spec.shape == (1, 10), name


@AREA.right("year, month, day and hour in columns of their own")
def _(folder: Path, listener: Listener) -> None:
    hours = np.datetime64("2024-02-27T00") + np.arange(120).astype("timedelta64[h]")
    parts = pd.DatetimeIndex(hours.astype("datetime64[ns]"))
    columns = {"year": parts.year, "month": parts.month, "day": parts.day, "hour": parts.hour, "v": np.arange(120)}
    source = recording(folder, columns)
    assert source.spec.shape == (1, 10) and len(source) == 12 and "in order of 'year' and 'month'" in source.note


@AREA.right("a counter that starts again beside a column of times, as OpenBCI writes it")
def _(folder: Path, listener: Listener) -> None:
    columns = {"Sample Index": np.arange(120) % 32, "v": np.sin(np.arange(120)), "Timestamp": 1.7e9 + np.arange(120)}
    assert recording(folder, columns).spec.shape == (1, 10)


@AREA.right("times with UTC or GMT+1 behind them, and months in front")
def _(folder: Path, listener: Listener) -> None:
    for form in (
        "2024-01-01 00:{:02d}:{:02d} UTC",
        "2024/01/01 1:{:02d}:{:02d} AM GMT+1",
        "Jan 01 2024 00:{:02d}:{:02d}",
    ):
        times = [form.format(n // 60, n % 60) for n in range(119, -1, -1)]
        source = recording(folder, {"time": times, "v": range(120)})
        assert "steps are in order of 'time'" in source.note and values(source)[0, 0, 0] == 119, form


@AREA.right("texts and tables beside sound, which are no recordings")
def _(folder: Path, listener: Listener) -> None:
    from scipy.io import wavfile

    for kind in ("yes", "no"):
        (folder / kind).mkdir()
        wavfile.write(folder / kind / "a.wav", 8000, (NOISE.ravel() * 1000).astype(np.int16))
    (folder / "testing_list.txt").write_text("yes/a.wav\n")
    source = aekit.open_data(folder, {"recordings": {"steps": 10}})
    read = source.read(np.arange(len(source)))
    assert read[1].all() and source.labels is not None and set(source.labels.tolist()) == {"yes", "no"}


# Left by other programs


def exported(folder: Path, rows: list[list[object]], header: str, name: str = "t.csv") -> Source:
    content = "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"
    (folder / name).write_text(content, "utf-8")
    return aekit.open_data(folder / name)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"

for _ending in ("csv", "npy", "parquet", "wav"):
    AREA.refused_file(f"a pointer of Git LFS named as .{_ending}", "git lfs pull fetches it", f"x.{_ending}", POINTER)
AREA.refused_file("the message of a server named as .csv", "XML, such as", "x.csv", "<?xml version='1.0'?><Error/>")
AREA.refused_file("a shortcut of Google Drive", "download the document itself", "x.gsheet", "{}")
AREA.refused_file("a download that is not finished", "it is a download that is not finished", "x.npz.part", b"PK")
AREA.refused_file("sound of a telephone", "convert the sound to WAV or FLAC", "x.m4a", b"....ftypM4A ")
AREA.refused_file(
    "the annotations of COCO",
    "open the folder of the images",
    "x.json",
    '{"images": [{"id": 1}], "annotations": [{"id": 1}]}',
)
AREA.refused_file("the lock of an open workbook", "not a readable workbook", "~$a.xlsx", b"name")


@AREA.changed("images among which one is a pointer of Git LFS", "z.png: a pointer of Git LFS")
def _(folder: Path, listener: Listener) -> None:
    for number in range(3):
        Image.new("L", (8, 8), 40 * number).save(folder / f"{number}.png")
    (folder / "z.png").write_bytes(POINTER)
    source = aekit.open_data(folder)
    assert source.read(np.arange(4))[1].tolist() == [True, True, True, False]
    source.warn_of_skipped()


@AREA.changed("bytes of 0 that a logger leaves when its power fails", "bytes of 0 in the text are left out")
def _(folder: Path, listener: Listener) -> None:
    (folder / "t.csv").write_bytes(b"a,b\n" + b"".join(b"%d,%d\n" % (i % 7, i % 5) for i in range(60)) + b"\0" * 500)
    source = aekit.open_data(folder / "t.csv")
    listener.lines += source.notes
    assert len(source) == 60 and source.spec.names == ["a", "b"]


@AREA.changed("errors of a spreadsheet in other languages, and words for no value", "'#NV' (row 0)")
def _(folder: Path, listener: Listener) -> None:
    words = ["#NV", "#WERT!", "#N/D", "#VALEUR!", "########", "no data", "(null)", "n/d"]
    source = exported(folder, [[words[i // 5 % 8] if i % 5 == 0 else i % 7, i % 3] for i in range(60)], "a,b")
    assert source.spec.names == ["a", "b"] and np.isnan(source.read(np.arange(60))[0]).sum() == 12


@AREA.right("\\N, as databases write a missing value")
def _(folder: Path, listener: Listener) -> None:
    source = exported(folder, [["\\N" if i % 5 == 0 else i % 7, i % 3] for i in range(60)], "a,b")
    assert source.spec.names == ["a", "b"] and np.isnan(source.read(np.arange(60))[0]).sum() == 12


@AREA.changed("percent in some rows alone, and prices in two currencies", "numbers that are not converted, in 'p', 'c'")
def _(folder: Path, listener: Listener) -> None:
    rows: list[list[object]] = [
        [f"{i % 9}%" if i % 2 else f"0.{i % 9}", f"${i % 8}.50" if i % 2 else f"€{i % 7}.20"] for i in range(60)
    ]
    listener.lines += exported(folder, rows, "p,c").notes


@AREA.changed("rows of totals among the others", "3 rows called 'Total' (row 19)")
def _(folder: Path, listener: Listener) -> None:
    rows: list[list[object]] = [["Total" if i % 20 == 19 else f"r{i}", i % 7, i % 3] for i in range(60)]
    listener.lines += exported(folder, rows, "region,a,b").notes


@AREA.changed("a single -999", "'a' is -999 in 1 of 60 rows")
def _(folder: Path, listener: Listener) -> None:
    exported(folder, [[-999 if i == 7 else i % 7, i % 3] for i in range(60)], "a,b")


@AREA.changed("classes that differ by a capital or a blank", "classes 'Cat' and 'cat' differ")
def _(folder: Path, listener: Listener) -> None:
    exported(folder, [[i % 7, ("cat", "Cat")[i % 2]] for i in range(60)], "a,label")
    for name in ("cat", "cat "):
        (folder / "images" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(folder / "images" / name / "0.png")
    assert any("differ by blanks" in line for line in aekit.open_data(folder / "images").losses)


@AREA.changed("lists of numbers in cells of text", "lists of numbers as text, which are not read: 'pixels'")
def _(folder: Path, listener: Listener) -> None:
    exported(folder, [[i % 7, " ".join(map(str, range(i, i + 9)))] for i in range(60)], "a,pixels")


@AREA.changed("photographs and videos of a telephone in one folder", "2 other files are left out, which clips:")
def _(folder: Path, listener: Listener) -> None:
    for number in range(3):
        Image.new("RGB", (8, 8), (40 * number, 9, 9)).save(folder / f"IMG_{number}.jpg")
    for number in range(2):
        (folder / f"IMG_{number}.MOV").write_bytes(b"\0\0\0\x14ftypqt  ")
    assert aekit.open_data(folder).spec.kind == "image"


@AREA.changed("classes in columns of 0 and 1 beside a list of images", "the labels are the columns 'MEL', 'NV', 'BCC'")
def _(folder: Path, listener: Listener) -> None:
    rows: list[list[object]] = []
    for number in range(12):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")
        rows.append([f"{number}.png", *(float(number % 3 == one) for one in range(3))])
    source = exported(folder, rows, "image,MEL,NV,BCC")
    listener.lines += source.notes
    assert source.labels is not None and source.labels.tolist()[:3] == ["MEL", "NV", "BCC"]
    rows = [[row[0], *(int(number % (one + 2) == 0) for one in range(3))] for number, row in enumerate(rows)]
    source = exported(folder, rows, "image,MEL,NV,BCC")
    assert source.labels is None and any("several of them 1" in line for line in source.notes)


@AREA.changed("options of the training that its embeddings lack", "trained with data.arrays.y = 'kind'; set it here")
def _(folder: Path, listener: Listener) -> None:
    rows: list[list[object]] = [[i % 7, i % 3, "uv"[i % 2]] for i in range(60)]
    exported(folder, rows, "a,b,kind")
    encoder = aekit.fit(folder / "t.csv", dim=2, epochs=1, overrides={"data.arrays.y": "kind"})
    assert aekit.embed(encoder, folder / "t.csv", options={"arrays": {"y": "kind"}}).labels is not None
    assert aekit.embed(encoder, folder / "t.csv").labels is None


@AREA.refused(
    "an encoder that was converted by half()", "the encoder's weights were converted to float16: expected float32"
)
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit(np.random.default_rng(0).normal(size=(20, 4)), dim=2, epochs=1)
    encoder.half()
    with pytest.raises(DataError, match="expected float32"):
        encoder.save(folder / "saved")
    encoder.embed(np.zeros((3, 4)))


@AREA.refused("an array without axes as the evaluators", "evaluators = ndarray object: expected a registered name")
def _(folder: Path, listener: Listener) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 4))
    aekit.evaluate(vectors, np.arange(40) % 2, evaluators=np.array("knn"))
