"""Tables as people write them are read as they were meant, in every form, and what goes wrong is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from r_tables import FORMS, trial

import aekit

COUNT = 40
DRAWS = np.random.default_rng(0)
MEASURED = pd.DataFrame(
    {
        "length": DRAWS.normal(5, 1, COUNT),
        "count": DRAWS.integers(0, 900, COUNT),
        "species": DRAWS.choice(["setosa", "virginica"], COUNT),
        "note": [f"no. {number} of them" for number in range(COUNT)],
        "missing": np.where(DRAWS.random(COUNT) < 0.1, np.nan, DRAWS.normal(0, 1e-3, COUNT)),
        "seen": pd.date_range("2024-01-30", periods=COUNT).astype(str),
    }
)


@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_every_column_is_used_or_named(form: str, tmp_path: Path) -> None:
    tables = [("measured", MEASURED), ("a column", MEASURED[["length"]]), ("words", MEASURED[["note"]])]
    figure, wrong = trial(form, tables, tmp_path)
    assert not wrong and (figure.tried, figure.note) == (3, "2 read, 1 refused")


@pytest.mark.reliability
def test_what_goes_wrong_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = MEASURED.assign(count=MEASURED["count"] + 1).drop(columns="species")
    open_data = aekit.open_data
    for table, expected in (
        (changed, ("nobody hears of 'species'", "'count'")),
        (MEASURED[1:], ("39 samples of 40 rows",)),
    ):
        monkeypatch.setattr(aekit, "open_data", lambda path, table=table: open_data(table))
        _, wrong = trial("CSV", [("measured", MEASURED)], tmp_path)
        assert all(text in wrong[0] for text in expected)
