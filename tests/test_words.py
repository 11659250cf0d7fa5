"""The words of the field: no retired word comes back, in names, messages, pages or documents; docstrings begin with a verb."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = [p for d in ("aekit", "plugins", "tests", "benchmarks", "docs") for p in sorted((ROOT / d).rglob("*.py"))]
TEXT = [
    p
    for d in ("aekit", "docs", "recipes")
    for e in ("md", "toml", "js", "css", "html")
    for p in (ROOT / d).rglob(f"*.{e}")
]
TEXT += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "pyproject.toml", "mkdocs.yml")]
HERE = Path(__file__)

BRITISH = (
    r"colou?red(?<=oured)|colour|neighbour|\bgrey|grey\b|judgement|favour|behaviour|honour(?!é)|(?<![a-z])(un)?labell(ed|ing)\b|catalogue|licence"
    r"|artefact|(?<![a-z])(centre|centred|centring)(?![a-z])|analys(e|ed|ing)\b|modell(ed|ing)\b|learnt\b|whilst\b|amongst\b"
    r"|(quant|normal|initial|random|standard|minim|regular|solar|binar|penal|optim|summar|serial|visual|categor|factor|vector"
    r"|linear|orthogonal|emphas|color|symmetr|central)is(e|ed|es|er|ing|ation)\b"
)
NAMES = """
binarising binarizing displacing colourisation labels_are matched_accuracy GreedySection no_such_task take_weights first_scaling
looking_at without_chance truth_of only_writer lay_out in_units views_for commonest answering_head in_their_span AtHand Deepened
Painter Originals Quantiser TwoViews PictureViews BadPicture PictureItems footage pictures? films?
"""
"""Names and words of earlier versions; anywhere."""
RETIRED = "|".join(rf"\b{name}\b" for name in NAMES.split())
RETIRED += r"|(?<!water)mark[-_]removal\b|--(labels-are|beside|controls|no-controls|hole)\b|\[greedy\]"

PHRASES = """
what comes back,what the encoder is shown,what is noticeable,that there (is|are) (not|none),is none of,are none of
be they,be it,that lack,level with,told apart,stands? still,first weights,odd ones?,oddest,beside controls
judg(e|ed|es|ing|ment)s?,rivals?,verdicts?,commonest
"""
"""Turns of phrase that a reader has to translate; in what users read."""
PROSE = "|".join(rf"\b{phrase}\b" for line in PHRASES.split("\n") for phrase in line.split(",") if phrase)


def lines_with(pattern: str, paths: list[Path]) -> list[str]:
    expression = re.compile(pattern, re.I)
    return [
        f"{path.relative_to(ROOT)}:{number}: {match.group(0)}"
        for path in paths
        if path != HERE
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (match := expression.search(line)) and "retired: allowed" not in line
    ]


@pytest.mark.parametrize("pattern", [BRITISH, RETIRED], ids=["british", "retired"])
def test_no_retired_word_in_code_and_documents(pattern: str) -> None:
    assert not lines_with(pattern, [*CODE, *TEXT])


def test_no_dialect_in_what_users_read() -> None:
    read = [p for p in CODE if p.parts[len(ROOT.parts)] in ("aekit", "plugins")] + TEXT
    assert not lines_with(PROSE, read)


NO_VERB = r"(What|Which|Whether|How|Where|That|Of|By|For|With|In|On|From|As|Is|Are|All|Every|Each|None|Whose|When)\b"


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    wrong = []
    for path in CODE:
        if path.parts[len(ROOT.parts)] not in ("aekit", "plugins"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (text := ast.get_docstring(node)):
                if any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
                    continue  # documented as the attribute that it is
                first = text.splitlines()[0]
                if re.match(NO_VERB, first) or re.match(r"\(|``|A |An |The ", first):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {first[:70]}")
    assert not wrong


@pytest.mark.parametrize(
    "line", ["the colour", "unlabelled", "normalised", "--beside X", "a picture", "labels_are = 1"]
)
def test_the_patterns_find_what_they_are_for(line: str) -> None:
    assert re.search(f"{BRITISH}|{RETIRED}", line)


@pytest.mark.parametrize(
    "line", ["noise", "supervised", "otherwise", "a centroid", "watermark-removal", "concentrate", "minimum"]
)
def test_the_patterns_leave_other_words_alone(line: str) -> None:
    assert not re.search(f"{BRITISH}|{RETIRED}|{PROSE}", line)


COMMAND = re.compile(r"(\b(aekit|tensorboard|embedding-atlas|torchrun)|^) .*", re.S)
OPTION = re.compile(r"(?<= )(?:--[a-z][a-z-]+|-o)\b(?![^()]*\)|:)")


def options_named_alone(text: str) -> list[str]:
    """Return the options of the command line that stand neither in parentheses nor in a command."""
    return OPTION.findall(COMMAND.sub("", text))


def test_messages_name_options_of_the_command_line_beside_those_of_python() -> None:
    """A message of the library reaches Python's users too: "pass some as reference (--reference)"."""
    wrong = []
    for path in CODE:
        if path.parts[len(ROOT.parts)] not in ("aekit", "plugins") or "cli" in path.parts:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {text}" for text in messages(path) if options_named_alone(text)]
    assert not wrong


def messages(path: Path) -> list[str]:
    """Return the strings of a file, formatted ones with {} for each value."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    formatted = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(value) for node in formatted for value in node.values}
    plain = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in parts]
    return [text for text in plain if isinstance(text, str)] + [
        "".join(str(value.value) if isinstance(value, ast.Constant) else "{}" for value in node.values)
        for node in formatted
    ]


@pytest.mark.parametrize(
    "text", ["{}: is not empty; choose another folder with -o", "{} samples left out; use --missing"]
)
def test_an_option_without_its_name_in_python_is_noticed(text: str) -> None:
    assert options_named_alone(text)


EMPTY_NAMES = {"found", "own", "given", "held", "rest"}


def test_local_names_say_what_they_hold() -> None:
    stored = []
    for path in CODE:
        if path.parts[len(ROOT.parts)] in ("aekit", "plugins"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                name = node.arg if isinstance(node, ast.arg) else node.id if isinstance(node, ast.Name) else ""
                if name in EMPTY_NAMES and not isinstance(getattr(node, "ctx", None), ast.Load):
                    stored.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    assert not stored
