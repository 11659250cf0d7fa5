"""Show an error of the user's in a notebook with the frames of the user's code, and without those of aekit."""

from __future__ import annotations

import copy
import sys
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType

from aekit._library_files import is_library_file

_OURS = ("aekit", "aekit_plugins")


def render_traceback(error: BaseException, in_full: bool) -> list[str]:
    """Return the lines of a traceback for IPython, in the mode and the colors of its session.

    Frames end at the call of aekit, and what caused the error is left out: its message is one line that says what to do. An error
    that passed through the user's code again, such as a network of the session, keeps all frames, as it may be about that code.

    Args:
        error: an error that was raised.
        in_full: whether to keep all frames in any case.
    """
    trace = error.__traceback__
    if not in_full and not _calls_back(error):
        error, trace = copy.copy(error), _until_call(trace)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return traceback.format_exception(type(error), error, trace)
    lines: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, trace)
    return lines


def _until_call(trace: TracebackType | None) -> TracebackType | None:
    """Return a copy of a traceback up to the first frame of aekit; of all frames if it begins in aekit."""
    frames = []
    for step in _steps(trace):
        if _is_ours(step.tb_frame):
            break
        frames.append(step)
    short = None
    for step in reversed(frames):
        short = TracebackType(short, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return short or trace


def _calls_back(error: BaseException) -> bool:
    """Return whether code that is neither aekit's nor installed was called by aekit on the way to the error or its cause."""
    link: BaseException | None = error
    inside = False
    while link is not None:
        for step in _steps(link.__traceback__):
            inside = inside or _is_ours(step.tb_frame)
            if inside and not _is_ours(step.tb_frame) and not is_library_file(step.tb_frame.f_code.co_filename):
                return True
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return False


def _steps(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS
