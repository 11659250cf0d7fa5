"""A command that writes into a bucket goes on after a cut of the connection, and no reader finds half of what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
from remote_faults import sweep_all


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_cuts_lose_and_mix_nothing(tmp_path: Path) -> None:
    (figure,) = sweep_all(tmp_path, step=6, commands=[("embed", True)])
    assert figure.tried >= 2 and figure.wrong == 0
