"""Workers that are killed while they embed cost nothing and double nothing; tests/encoder/test_engines.py has a short form."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run_trials


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_killed_workers_change_nothing(engine: str, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    (result,) = run_trials(Path(__file__).with_name("worker_kills.py"), tmp_path, 7, engine)
    assert result["killed"] == 7 and not result["wrong"], result
