"""A manifest is what aekit wrote, or refused in one line: its seal, the types of its entries, the files that it names."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from aekit.errors import AekitError, DamagedError, DataError, RecipeError, printable
from aekit.io.manifest_models import Count, Manifest
from aekit.io.manifests import check_files, checksums, explain_read_errors, path_inside, read_manifest, write_manifest


class Entries(Manifest):
    name: str
    count: Count
    thresholds: dict[str, float] = {}  # noqa: RUF012


WHOLE = {"format": 3, "name": "ä\n", "count": 2, "thresholds": {"x": 0.1, "nan": float("nan")}, "extra": [(1, 2), None]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_manifest(tmp_path / "manifest.json", WHOLE | {"by_number": {2: "b", 10: "a"}})
    return tmp_path / "manifest.json"


def refusal(path: Path) -> str:
    with pytest.raises(DamagedError) as refused:
        read_manifest(path, Entries, kind="thing", version=3)
    assert len(str(refused.value).splitlines()) == 1 and len(str(refused.value)) < 600
    return str(refused.value).removeprefix(f"{path}: ")


def test_what_was_written_is_read(path: Path) -> None:
    read = read_manifest(path, Entries, kind="thing", version=3)
    assert read["name"] == "ä\n" and read["extra"] == [[1, 2], None] and read["by_number"] == {"2": "b", "10": "a"}
    assert "seal" not in read
    path.write_text(json.dumps(json.loads(path.read_text()), indent=None))  # another layout of the same entries
    assert read_manifest(path, Entries, version=3)["count"] == 2


def test_every_flipped_bit_is_refused_or_changes_nothing(path: Path) -> None:
    whole, expected, accepted = path.read_bytes(), json.loads(path.read_text()), 0
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            read = read_manifest(path, Entries, version=3)
        except DamagedError as error:
            assert "\n" not in str(error)
            continue
        accepted += 1
        assert repr(read) == repr({name: value for name, value in expected.items() if name != "seal"})
    assert accepted < len(whole) / 5  # blanks


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is damaged: Expecting value"),
        (b"[]", "is damaged: expected an object, not list"),
        (b"[" * 200_000, "is damaged: it is nested too deep"),
        (b'{"format": ' + b"9" * 5000 + b"}", "is damaged: Exceeds the limit"),
        (b'{"format": 2}', "thing format 2, this aekit reads 3; make it again"),
        (
            b'{"format": 4}',
            "thing format 4, this aekit reads 3; it is of a newer aekit; update this one, or make it again",
        ),
        (b'{"format": true}', "thing format True, this aekit reads 3; make it again"),
        (b'{"format": "' + b"A" * 10**6 + b'"}', "thing format 'AAAAA"),
        (b'{"format": 3}', "is damaged: has no seal"),
        (b'{"format": 3, "seal": "x"}', "is damaged: its entries differ from its seal"),
        (b'{"format": "\\ud800\\u001b[2J"}', r"thing format '\ud800\x1b[2J'"),
        ("ä".encode("latin-1"), "is damaged: 'utf-8' codec can't decode byte"),
    ],
)
def test_damaged_json_is_one_line(content: bytes, problem: str, path: Path) -> None:
    path.write_bytes(content)
    assert refusal(path).startswith(problem)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": -1}, "count: Input should be greater than or equal to 0"),
        ({"count": 2**63}, "count: Input should be less than or equal to"),
        ({"count": "2"}, "count: Input should be a valid integer"),
        ({"count": True}, "count: Input should be a valid integer"),
        ({"name": None}, "name: Input should be a valid string"),
        ({"thresholds": {"a\nb": "x"}}, r"thresholds.a\nb: Input should be a valid number"),
    ],
)
def test_entries_of_other_types_are_refused_even_if_sealed(changes: dict[str, Any], problem: str, path: Path) -> None:
    write_manifest(path, WHOLE | changes)
    assert refusal(path).startswith(f"is damaged: {problem}")


def test_a_missing_manifest_and_a_folder_in_its_place(path: Path) -> None:
    path.unlink()
    assert refusal(path) == "is missing"
    path.mkdir()
    assert refusal(path) == "cannot be read: Is a directory"


def test_files_are_named_once_inside_the_folder_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    sums = checksums(tmp_path, ["a"])
    check_files(tmp_path, sums, "make it again", needed=["a"])
    with pytest.raises(DamagedError, match="sha256: has no entry for 'b'"):
        check_files(tmp_path, sums, "make it again", needed=["b"], manifest="x.json")
    (tmp_path / "a").write_bytes(b"b")
    with pytest.raises(DamagedError, match=r"its sha256 differs from the manifest\); make it again"):
        check_files(tmp_path, sums, "make it again")
    for name in ("", ".", "..", "../a", "/etc/passwd", "a\\b", "a\0b", "x" * 300):
        with pytest.raises(DamagedError, match="is not a name inside the folder"):
            path_inside(tmp_path, name)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(DamagedError, match="is a link"):
        path_inside(tmp_path, "link")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("x"), "is damaged: KeyError: 'x'"),
        (TypeError("a\nb"), "is damaged: TypeError: a"),
        (struct.error("unpack requires a buffer of 4 bytes"), "is damaged: unpack requires a buffer of 4 bytes"),
        (pa.ArrowInvalid("Could not open\x1b[2J"), r"is damaged: Could not open\x1b[2J"),
        (PermissionError(13, "Permission denied"), "cannot be read: Permission denied"),
        (AssertionError(), "is damaged: AssertionError: "),
    ],
)
def test_errors_of_libraries_become_one_line(error: Exception, line: str) -> None:
    with pytest.raises(DamagedError) as refused, explain_read_errors(Path("f"), "make it again"):
        raise error
    assert str(refused.value) == f"f: {line}; make it again"
    own = DataError("left as it is")
    with pytest.raises(DataError) as passed, explain_read_errors(Path("f")):
        raise own
    assert passed.value is own


def test_printable_text_is_one_line_for_a_terminal() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(chr(rng.choice([rng.randrange(300), rng.randrange(0x110000)])) for _ in range(rng.randrange(30)))
        longest = rng.randrange(4, 40)
        shown = printable(text, longest)
        assert shown.isprintable()
        assert shown == text or len(text) > longest or not text.isprintable()
        assert str(AekitError(text)).isprintable()


def test_messages_of_errors_are_printable() -> None:
    assert str(DataError("id 'a\nb\x1b]0;x\x07\u202e'")) == r"id 'a\nb\x1b]0;x\x07\u202e'"
    assert str(DataError("x" * 10_000)).endswith("xx...") and len(str(DataError("x" * 10_000))) == 2000
    error = RecipeError(["one\ntwo", "three"])
    assert error.problems == [r"one\ntwo", "three"] and str(error) == "one\\ntwo\nthree"
