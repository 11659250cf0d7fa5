"""Calls that overlap in two threads leave what the process shares as it was before both."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import ThreadpoolController

from aekit.data.readers._image_files import quiet_pillow
from aekit.evaluation._concurrency import BLAS_THREADS, computing_threads, concurrently
from aekit.registry.discovery import prints_to_stderr
from aekit.shared_settings import SharedSetting, warning_rules
from aekit.workflows.exporting import _quiet


def blas_threads() -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]


def state() -> dict[str, Any]:
    return {
        "stdout": sys.stdout,
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "pixels": Image.MAX_IMAGE_PIXELS,
        "blas": blas_threads(),
        "variable": os.environ.get(BLAS_THREADS),
    }


@contextmanager
def overlapping(make: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Enter two contexts, and leave the first before the second, as two threads may."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(make())
    second.enter_context(make())
    first.close()
    yield
    second.close()


CONTEXTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "prints": prints_to_stderr,
    "warnings": lambda: warning_rules(("ignore", "", DeprecationWarning)),
    "images": lambda: quiet_pillow(3),
    "threads": lambda: computing_threads(1),
    "evaluators": lambda: concurrently(2),
    "export": _quiet,
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_overlapping_contexts_restore_what_the_first_found(name: str) -> None:
    before = state()
    with overlapping(CONTEXTS[name]):
        assert state() != before
    assert state() == before


def test_the_setting_of_the_last_to_enter_applies_until_it_leaves() -> None:
    values = [0]
    setting = SharedSetting(lambda: values[-1], values.append)
    with setting.changed_to(1):
        with setting.changed_to(2):
            assert values[-1] == 2 and setting.is_changed
        assert values[-1] == 1
    assert values[-1] == 0 and not setting.is_changed


def test_the_fewest_threads_apply() -> None:
    values = [8]
    setting = SharedSetting(lambda: values[-1], values.append, min)
    with setting.changed_to(1), setting.changed_to(4):
        assert values[-1] == 1
    assert values[-1] == 8


def shown(category: type[Warning]) -> str:
    """Return what the filters do with a warning."""
    show, seen = warnings.showwarning, []
    warnings.showwarning = lambda *args, **kwargs: seen.append(args)  # `catch_warnings` would change the filters
    try:
        warnings.warn_explicit("said", category, "file.py", 1)
    except Warning:
        return "raised"
    finally:
        warnings.showwarning = show
    return "shown" if seen else "ignored"


def test_rules_end_with_their_context_and_keep_their_order() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with warning_rules(("ignore", "", Warning), ("error", "", UserWarning)):
            assert (shown(UserWarning), shown(FutureWarning)) == ("raised", "ignored")
            with warning_rules(("ignore", "", Warning)):
                assert (shown(UserWarning), shown(FutureWarning)) == ("ignored", "ignored")
            assert (shown(UserWarning), shown(FutureWarning)) == ("raised", "ignored")
            with warning_rules(("always", "", FutureWarning)):
                assert shown(FutureWarning) == "shown"
            assert shown(FutureWarning) == "ignored"
        assert (shown(UserWarning), shown(FutureWarning)) == ("shown", "shown")


def test_what_a_library_leaves_in_the_filters_is_undone() -> None:
    before = list(warnings.filters)
    with warning_rules():
        warnings.simplefilter("ignore")
    assert list(warnings.filters) == before


def test_hidden_output_of_a_library_comes_back_after_two_threads() -> None:
    code = """
import os
from contextlib import ExitStack
from aekit.io.library_output import library_output_hidden
first, second = ExitStack(), ExitStack()
first.enter_context(library_output_hidden()); second.enter_context(library_output_hidden())
first.close(); os.write(2, b"hidden "); second.close(); os.write(2, b"shown")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "shown"
