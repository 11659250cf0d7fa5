"""Show what an analysis says and the samples behind it: as data, which `aekit serve` shows too, and as a page of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from aekit.io.atomic import write_text
from aekit.io.manifest_models import Manifest, Sha256
from aekit.visualization.page import Link, Page, card, figure, gallery, headline, sentences, side_by_side, table
from aekit.visualization.sprite_sheets import SpriteSheet

FILE, PAGE = "page.json", "report.html"
_MAX_ENTRIES = 10_000
"""Most entries of a list that is read from a file."""
_NARROW, _NARROW_CELL, _CELL, _PAIR = 330, 100, 130, 260
"""Least widths in pixels of a card beside others, of a thumbnail in it, of other ones, and of those twice as wide as high."""


class ShownSample(Manifest):
    """A sample on a page.

    Attributes:
        id: its name.
        hash: hash of its content, which tells it from another sample with the same id; "" if it is not known.
        title, caption: lines below it.
        kind: ``keep`` for the one to keep of its group, ``wrong`` for one that is marked, or "".
    """

    id: str
    hash: str = ""
    title: str = ""
    caption: str = ""
    kind: Literal["", "keep", "wrong"] = ""


class Section(Manifest):
    """Samples and a table under a title.

    Attributes:
        title: its heading.
        remark: a sentence below it.
        samples: in the order to be shown.
        table: rows of a table, name -> value.
        narrow: whether it stands beside others.
    """

    title: str
    remark: str = ""
    samples: list[ShownSample] = Field(default=[], max_length=_MAX_ENTRIES)
    table: Sequence[Mapping[str, str | int | float | None]] = Field(default=[], max_length=_MAX_ENTRIES)
    narrow: bool = False


_Size = Annotated[int, Field(ge=1, le=2**14)]


class ImageThumbnails(Manifest):
    """Thumbnails as `SpriteSheet.described` has those of images."""

    kind: Literal["images"]
    uri: Annotated[str, StringConstraints(pattern=r"^data:image/(webp|png);base64,[A-Za-z0-9+/]+=*$")]
    width: _Size
    height: _Size
    columns: _Size


class NumericThumbnails(Manifest):
    """Thumbnails as `SpriteSheet.described` has those of lines and bars."""

    kind: Literal["lines", "bars"]
    values: str
    channels: _Size
    points: _Size
    zero: float


Thumbnails = ImageThumbnails | NumericThumbnails


def thumbnails_of(sheet: SpriteSheet) -> Thumbnails:
    """Return the thumbnails of a page."""
    model = ImageThumbnails if sheet.described["kind"] == "images" else NumericThumbnails
    return model(**sheet.described)


class SamplePage(Manifest):
    """The result of an analysis.

    Attributes:
        title: kind of analysis.
        conclusion: its result in a sentence or two.
        severity: ``good``, ``notice`` or ``bad``.
        notes: remarks.
        encoder: digest of the encoder, or None.
        sections: the samples behind the conclusion.
        thumbnails: of the samples of all sections, in order; None if they are not available.
    """

    format: Literal[1] = 1
    title: str
    conclusion: str
    severity: Literal["good", "notice", "bad"]
    notes: list[str] = Field(default=[], max_length=_MAX_ENTRIES)
    encoder: Sha256 | None = None
    sections: list[Section] = Field(default=[], max_length=_MAX_ENTRIES)
    thumbnails: Annotated[Thumbnails, Field(discriminator="kind")] | None = None

    @property
    def samples(self) -> list[ShownSample]:
        """The samples of all sections."""
        return [sample for section in self.sections for sample in section.samples]

    def save(self, folder: Path) -> None:
        """Write ``page.json`` and ``report.html`` into an existing folder."""
        write_text(folder / FILE, self.model_dump_json())
        write_text(folder / PAGE, self.html())

    def html(
        self,
        *,
        subtitle: str = "",
        links: Sequence[Link] = (),
        row_of: Callable[[ShownSample], int | None] = lambda sample: None,
    ) -> str:
        """Return the HTML of the page.

        Args:
            subtitle: below the title.
            links: to other pages.
            row_of: returns the row of a sample in the index that is served, or None; a sample with a row is a link to its
                neighbors.
        """
        page, cards = Page(self.title, subtitle, links=links), list[tuple[Section, str, list[int]]]()
        page.add("", headline(self.conclusion, self.severity), sentences(self.notes))
        thumbnails = self._draw_thumbnails(page)
        for section in self.sections:
            rows = [row_of(sample) for sample in section.samples]
            drawn = self._draw(section, rows, thumbnails)
            selected = [row for row, sample in zip(rows, section.samples) if row is not None and sample.kind != "keep"]
            link = "" if section.narrow else _selection(selected)
            cards.append((section, card(section.title, section.remark, link, drawn, table(section.table)), selected))
        for are_narrow, group in groupby(cards, key=lambda part: part[0].narrow):
            parts = list(group)
            if are_narrow:
                rows_of_all = [row for _, _, selected in parts for row in selected]
                page.add("", _selection(rows_of_all, "all but those to keep"))
                page.add("", side_by_side(*(drawn for _, drawn, _ in parts), least=_NARROW))
            else:
                page.add("", *(drawn for _, drawn, _ in parts))
        return page.html()

    @property
    def _aspect(self) -> float:
        return self.thumbnails.width / self.thumbnails.height if isinstance(self.thumbnails, ImageThumbnails) else 1.6

    def _draw_thumbnails(self, page: Page) -> Iterator[str]:
        """Yield the thumbnail of each sample of the sections, in order; "" where there are none."""
        sheet = None if self.thumbnails is None else SpriteSheet(self.thumbnails.model_dump(), self._aspect)
        for number, sample in enumerate(self.samples):
            yield "" if sheet is None else page.thumbnail(sheet, number, sample.id)

    def _draw(self, section: Section, rows: Sequence[int | None], thumbnails: Iterator[str]) -> str:
        """Draw the samples of a section; without thumbnails as a list of their names."""
        if not section.samples:
            return ""
        figures, lines = [], []
        for sample, row, thumbnail in zip(section.samples, rows, thumbnails):
            address = "" if row is None else f"/#row={row}"
            lines_below = {"title": sample.title, "caption": sample.caption, "path": sample.id}
            figures.append(figure(thumbnail, **lines_below, kind=sample.kind, href=address))
            name = f'<a href="{address}">{escape(sample.id)}</a>' if address else escape(sample.id)
            lines.append(" · ".join([name, *(escape(text) for text in (sample.title, sample.caption) if text)]))
        if self.thumbnails is None:
            return f'<ul class="sentences">{"".join(f"<li>{line}</li>" for line in lines)}</ul>'
        cell = _NARROW_CELL if section.narrow else _PAIR if self._aspect >= 1.8 else _CELL
        return gallery(figures, wide=self._aspect, cell=cell, whole_lines=True)


def _selection(rows: Sequence[int], remark: str = "") -> str:
    """Return a link that selects rows on the page of the search; "" without rows."""
    selected = list(dict.fromkeys(rows))
    if not selected:
        return ""
    text = "Select this sample" if len(selected) == 1 else f"Select these {len(selected):,} samples"
    text += f" ({remark})" if remark else ""
    return f'<p><a href="/#rows={",".join(map(str, selected))}">{text}</a></p>'
