"""Labels of pandas in another order than the samples, labels by name, and arguments of another type than a function takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from unusual.harness import Area, Listener

import aekit
from aekit.evaluation.labels import make_targets, resolve_labels

AREA = Area(__name__)
COUNT = 60
CLASSES = np.array(["a", "b", "c"])[np.arange(COUNT) % 3]
NAMES = [f"row {number}" for number in range(COUNT)]
FRAME = pd.DataFrame(
    np.random.default_rng(0).normal(size=(COUNT, 4)) + 9 * (CLASSES[:, None] == ["a", "b", "c", "d"]),
    index=NAMES,
    columns=list("efgh"),
)
SERIES = pd.Series(CLASSES, index=NAMES, name="kind")
VECTORS = aekit.Embeddings.from_array(FRAME.to_numpy(), ids=NAMES)
SHUFFLED = SERIES.sample(frac=1, random_state=0)
MATCHED = "labels: matched with the samples by their index"


def accuracy(embeddings: object, labels: object) -> float:
    """Return the accuracy of k-nearest neighbors, which is 1 where each sample has its label."""
    evaluation = aekit.evaluate(embeddings, labels, evaluators=["knn"], baselines=False, checks=False)
    return evaluation.results["encoder"]["knn"].metrics["accuracy"].value


def resolved(labels: object) -> list[object]:
    """Return the labels in the order of the samples."""
    targets, _ = make_targets(resolve_labels(labels, NAMES)[0], COUNT, what="samples")
    assert targets is not None
    return np.where(targets.has_target, targets.values, "").tolist()


@AREA.changed("a Series of labels whose index has the ids in another order", MATCHED)
def _(folder: Path, listener: Listener) -> None:
    assert accuracy(VECTORS, SHUFFLED) == 1 and resolved(SHUFFLED) == CLASSES.tolist()
    assert aekit.find_label_errors(VECTORS, SHUFFLED).count == 0


@AREA.changed(
    "labels of more and of fewer rows than there are samples, by their index", "have no label in it, e.g. 'row 30'"
)
def _(folder: Path, listener: Listener) -> None:
    more = pd.concat([SHUFFLED, pd.Series(["d"], index=["another"])])
    assert resolved(more) == CLASSES.tolist()
    assert resolved(SHUFFLED.drop(NAMES[30:])) == [*CLASSES[:30], *[""] * 30]


@AREA.right("a dict of id -> label")
def _(folder: Path, listener: Listener) -> None:
    assert resolved(SHUFFLED.to_dict()) == CLASSES.tolist()


@AREA.refused(
    "a dict of labels of which no key is an id", "no id matches a sample; expected ids such as 'row 0', found 'x'"
)
def _(folder: Path, listener: Listener) -> None:
    accuracy(VECTORS, {"x": "a", "y": "b"})


@AREA.right("a file of labels, in Python as on the command line")
def _(folder: Path, listener: Listener) -> None:
    SHUFFLED.rename_axis("id").reset_index().to_csv(folder / "labels.csv", index=False)
    for path in (folder / "labels.csv", str(folder / "labels.csv")):
        assert resolved(path) == CLASSES.tolist()


@AREA.right("a DataFrame with one column of labels")
def _(folder: Path, listener: Listener) -> None:
    assert accuracy(FRAME.to_numpy(), SERIES.reset_index(drop=True).to_frame()) == 1


@AREA.changed("labels whose index repeats", "labels: used in their order, as their index repeats")
def _(folder: Path, listener: Listener) -> None:
    assert resolved(SERIES.set_axis([*NAMES[1:], NAMES[1]])) == CLASSES.tolist()


@AREA.changed("labels whose index names other rows", "names none of the samples ('x0' rather than 'row 0')")
def _(folder: Path, listener: Listener) -> None:
    assert resolved(SERIES.set_axis([f"x{number}" for number in range(COUNT)])) == CLASSES.tolist()


@AREA.changed("an array, with labels whose index numbers its rows in another order", "which is not that of their index")
def _(folder: Path, listener: Listener) -> None:
    labels = SERIES.reset_index(drop=True)
    assert accuracy(FRAME.to_numpy(), labels) == 1
    assert accuracy(FRAME.to_numpy(), labels.sample(frac=1, random_state=0)) < 1


@AREA.right("the parts of `train_test_split`, whose indexes are the ids")
def _(folder: Path, listener: Listener) -> None:
    x, _, y, _ = train_test_split(FRAME.reset_index(drop=True), SERIES.reset_index(drop=True), random_state=0)
    encoder = aekit.fit(x, dim=2, epochs=1, backbone="linear")
    embeddings = encoder.embed(x)
    assert embeddings.ids == [str(name) for name in x.index]
    assert aekit.evaluate(embeddings, y, evaluators=["knn"], baselines=False).counts["classes"] == 3
    assert list(aekit.open_data({"train": x, "test": x.set_axis(x.index + 100)}).splits[-45:]) == ["test"] * 45


@AREA.changed("(X, y) of pandas in different orders, with a column of categories", MATCHED)
def _(folder: Path, listener: Listener) -> None:
    frame = FRAME.assign(color=["red", "blue"] * (COUNT // 2))
    source = aekit.open_data((frame, SHUFFLED))
    assert source.labels is not None and source.labels.tolist() == CLASSES.tolist()
    assert source.spec.names == [*"efgh", "color: blue", "color: red"] and list(source.ids) == NAMES


@AREA.right("an encoder of (X, y) knows the names of the columns of X")
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit((FRAME, SERIES), dim=2, epochs=1, backbone="linear")
    assert np.array_equal(encoder.embed(FRAME), encoder.embed(FRAME[["h", "f", "e", "g"]]))


@AREA.right("labels as the third argument of `finetune`")
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit(FRAME, dim=2, epochs=1, backbone="linear")
    result = aekit.finetune(encoder, FRAME, SERIES, epochs=2, baselines=False)
    assert sorted(result.classifier.classes) == ["a", "b", "c"]


@AREA.refused("labels whose entries differ in shape", "labels whose entries differ in shape")
def _(folder: Path, listener: Listener) -> None:
    accuracy(FRAME.to_numpy(), [[1, 2], 3] * 30)


@AREA.refused("an encoder in place of the path of a run", "aekit.apply: run of type Encoder: expected a path")
def _(folder: Path, listener: Listener) -> None:
    encoder = aekit.fit(FRAME, dim=2, epochs=1, backbone="linear")
    aekit.apply(encoder, FRAME)  # type: ignore[arg-type]


@AREA.refused("text in place of a number", "aekit.curate: n = 'ten': expected a whole number")
def _(folder: Path, listener: Listener) -> None:
    aekit.curate(VECTORS, "ten")  # type: ignore[arg-type]


@AREA.refused("text in place of a truth value", "aekit.fit: report = 'no': expected True or False")
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(FRAME, report="no")  # type: ignore[arg-type]


@AREA.refused("text in place of vectors to search for", "queries of type str: expected embeddings or (Q, 4)")
def _(folder: Path, listener: Listener) -> None:
    aekit.build_index(VECTORS).search("photo.jpg")  # type: ignore[arg-type]


@AREA.right("the name of a command in place of a function: the error names the function")
def _(folder: Path, listener: Listener) -> None:
    hints = {"cluster": "find_clusters", "anomalies": "find_anomalies", "label_errors": "find_label_errors"}
    hints |= {"propagate": "propagate_labels"}
    for command, function in {**hints, "index": "build_index or open_index"}.items():
        try:
            getattr(aekit, command)
        except AttributeError as error:
            assert str(error).endswith(f"did you mean {function}?")


@AREA.refused("labels of all samples, to be propagated to others", "all 60 samples have a label: expected some without")
def _(folder: Path, listener: Listener) -> None:
    aekit.propagate_labels(VECTORS, SERIES)


@AREA.right("a few labels, by their index, that are propagated to the other samples")
def _(folder: Path, listener: Listener) -> None:
    result = aekit.propagate_labels(VECTORS, SHUFFLED.where(np.arange(COUNT) < 20))
    assert result.is_given.sum() == 20 and result.labels.tolist() == CLASSES.tolist()


@AREA.right("labels of a generator, and the values of a dict")
def _(folder: Path, listener: Listener) -> None:
    by_name = dict(zip(NAMES, CLASSES.tolist()))
    assert resolved(iter(CLASSES)) == resolved(by_name.values()) == CLASSES.tolist()


@AREA.refused("labels in a set", "labels in a set have no order; pass a list")
def _(folder: Path, listener: Listener) -> None:
    accuracy(VECTORS, set(NAMES))


@AREA.changed("labels for the colors of a map, in another order than the samples", MATCHED)
def _(folder: Path, listener: Listener) -> None:
    drawn = aekit.draw_map(VECTORS, labels=SHUFFLED, method="pca", html=folder / "map.html")
    assert drawn.to_pandas()["label"].tolist() == CLASSES.tolist()
    assert VECTORS.labels is None


@AREA.refused("fewer labels than samples for a map", "draw_map: 5 labels for 60 samples; expected one each")
def _(folder: Path, listener: Listener) -> None:
    aekit.draw_map(VECTORS, labels=CLASSES[:5], method="pca")


@AREA.refused("a table of several columns as the labels of a map", "expected one label for each sample")
def _(folder: Path, listener: Listener) -> None:
    aekit.draw_map(VECTORS, labels=np.stack([CLASSES, CLASSES], axis=1), method="pca")


@AREA.refused("a table of several columns of text as labels", "pass one column alone, such as labels['kind']")
def _(folder: Path, listener: Listener) -> None:
    accuracy(VECTORS, pd.DataFrame({"kind": SERIES, "other": SERIES}))
