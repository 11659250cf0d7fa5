"""Test the display of progress on a terminal."""

from __future__ import annotations

import pytest

from aekit.cli.console import Bars


def test_lines_that_arrive_while_a_bar_is_drawn_stand_above_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich draw as on a terminal
    monkeypatch.setenv("TERM", "xterm")
    progress, line = (
        Bars(),
        "fit: about 12 min [brackets] (100 epochs, 1,000 steps; train.epochs lowers it), and more words",
    )
    progress.say("before")
    with progress.task("fit", 100) as task:
        task.advance(50)
        progress.say(line)
        task.advance(50)
    progress.say("after")
    drawn = capsys.readouterr().err
    assert drawn.startswith("before\n") and drawn.endswith("after\n")
    assert f"\r\x1b[2K{line}\n" in drawn, "the line of the bar is erased before, and the line is whole"
