"""Test what a shell does to commands: closed, full and narrow streams, pipes that end, signals, strange names, pasted lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command

import aekit
from aekit.cli import _main, _signals, _streams
from aekit.cli.options import print_json
from aekit.errors import failure_of_the_machine
from aekit.io.shell import command_line, quoted

AEKIT = f"{quoted(sys.executable)} -c 'from aekit.cli import main; main()'"


def shell(line: str, **environment: str) -> tuple[int, bytes, bytes]:
    """Run a line of bash, in which ``aekit`` is the command; return exit code, output and error output."""
    done = subprocess.run(
        ["bash", "-c", f'aekit() {{ {AEKIT} "$@"; }}\n{line}'],
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        timeout=300,
    )
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("where", "reason"), [(">&-", "it is closed"), ("> /dev/full", "the disk is full")])
def test_results_that_cannot_be_written_are_a_failure(where: str, reason: str) -> None:
    code, _, errors = shell(f"aekit plugins --kind index {where}")
    assert (code, errors.decode()) == (2, f"error: standard output: cannot be written: {reason}\n")


@pytest.mark.parametrize(("where", "code"), [("2>&-", 0), ("2> /dev/full", 2)])
def test_messages_that_cannot_be_written_stop_no_work(where: str, code: int) -> None:
    # Standard error is closed by those who want no messages; a full disk loses some that somebody wanted.
    done, output, errors = shell(f"aekit --no-plugin knn plugins {where}")
    assert (done, errors) == (code, b"") and output.startswith(b"kind ") and b" knn " not in output


def test_an_error_without_a_place_to_say_it() -> None:
    assert shell("aekit sreach >&- 2>&-")[:2] == (2, b"")


def test_a_reader_that_has_ended() -> None:
    code, _, errors = shell("sleep 1 | { aekit plugins --json; echo $? >&2; } | true")
    assert (code, errors) == (0, b"141\n")


def test_files_do_not_get_the_numbers_of_closed_streams(tmp_path: Path) -> None:
    code = "from aekit.cli._streams import _occupy_closed; _occupy_closed(); print(open(0).read() == '', file=open('x', 'w'))"
    done = subprocess.run(
        ["bash", "-c", f"{quoted(sys.executable)} -c {quoted(code)} <&- >&- 2>&-"], cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0 and (tmp_path / "x").read_text() == "True\n"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("ascii", rb"s\xe9arch\U0001f600"), ("latin-1", b"s\xe9arch\\U0001f600"), ("utf-8", "séarch😀".encode())],
)
def test_a_terminal_that_lacks_characters(encoding: str, printed: bytes) -> None:
    code, _, errors = shell("aekit séarch😀", PYTHONIOENCODING=encoding)
    assert code == 2 and errors.startswith(b"error: no command '" + printed)


def test_bytes_that_are_not_text_are_escaped() -> None:
    code, _, errors = shell("aekit $'caf\\xe9'")
    assert code == 2 and rb"caf\udce9" in errors


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_valid_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"ids": ["é", "中", "😀", "caf\udce9", "\x9b2J", "\u202eab", "\U000e0041"]}
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdout", _streams._text(_streams._Output(writing, raises=True), encoding))
    print_json(value)
    text = os.read(reading, 1000).decode(encoding)
    assert json.loads(text) == value and text.replace("\n", "").isprintable()


def test_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    labels = ["red\x1b[31m", "title\x1b]0;t\x07", "c1\x9b2J", "bidi\u202eab", "line\nerror: no"]
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    table = {"id": [f"{row}{labels[row % 5]}" for row in range(20)], "label": labels * 4}
    pq.write_table(
        pa.table(table | {name: rows[:, i] for i, name in enumerate(("0", "1", "2", "3\x9b2J\n"))}),
        tmp_path / "d.parquet",
    )
    aekit.fit(tmp_path / "d.parquet", dim=2, out=tmp_path / "run", epochs=1, evaluators=["knn"])
    card = (tmp_path / "run" / "encoder" / "README.md").read_text("utf-8")
    assert all(line.isprintable() for line in card.split("\n")) and r"| 0, 1, 2, 3\x9b2J\n |" in card
    aekit.embed(tmp_path / "run", tmp_path / "d.parquet", out=tmp_path / "emb")
    aekit.build_index(tmp_path / "emb", tmp_path / "idx")
    lines = "data d.parquet", "search idx $'id:0red\\x1b[31m' -k 9", "curate emb -o cur -n 9", "label-errors emb -o err"
    command = "\n".join(f"aekit {line} || exit 1" for line in lines)
    code, output, _ = shell(f"cd {quoted(str(tmp_path))}; {command}")
    assert code == 0
    assert all(line.isprintable() for line in output.decode().splitlines()) and b"\nerror: no" not in output
    assert rb"line\nerror: no" in output and rb"c1\x9b2J" in output and rb"bidi\u202eab" in output


def test_standard_output_is_text_and_bars_steer_standard_error() -> None:
    raw, escaped = "a\x1b[31m\tb\n\x9b \u202e \U000e0041\n", "a\\x1b[31m\tb\n\\x9b \\u202e \\U000e0041\n"
    for number, expected in ((1, escaped), (2, raw)):
        kept, (reading, writing) = os.dup(number), os.pipe()
        try:
            os.dup2(writing, number)
            stream = _streams._text(_streams._Output(number, raises=True), "utf-8")
            stream.write(raw)
            stream.flush()
        finally:
            os.dup2(kept, number)
        assert os.read(reading, 1000).decode() == expected


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    drain = subprocess.Popen(["bash", "-c", "sleep 0.3; wc -c"], stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)
    with _streams._text(_streams._Output(writing, raises=True), "utf-8") as stream:
        stream.write("x" * 10**6)
    os.close(writing)
    assert drain.communicate()[0].strip() == b"1000000"


NAMES = [
    "plain",
    "two words",
    "it's",
    '"',
    "$(touch no)",
    "`no`",
    "a\\b",
    "tab\there",
    "line\nbreak",
    "\x1b[2J",
    "café",
    "*",
]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"caf\xe9 it's \\")])
def test_names_can_be_pasted_into_a_shell(name: str) -> None:
    line = quoted(name)
    assert line.isprintable()
    assert subprocess.run(["bash", "-c", f"printf %s {line}"], capture_output=True).stdout == os.fsencode(name)


def test_the_lines_of_commands() -> None:
    assert command_line("embed", "-run", Path("my data"), o="-x") == "aekit embed ./-run 'my data' -o -x"
    assert (
        command_line("search", "index", "id:3", k=10, html="a b.html")
        == "aekit search index id:3 -k 10 --html 'a b.html'"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write data, a run and embeddings."""
    place = tmp_path_factory.mktemp("made")
    labels = np.repeat(["a", "b"], 20)
    np.savez(place / "data.npz", x=np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32), y=labels)
    settings = {"train.precision": "fp32", "evaluate.evaluators": []}
    aekit.fit(place / "data.npz", dim=2, epochs=1, out=place / "run", report=False, overrides=settings)
    aekit.embed(place / "run", place / "data.npz", out=place / "embeddings")
    return place


WRITING = {
    "fit": ["fit", "data.npz", "--dim", "2", "--epochs", "1", "--no-report", "-o"],
    "finetune": ["finetune", "run", "data.npz", "--epochs", "1", "--no-baselines", "-o"],
    "embed": ["embed", "run", "data.npz", "-o"],
    "index": ["index", "embeddings", "-o"],
    "cluster": ["cluster", "embeddings", "-k", "2", "-o"],
    "map": ["map", "embeddings", "--method", "pca", "-o"],
    "map --html": ["map", "embeddings", "--method", "pca", "--html"],
    "explore": ["explore", "embeddings", "--method", "pca", "-o"],
    "anomalies": ["anomalies", "run", "data.npz", "--no-baselines", "-o"],
    "apply": ["apply", "run", "data.npz", "-o"],
    "export": ["export", "run", "-o"],
    "plugins new": ["plugins", "new", "own", "-o"],
}
ENDINGS = {"map": ".png", "export": ".pt2"}


@pytest.mark.parametrize("name", WRITING)
def test_names_that_cannot_be_written(
    name: str, made: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(made)
    ending, before = ENDINGS.get(name, ""), sorted(made.rglob("*"))
    assert "too long" in command(*WRITING[name], tmp_path / f"{'x' * 300}{ending}").error
    error = command(*WRITING[name], f"data.npz/under{ending}").error
    assert "data.npz/under" in error and "it is a file; expected a folder" in error
    error = command(*WRITING[name], os.fsdecode(bytes(tmp_path / "caf") + b"\xe9" + ending.encode())).error
    assert "caf\\xe9" in error and "the path is not UTF-8" in error
    assert sorted(made.rglob("*")) == before and not list(tmp_path.iterdir())


READING = [
    ["fit", "DATA", "-o", "new"],
    ["tune", "DATA", "-o", "new", "--minutes", "1"],
    ["data", "DATA"],
    ["embed", "run", "DATA", "-o", "new"],
    ["anomalies", "run", "DATA", "-o", "new"],
    ["apply", "run", "DATA", "-o", "new"],
]


@pytest.mark.parametrize("words", READING, ids=lambda words: words[0])
def test_data_whose_path_is_not_utf_8(
    words: list[str], made: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(made)
    data = os.fsdecode(bytes(tmp_path / "caf") + b"\xe9.npy")
    np.save(data, np.zeros((4, 2), np.float32))
    result = command(*[data if word == "DATA" else word for word in words])
    assert result.code == 2 and "not UTF-8" in result.error and "rename the folder or file" in result.error
    assert not (made / "new").exists()


def test_results_only(made: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["embed", made / "run", made / "data.npz", "-o", "my embeddings"]
    assert "next: aekit index 'my embeddings' -o 'my embeddings-index', or aekit evaluate" in command.ok(*arguments)
    assert "next:" not in command.ok(*arguments, "-q")


def test_each_warning_is_shown_once(
    made: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise ValueError("no page")

    monkeypatch.setattr("aekit.workflows.saved_run.run_page", fails)
    for quiet in ([], ["-q"]):
        out = tmp_path / f"run {len(quiet)}"
        outcome = command("fit", made / "data.npz", "-o", out, "--dim", "2", "--epochs", "1", *quiet)
        assert outcome.code == 0
        (line,) = [line for line in outcome.err.splitlines() if "report failed: ValueError: no page" in line]
        assert line.startswith("warning: ") and line.endswith(f"retry with aekit report '{out}'")


# Signals


def test_a_second_signal_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(_signals.os, "_exit", codes.append)
    stop = _signals.Stop()
    with pytest.raises(KeyboardInterrupt):
        stop.interrupt(signal.SIGINT, None)
    assert stop.requested and not codes
    with pytest.raises(KeyboardInterrupt):
        stop.interrupt(signal.SIGINT, None)  # os._exit does not return
    assert codes == [130]


def test_a_signal_that_python_loses_in_a_closed_generator_is_raised_again() -> None:
    program = """
import os, signal, time
from aekit.cli._signals import stopping

def generate():
    try:
        yield
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

with stopping():
    generator = generate()
    next(generator)
    del generator  # in which the exception of the signal is ignored
    try:
        time.sleep(20)
    except KeyboardInterrupt:
        print("stopped")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


def test_signals_that_are_sent_twice_at_once_are_one() -> None:
    # GNU timeout sends SIGTERM to the command and then to its group.
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        stop = _signals.Stop()
        stop.terminate(signal.SIGTERM, None)
        stop.terminate(signal.SIGTERM, None)
        assert len(received) == 1
        time.sleep(1.5 * _signals.ONE_STOP_SECONDS)
        stop.terminate(signal.SIGHUP, None)
        assert len(received) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with _signals.stopping():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert callable(signal.getsignal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interrupt_that_a_library_has_turned_into_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    stop = _signals.Stop()
    stop.requested = True
    assert _main._report(ImportError("cannot import name"), stop) == 130
    assert capfd.readouterr().err == "\nstopped\n"
    with pytest.raises(ImportError):
        _main._report(ImportError("cannot import name"), _signals.Stop())


@pytest.mark.parametrize("signals", [[signal.SIGHUP], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_training_is_stopped(signals: list[signal.Signals], made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["fit", made / "data.npz", "-o", run, "--dim", "2", "--epochs", "1000000", "-q"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from aekit.cli import main; main()", *map(str, arguments)],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    log = run / "log.jsonl"
    deadline = time.monotonic() + 200
    while not (log.exists() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for each in signals:
        process.send_signal(each)
        time.sleep(0.02)
    errors = process.communicate(timeout=100)[1].decode()
    # The second may arrive when the interpreter ends: a shell shows 130 for that too.
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in errors
    if len(signals) == 1:
        assert "resume=True (--resume) continues it" in errors
        assert (run / "checkpoint" / "state.safetensors").exists()


@pytest.mark.parametrize("module", ["aekit.cli", "click.core", "aekit.cli.fit", "numpy", "torch.nn"])
def test_ctrl_c_while_code_is_imported(module: str) -> None:
    """A finder sends the signal when a module is looked for, as its import may take long."""
    code = (
        "import os, signal, sys\nfrom aekit.__main__ import main\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv = ['aekit', 'fit', 'sklearn:iris', '-o', 'out', '--dim', '2', '-q']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr.strip() in ("", "stopped"), done.stderr


# Failures of the machine


def test_an_error_of_python_where_memory_is_short_is_one_of_memory(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SystemError("error return without exception set")

    monkeypatch.setattr("aekit.data.opening.open_data", fail)
    with pytest.raises(SystemError):
        command("data", "sklearn:iris")
    monkeypatch.setattr("aekit.cli._main.free_memory", lambda: 2**20)
    assert command("data", "sklearn:iris").error.startswith("out of memory: 1.0 MiB are free; use less data")


def test_failures_of_the_machine_are_one_line() -> None:
    assert _line(PermissionError(13, "Permission denied", "a.toml")) == "a.toml: Permission denied"
    assert _line(OSError(28, "No space left on device", "from", None, "to")) == "to: No space left on device"
    assert _line(OSError(36, "File name too long", "x" * 300)) == f"{'x' * 197}...: File name too long"
    assert _line(UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed")) == (
        r"caf\udce9: the path is not UTF-8; rename the file or folder"
    )
    torch_error = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12"
    for error in (MemoryError("Unable to allocate 7.45 GiB for an array"), RuntimeError(torch_error)):
        line = _line(error)
        assert line and line.startswith("out of memory") and ("7.45 GiB" in line or "4,096 bytes" in line)
    line = _line(RuntimeError("could not create a primitive"))  # what oneDNN says of memory
    assert line and line.startswith("out of memory; lower ")
    assert _line(RuntimeError("could not create a primitive descriptor for a matmul primitive")) is None
    for bug in (OSError("cannot write mode F as PNG"), RuntimeError("shapes differ"), KeyError("x")):
        assert _line(bug) is None


def _line(error: Exception) -> str | None:
    failure = failure_of_the_machine(error)
    return None if failure is None else str(failure)
