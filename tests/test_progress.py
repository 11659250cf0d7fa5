"""Where progress is shown: on a terminal, in a notebook, or as lines where it is asked for; and what warnings point at."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress

import aekit
from aekit import progress
from aekit.progress import SILENT, Progress, warn
from aekit.progress_display import Bars, Lines, NotebookBars, bar_columns, open_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Display:
    """Stands in for IPython: keeps the HTML that is on display, and the text for pages without it."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.texts: list[str] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw and display_id
        number = len(self.shown)
        self.shown.append(data["text/html"])
        self.texts.append(data["text/plain"])

        def update(new: dict[str, str], *, raw: bool) -> None:
            assert raw
            self.shown[number], self.texts[number] = new["text/html"], new["text/plain"]

        return SimpleNamespace(update=update)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    shown = Display()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.display))
    return shown


def test_it_is_silent_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert open_progress(None) is SILENT and open_progress(False) is SILENT
    assert isinstance(open_progress(True), Lines)


def test_a_terminal_has_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(open_progress(None), Bars) and isinstance(open_progress(True), Bars)
    assert open_progress(False) is SILENT


def test_a_receiver_is_used_as_it_is() -> None:
    mine = Progress()
    assert open_progress(mine) is mine


def test_python_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    assert open_progress(None) is SILENT


def test_a_shell_without_a_kernel_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace()))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert open_progress(None) is SILENT


def test_a_process_that_a_notebook_started_shows_nothing(notebook: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_progress(None), NotebookBars)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())  # a fork, with a copy of the kernel
    assert open_progress(None) is SILENT


def test_a_notebook_shows_choices_and_bars(notebook: Display, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5))
    encoder = aekit.fit(rows, dim=2, epochs=1, backbone="linear")
    encoder.embed(rows)
    captured = capsys.readouterr()
    assert "data: 40 samples" in captured.out and not captured.err, "standard error looks like a failure in a notebook"
    assert [bar.partition("<code>")[2].partition(":")[0] for bar in notebook.shown] == ["read", "fit", "embed"]
    assert 'value="40" max="40"' in notebook.shown[-1] and "40 of 40 samples" in notebook.shown[-1]
    before = len(notebook.shown)
    encoder.embed(rows, progress=False)
    assert len(notebook.shown) == before and not capsys.readouterr().out


def test_a_bar_in_a_notebook_escapes_its_text(notebook: Display) -> None:
    with NotebookBars().task("<b>", None, "<i>") as task:
        task.advance(1, "<script>")
    assert "<b>" not in notebook.shown[0] and "<script>" not in notebook.shown[0]
    assert "&lt;script&gt;" in notebook.shown[0]
    assert notebook.texts[0].startswith("<b>: 1 <i>") and "<script>" in notebook.texts[0]


def test_a_bar_is_drawn_at_its_end_after_an_error(notebook: Display) -> None:
    with pytest.raises(RuntimeError), NotebookBars().task("read", 10) as task:
        task.advance(3)
        raise RuntimeError
    assert 'value="3"' in notebook.shown[0]


def test_a_warning_points_at_the_line_that_called_aekit() -> None:
    with pytest.warns(UserWarning, match="something") as issued:
        warn("something")
    assert issued[0].filename == __file__


@pytest.mark.parametrize("width", [20, 32, 40, 50, 60, 80, 120])
def test_a_bar_shows_how_far_it_is_on_narrow_terminals(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    bar = RichProgress(*bar_columns(width), console=console)
    bar.add_task("fit", total=1600, completed=400, rate="804 samples/s", note="epoch 1 loss 554.5")
    console.print(bar.get_renderable())
    (line,) = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert line.startswith("   fit ") and "400/1600" in line and len(line) <= width
    assert ("left -:--:--" in line) == (width >= 30) and ("loss 554.5" in line) == (width >= 50)


def test_a_pause_does_not_count_in_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress.WorkingTime, "continued", 50.0)  # before the task began
    with Lines().task("fit", 400) as task:
        for clock[0] in (101.0, 102.0):
            task.advance(10)
        monkeypatch.setattr(progress.WorkingTime, "continued", 30_000.0)
        for clock[0] in (30_001.0, 30_002.0):
            task.advance(10)
        assert task.text() == "fit: 40 of 400 samples, 10/s, 4.0 s, 36.0 s left"  # type: ignore[attr-defined]


def test_the_end_of_a_pause_is_noticed() -> None:
    program = """
import os, signal
from aekit.cli._signals import stopping
from aekit.progress import WorkingTime

with stopping():
    before = WorkingTime.continued
    os.kill(os.getpid(), signal.SIGCONT)
    print(before, WorkingTime.continued > 0, signal.getsignal(signal.SIGCONT) != signal.SIG_DFL)
print(signal.getsignal(signal.SIGCONT) == signal.SIG_DFL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("-inf True True\nTrue\n", "")


class _Broken(io.StringIO):
    """A stream whose reader, disk or terminal is gone, after the first `left` writes."""

    def __init__(self, error: Exception, left: int, is_terminal: bool) -> None:
        super().__init__()
        self.error, self.left, self.is_terminal = error, left, is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        if self.left < 0:
            raise self.error


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("left", [0, 2])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OSError(5, "Input/output error"), BrokenPipeError()]
)
def test_messages_that_cannot_be_written_stop_no_work(
    error: Exception, left: int, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    broken = _Broken(error, left, is_terminal)
    monkeypatch.setattr(sys, "stderr", broken)
    shown = open_progress(True)
    assert isinstance(shown, Bars if is_terminal else Lines)
    shown.say("chosen")
    with shown.task("read", 10) as task:
        task.advance(5)
        shown.say("left out")
        task.advance(5)
    assert broken.left < 0, "it was written to after it broke"
