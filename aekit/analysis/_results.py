"""Base of the results of analyses: a conclusion in words, a table of the samples, plain JSON and an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from aekit.io.atomic import write_json
from aekit.io.csv_files import write_csv
from aekit.io.summaries import data_frame, html_summary
from aekit.visualization.sample_page import SamplePage

FORMAT = 1


class AnalysisResult(ABC):
    """Base of results of analyses.

    Attributes:
        stem: name of the files of the table and the summary, without ending.
        notes: lines about what was left out or drawn.
        image: drawing, or None.
        page: its conclusion and the samples behind it, as a page; None if it has none.
    """

    stem: ClassVar[str]
    notes: Sequence[str] = ()
    image: Image.Image | None
    page: SamplePage | None = None

    @abstractmethod
    def conclusion(self) -> str:
        """Return the result as a sentence without its full stop."""

    @abstractmethod
    def details(self) -> Iterable[str]:
        """Return the lines of the text below the conclusion."""

    @abstractmethod
    def table(self) -> list[dict[str, Any]]:
        """Return the rows that a notebook shows."""

    @abstractmethod
    def columns(self) -> Mapping[str, Any]:
        """Return name -> column of the table of the samples; ``id`` is the first."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return the facts about the whole result, rather than about a sample, as plain JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON, with the digest of the encoder where there is one."""
        digest = getattr(self, "digest", None)
        return {
            "format": FORMAT,
            **({"encoder": digest} if digest else {}),
            **self.summary(),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Return the conclusion, the details and the notes."""
        return "\n".join([f"{self.conclusion()}.", *self.details(), *self.notes])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return html_summary(f"{self.conclusion()}.", self.notes, self.table(), image=self.image)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row per sample: id as the index, and the other columns of the table."""
        return data_frame(dict(self.columns())).set_index("id")

    def save(self, folder: Path) -> None:
        """Write the table as ``.csv``, the summary as ``.json``, ``image.png`` and the page, into an existing folder."""
        write_columns(folder / f"{self.stem}.csv", self.columns())
        write_json(folder / f"{self.stem}.json", self.to_dict())
        if self.image is not None:
            self.image.save(folder / "image.png")
        if self.page is not None:
            self.page.save(folder)


def write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal lengths as CSV, fractions with six digits."""
    rows = zip(*(column.tolist() if isinstance(column, np.ndarray) else column for column in columns.values()))
    with path.open("w", encoding="utf-8", newline="") as file:
        cells = ([f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows)
        write_csv(file, list(columns), cells)
