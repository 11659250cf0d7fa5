"""A command that writes into a bucket goes on after a cut of the connection, and no reader finds half of what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from remote_faults import STORES, sweep_all
from remote_storage import missing


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scheme", STORES)
def test_cuts_lose_and_mix_nothing(scheme: str, tmp_path: Path) -> None:
    if lack := missing(scheme):
        pytest.skip(lack)
    (figure,) = sweep_all(tmp_path, step=6, commands=[("embed", True)], schemes=[scheme])
    assert figure.tried >= 2 and figure.wrong == 0
