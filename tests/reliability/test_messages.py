"""Whatever worker processes say, results are right, or there is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="serving needs the extra 'serve'")

from messages import RECEIVERS, trials


@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_what_workers_should_not_say_changes_nothing(every: int, tmp_path: Path) -> None:
    tried = dict.fromkeys(RECEIVERS, 0)
    for receiver, count, wrong in trials(tmp_path, 1, every):
        assert not wrong, wrong
        tried[receiver] = count
    assert tried == {receiver: len(kinds[::every]) for receiver, kinds in RECEIVERS.items()}
