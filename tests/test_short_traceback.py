"""A notebook shows the frames of the user's code where a function of aekit fails or is stopped."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aekit._arguments import checked_arguments
from aekit._library_files import is_library_file
from aekit._short_traceback import render_traceback
from aekit.errors import DataError, ShortTraceback, Stopped

LIBRARIES = ["/home/me/.local/lib/python3.11/site-packages/x.py", "/usr/lib/python3/dist-packages/x.py", types.__file__]


def calling(module: str, file: str, inner: Callable[[], Any] | None, error: BaseException | None = None) -> Any:
    """Return a function of a module in a file, which calls `inner` or raises an error."""
    names = vars(types.ModuleType(module)) | {"inner": inner, "error": error}
    body = "raise error" if inner is None else "return inner()"
    exec(compile(f"def call():\n    {body}\n", file, "exec"), names)
    return names["call"]


def shown(call: Callable[[], Any], kind: type[ShortTraceback]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return "\n".join(render_traceback(caught.value, in_full=False))


@pytest.mark.parametrize("file", LIBRARIES)
def test_frames_of_libraries_are_left_out_wherever_they_are_installed(file: str) -> None:
    raises = calling("aekit.data.opening", "/any/aekit/opening.py", None, DataError("told"))
    ours = calling("aekit.workflows", "/any/aekit/workflows.py", calling("torch.utils", file, raises))
    page = shown(calling("mine", "/home/me/mine.py", ours), DataError)
    assert "/home/me/mine.py" in page and file not in page and "opening.py" not in page


def test_code_of_the_user_that_aekit_calls_keeps_all_frames() -> None:
    network = calling("network", "/home/me/network.py", None, DataError("told"))
    ours = calling("aekit.workflows", "/any/aekit/workflows.py", network)
    page = shown(calling("mine", "/home/me/mine.py", ours), DataError)
    assert "/home/me/network.py" in page and "workflows.py" in page


def test_a_call_that_is_stopped_within_a_library_shows_the_line_of_the_caller() -> None:
    library = calling("sklearn.manifold", LIBRARIES[0], None, KeyboardInterrupt())
    draw = checked_arguments(calling("aekit.analysis", "/any/aekit/analysis.py", library))
    page = shown(calling("mine", "/home/me/mine.py", draw), Stopped)
    assert "/home/me/mine.py" in page and LIBRARIES[0] not in page and page.rstrip().endswith("Stopped: stopped")
    with pytest.raises(KeyboardInterrupt):  # as programs expect that handle Ctrl-C
        draw()


def test_files_of_the_user_are_no_library(tmp_path: Path) -> None:
    assert not is_library_file(str(tmp_path / "mine.py")) and not is_library_file("<ipython-input-1>")
