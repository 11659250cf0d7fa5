"""Search under conditions that are hostile, and compare what conditions select with what SQLite selects.

``python tests/reliability/conditions.py FOLDER [COUNT]`` reads COUNT conditions of each kind, searches indexes of all engines
under some, and asks the command and the server; it prints a line of JSON for each part, and keeps the figures.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from click.testing import CliRunner
from figures import Figure, record_trials, start

import aekit
from aekit.cli import group
from aekit.errors import AekitError, PluginError
from aekit.index._filters import Condition

SECONDS, LONGEST_LINE = 5.0, 700
"""Most time that a condition may take, and most characters of a line about one that is refused."""
ROWS = 64
TEXTS = [
    *("cat", "dog", "Cat", "a%b", "a_b", "x'y", 'x"y', "x`y", "é", "日本", "", " ", "a\nb", "\x1b[31m", "' OR 1=1 --"),
    *("1", "null", "true", "'); DROP TABLE x; --", "../../etc/passwd", "{{7*7}}", "${HOME}", "(a+)+$", "\\", "\u202e"),
]
WHOLE = [0, 1, -1, 7, 255, 2**31, 2**53, 2**53 + 1, 2**62, 2**63 - 2, 2**63 - 1, -(2**63), 1234567890123456789]
REAL = [0.0, -0.0, 0.5, 1.0, 1e-300, 1e300, -2.5, 2.0**53, math.inf]


def table(rng: random.Random) -> pa.Table:
    """Draw a table whose names and values are hostile, a third of them missing or at a bound."""

    def column(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([None if rng.random() < 0.2 else rng.choice(values) for _ in range(ROWS)], kind)

    ids = [f"{number} {rng.choice(TEXTS)}" for number in range(ROWS)]
    return pa.table(
        {
            "id": ids,
            "label": column(TEXTS, pa.string()),
            "whole": column(WHOLE, pa.int64()),
            "small": column([-128, -1, 0, 1, 127], pa.int8()),
            "real": column(REAL, pa.float64()),
            "sold": column([True, False], pa.bool_()),
            "select * from x": column(TEXTS, pa.string()).dictionary_encode(),
        }
    )


def quoted(text: str, rng: random.Random) -> str:
    quote = rng.choice("'\"")
    return quote + text.replace(quote, quote * 2) + quote


def number(rng: random.Random) -> str:
    """Write a number, among them such as no column can hold."""
    drawn = rng.randrange(6)
    if drawn < 3:
        return str(min(max(rng.choice(WHOLE) + rng.choice([0, 0, 1, -1]), -(2**63)), 2**63 - 1))
    if drawn == 3:
        return repr(rng.choice([0.5, 1e300, -2.5, 1e-300, 3.0]))
    return rng.choice(["1e400", "-1e999", "9223372036854775808", "1e18", "007", "1.", ".5", "+1"])


def comparison(rng: random.Random, sqlite: list[str]) -> str:
    """Draw a comparison, and add the same for SQLite to a list."""
    names = ["id", "label", "whole", "small", "real", "sold", "select * from x"]
    name = rng.choice(names)
    column = f"`{name}`" if " " in name or rng.random() < 0.2 else name
    negated = rng.choice(["", "not "])
    if rng.random() < 0.15:
        text = f"{column} is {negated}null"
        sqlite.append(text.replace(column, f"`{name}`", 1))
        return text
    if name == "sold":
        values, ours = ["true", "false"], ["=", "!=", "in"]
        draw: Callable[[], tuple[str, str]] = lambda: (value := rng.choice(values), value)[:1] * 2  # noqa: E731
    elif name in ("whole", "small", "real"):
        ours = ["=", "==", "!=", "<>", "<", "<=", ">", ">=", "in"]
        exact = (lambda text: text if abs(float(text)) < 2**53 or "e" in text else "2") if name == "real" else str
        draw = lambda: (exact(number(rng)),) * 2  # noqa: E731
    else:
        ours = ["=", "==", "!=", "<>", "<", "<=", ">", ">=", "in", "like"]

        def draw() -> tuple[str, str]:
            text = rng.choice(TEXTS)
            return quoted(text, rng), "'" + text.replace("'", "''") + "'"

    sign = rng.choice(ours)
    if sign == "in":
        pairs = [draw() for _ in range(rng.randrange(1, 5))]
        ours_text, theirs = (", ".join(pair[place] for pair in pairs) for place in (0, 1))
        sqlite.append(f"`{name}` {negated}in ({theirs})")
        return f"{column} {negated}in ({ours_text})"
    if sign == "like":
        pattern = "".join(rng.choice(["%", "_", "a", "x", "t", "'", "0"]) for _ in range(rng.randrange(5)))
        theirs = "'" + pattern.replace("'", "''") + "'"
        sqlite.append(f"`{name}` {negated}like {theirs}")
        return f"{column} {negated}like {quoted(pattern, rng)}"
    value, theirs = draw()
    sqlite.append(f"`{name}` {sign} {theirs}")
    return f"{column}{rng.choice(['', ' '])}{sign}{rng.choice(['', ' '])}{value}"


def condition(rng: random.Random, depth: int = 3) -> tuple[str, str]:
    """Draw a condition, and the same for SQLite."""
    kind = rng.randrange(5) if depth else 0
    if kind < 2:
        theirs: list[str] = []
        return comparison(rng, theirs), theirs[0]
    if kind == 2:
        inner = condition(rng, depth - 1)
        return f"not ({inner[0]})", f"not ({inner[1]})"
    word = rng.choice(["and", "or"])
    left, right = condition(rng, depth - 1), condition(rng, depth - 1)
    shown = rng.choice([word, word.upper()])
    return f"({left[0]}) {shown} ({right[0]})", f"({left[1]}) {word} ({right[1]})"


def against_sqlite(count: int, seed: int) -> list[str]:
    """Compare what conditions select; return what differs."""
    wrong = []
    for part in range(-(-count // 200)):
        rng = random.Random(f"conditions {seed} {part}")
        rows = table(rng)
        database = sqlite3.connect(":memory:")
        database.execute("pragma case_sensitive_like = on")
        kinds = {"whole": "integer", "small": "integer", "sold": "integer", "real": "real"}
        columns = ", ".join(f"`{name}` {kinds.get(name, 'text')}" for name in rows.column_names)
        database.execute(f"create table rows (number integer, {columns})")
        values = [tuple(record.values()) for record in rows.to_pylist()]
        marks = ", ".join("?" * (rows.num_columns + 1))
        database.executemany(f"insert into rows values ({marks})", [(i, *row) for i, row in enumerate(values)])
        for _ in range(min(200, count - 200 * part)):
            ours, theirs = condition(rng)
            expected = [number for (number,) in database.execute(f"select number from rows where {theirs}")]
            try:
                selected = np.flatnonzero(Condition(ours, rows).mask).tolist()
            except Exception as error:
                wrong.append(f"{ours!r}: {type(error).__name__}: {error}")
                continue
            if selected != expected:
                wrong.append(f"{ours!r}: {selected}, not {expected}")
    return wrong


WORDS = [
    *(
        "(",
        ")",
        "not",
        "and",
        "or",
        "in",
        "like",
        "is",
        "null",
        "true",
        ",",
        "=",
        "<",
        "!",
        "'",
        '"',
        "`",
        ";",
        "--",
        "/*",
    ),
    *(
        "\0",
        "\x1b[2J",
        "\ud800",
        "\udcff",
        "\u202e",
        "é",
        "٣",
        "1e999",
        "9" * 5000,
        "-",
        "0x1F",
        "1_0",
        "label",
        "nothing",
    ),
    *(
        "a" * 3000,
        "%" * 500,
        "%a" * 2000,
        "\\" * 100,
        "(" * 60,
        "not " * 60,
        "union select",
        "$1",
        "%s",
        "{0}",
        "\n",
        "\t",
    ),
]
FIXED = [
    *("", " " * 20_000, "x" * 20_001, "(" * 20_000, "label = " * 2000, "label = 'a' or " * 1200 + "label = 'b'"),
    *("label in (" + ",".join(["'a'"] * 4900) + ")", "label like '" + "%a" * 9000 + "'", "whole = " + "9" * 19_000),
    *("label = '" + "A" * 19_000 + "'", "label like '(a+)+$'", "`" + "a" * 15_000 + "` = 1", "label " + "a" * 15_000),
    "whole = " + "9" * 19_000 + "x",
    *("__import__('os').system('touch trap')", "label = 'x'; drop table vectors", 'label = "\'; --"', "1=1 or 1=1"),
]


def hostile(count: int, seed: int) -> Iterator[str]:
    """Draw conditions that are none, or almost."""
    rng = random.Random(f"hostile {seed}")
    yield from FIXED
    for _ in range(count - len(FIXED)):
        text = condition(rng)[0]
        for _ in range(rng.choice([1, 1, 2, 5])):
            place = rng.randrange(len(text) + 1)
            text = text[:place] + rng.choice(WORDS) + text[place + rng.choice([0, 0, 1, 4]) :]
        yield text


def refused(where: str, read: Callable[[], object]) -> str:
    """Read a condition; return what is wrong, or ""."""
    start = time.process_time()
    try:
        read()
    except AekitError as error:
        if "\n" in str(error) or len(str(error)) > LONGEST_LINE:
            return f"{where[:200]!r}: {len(str(error))} characters: {str(error)[:200]}"
    except Exception as error:
        return f"{where[:200]!r}: {type(error).__name__}: {str(error)[:200]}"
    seconds = time.process_time() - start
    return f"{where[:200]!r}: {seconds:.1f} s" if seconds > SECONDS else ""


@contextmanager
def databases(place: Path) -> Iterator[dict[str, str]]:
    """Start the databases that are installed here; yields engine -> the reason for leaving it out, or ""."""
    with ExitStack() as stack:
        reasons = {"faiss": ""}
        os.environ["AEKIT_LANCEDB"] = str(place / "lancedb")
        try:
            import pgserver
            import psycopg

            server = pgserver.get_server(place / "postgres")
            stack.callback(server.cleanup)
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION vector")
            os.environ["AEKIT_PGVECTOR"] = server.get_uri()
            reasons["pgvector"] = ""
        except ImportError as error:
            reasons["pgvector"] = str(error)
        reasons["lancedb"] = ""
        yield reasons


def searches(place: Path, count: int, engine: str, seed: int) -> list[str]:
    """Search an index of an engine under conditions; return what differs from comparing all vectors that satisfy them."""
    rng, wrong = random.Random(f"searches {seed}"), []
    rows = table(rng)
    vectors = np.random.default_rng(seed).normal(size=(ROWS, 4)).astype(np.float32)
    labels = [text or "" for text in rows["label"].to_pylist()]
    stored = aekit.Embeddings.from_array(vectors, ids=rows["id"].to_pylist(), labels=np.array(labels))
    stored.digest = stored.manifest["digest"] = "0" * 64
    folder = place / f"index-{engine}"
    shutil.rmtree(folder, ignore_errors=True)
    aekit.build_index(stored, folder, engine=engine, metric="l2")
    index = aekit.open_index(folder)
    texts = list(hostile(count // 2, seed)) + [
        f"label = {quoted(text, rng)} or id like {quoted(text, rng)}" for text in TEXTS
    ]
    for where in texts:
        try:
            mask = index.mask(where)
        except AekitError:
            continue
        if not mask.any():
            continue
        among = np.flatnonzero(mask)
        nearest = among[np.argsort(((vectors[among] - vectors[0]) ** 2).sum(1), kind="stable")][:5]
        returned = index.search(vectors[:1], 5, where=where).rows[0]
        if returned[returned >= 0].tolist() != nearest.tolist():
            wrong.append(f"{engine} {where[:200]!r}: {returned.tolist()}, not {nearest.tolist()}")
    if len(aekit.open_index(folder)) != ROWS:
        wrong.append(f"{engine}: the index has changed")
    return wrong


def command_and_server(place: Path, count: int, seed: int) -> list[str]:
    """Ask `aekit search --where` and the server; return what is no result and no line."""
    from starlette.testclient import TestClient

    from aekit.serving.app import make_app
    from aekit.serving.catalog import Catalog

    folder, wrong = place / "index-faiss", []
    client = TestClient(
        make_app(Catalog(aekit.open_index(folder)), hosts=["testserver"]), raise_server_exceptions=False
    )
    for where in hostile(count, seed):
        if "\0" not in where:  # which no argument of a process holds
            result = CliRunner().invoke(
                group, ["search", str(folder), f"id:{aekit.open_index(folder).ids[0]}", "--where", where]
            )
            if isinstance(result.exception, Exception) and not isinstance(result.exception, (SystemExit, AekitError)):
                wrong.append(f"command {where[:200]!r}: {result.exception!r:.300}")
        sent = where.encode("utf-8", "surrogatepass")
        answer = client.get("/api/search", params={"row": "0", "k": "3", "where": sent})
        content = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else None
        if answer.status_code not in (200, 400) or (answer.status_code == 400) != ("error" in (content or {})):
            wrong.append(f"server {where[:200]!r}: {answer.status_code} {answer.text[:200]}")
    return wrong


def trials(place: Path, count: int) -> Iterator[tuple[str, str, int, list[str], str]]:
    """Yield what was attacked, how, the number of trials, what went wrong, and a note."""
    yield "conditions", "compared with SQLite", count, against_sqlite(count, 0), ""
    rows = table(random.Random(0))
    texts = list(hostile(count, 1))
    problems = [refused(where, lambda where=where: Condition(where, rows)) for where in texts]
    yield "conditions", "hostile", len(texts), [problem for problem in problems if problem], ""
    few = max(40, count // 50)
    with databases(place) as reasons:
        for engine, reason in reasons.items():
            try:
                wrong = [] if reason else searches(place, few, engine, 2)
            except PluginError as error:
                reason, wrong = str(error), []
            if not reason:
                yield f"search, {engine}", "hostile, and of hostile values", few // 2 + len(TEXTS), wrong, ""
    yield "aekit search, aekit serve", "hostile", 2 * few, command_and_server(place, few, 3), ""


def main() -> None:
    rows = trials(*start(20_000))
    record_trials(
        "conditions", ((Figure(what, how, tried, len(wrong), note), wrong) for what, how, tried, wrong, note in rows)
    )


if __name__ == "__main__":
    main()
