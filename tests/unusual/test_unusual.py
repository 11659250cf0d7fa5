"""Every unusual input has the outcome that docs/unusual-inputs.md says."""

from __future__ import annotations

from pathlib import Path

import pytest
from unusual.harness import PAGE, Unusual, page, parameters


@pytest.mark.parametrize("unusual", parameters())
def test_an_unusual_input(unusual: Unusual, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unusual.run(tmp_path)


def test_the_page_lists_them() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/unusual/harness.py --write writes it"
