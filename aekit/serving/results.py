"""Show finished results of analyses next to an index: duplicates, propagated labels, label errors, what to label next,
anomalies, drift.

The commands have computed them; the server reads their ``page.json`` alone, so that no visitor makes it compute, and a request
names a result by its name in the list. Their samples are found in the index by id and content.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aekit.errors import DataError, first_line, printable
from aekit.index.vector_index import VectorIndex
from aekit.serving.catalog import file_stamp
from aekit.visualization.page import Link, Page, card, preformatted, script_hashes
from aekit.visualization.sample_page import FILE, SamplePage, ShownSample

MAX_RESULTS = 50
"""Results that are listed."""
MAX_BYTES = 32 * 2**20
"""Most bytes of a ``page.json``."""
CACHED_PAGES = 4
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {' '.join(script_hashes())}; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Content security policy of the pages: they load nothing, and only their own scripts run."""
_COMMANDS = """\
aekit duplicates EMBEDDINGS -o results/duplicates
aekit propagate EMBEDDINGS --labels few.csv -o results/propagated
aekit label-errors EMBEDDINGS -o results/label-errors
aekit curate EMBEDDINGS -n 50 -o results/next
aekit anomalies RUN DATA -o results/anomalies
aekit drift EMBEDDINGS NEW -o results/drift
aekit serve INDEX --results results"""


class Results:
    """Results in a folder, which is looked at again at every request.

    Args:
        folder: of a result, or of folders of results; None: no results.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._read = lru_cache(CACHED_PAGES)(_read)
        self._head = lru_cache(MAX_RESULTS)(lambda path, stamp: self._described(path, stamp))

    def entries(self) -> list[dict[str, Any]]:
        """Return the name of each result, and its title, conclusion and severity; or the ``error`` that it cannot be read."""
        files = list(self._files().items())[:MAX_RESULTS]
        return [{"name": name} | self._head(path, file_stamp(path)) for name, path in files]

    def describe(self, name: str, index: VectorIndex) -> dict[str, Any]:
        """Return a result as plain JSON, with the row in the index of each sample, or None.

        Raises:
            DataError: there is no such result, or it cannot be read.
        """
        page, row_of = self._open(name, index)
        described = {"name": name} | page.model_dump(exclude={"format", "thumbnails", "sections"})
        sections = [section.model_dump(exclude={"samples", "narrow"}) for section in page.sections]
        for section, plain in zip(page.sections, sections):
            plain["samples"] = [
                sample.model_dump(exclude={"hash"}) | {"row": row_of(sample)} for sample in section.samples
            ]
        return described | {"sections": sections}

    def html(self, name: str, index: VectorIndex) -> str:
        """Return the page of a result, whose samples lead to their neighbors in the index.

        Raises:
            DataError: there is no such result, or it cannot be read.
        """
        page, row_of = self._open(name, index)
        facts = [name, f"written {datetime.fromtimestamp(self._files()[name].stat().st_mtime):%Y-%m-%d %H:%M}"]
        if count := len(page.samples):
            known = sum(row_of(sample) is not None for sample in page.samples)
            facts.append(f"{known:,} of the {count:,} samples shown are in this index")
        if page.encoder not in (None, index.digest):
            facts.append(f"of another encoder, {page.encoder[:12]}")
        return page.html(subtitle=" · ".join(facts), links=self._links(name), row_of=row_of)

    def list_html(self) -> str:
        """Return the page that lists all results, or says how to make some."""
        count, entries = len(self._files()), self.entries()
        subtitle = (
            f"{len(entries)} of {count:,}, by name." if len(entries) < count else "What analyses of this data say."
        )
        page = Page("Results", subtitle, links=self._links(""))
        for entry in entries:
            name = entry["name"]
            if "error" in entry:
                page.add("", card(name, entry["error"]))
            else:
                link = f'<p><a href="{escape(_address(name))}">Show the samples in {escape(name)}</a></p>'
                page.add("", card(entry["title"], entry["conclusion"], link))
        if not entries:
            how = "There are no results yet. These commands write some; the server shows what the folder holds."
            page.add("", card("", how, preformatted(_COMMANDS)))
        return page.html()

    def _files(self) -> dict[str, Path]:
        """Return name -> ``page.json`` of each result, by name."""
        if self._folder is None:
            return {}
        try:
            if _is_plain(self._folder / FILE):
                return {self._folder.resolve().name: self._folder / FILE}
            folders = sorted(path for path in self._folder.iterdir() if not path.name.startswith("."))
        except OSError:
            return {}
        return {path.name: path / FILE for path in folders if not path.is_symlink() and _is_plain(path / FILE)}

    def _open(self, name: str, index: VectorIndex) -> tuple[SamplePage, Callable[[ShownSample], int | None]]:
        """Return the page of a result, and the row in the index of each of its samples."""
        path = self._files().get(name)
        if path is None:
            raise DataError(f"no result {printable(repr(name))}")
        page = self._read(path, file_stamp(path))
        wanted = {sample.id for sample in page.samples}
        rows = {str(sample): row for row, sample in enumerate(index.ids) if str(sample) in wanted}
        hashes = {sample: index.metadata["hash"][row].as_py() for sample, row in rows.items()}

        def row_of(sample: ShownSample) -> int | None:
            # Precomputed vectors have their id in place of a content: they are the same if all vectors are.
            is_told = sample.hash != sample.id or page.encoder == index.digest
            return rows[sample.id] if is_told and sample.hash and hashes.get(sample.id) == sample.hash else None

        return page, row_of

    def _links(self, current: str) -> list[Link]:
        entries = [entry for entry in self.entries() if "error" not in entry]
        titles = Counter(entry["title"] for entry in entries)
        links = [Link("Search", "/"), Link("Results", "/results", not current)]
        for entry in entries:
            name, title = entry["name"], entry["title"]
            text = title if titles[title] == 1 else f"{title}: {name}"
            links.append(Link(text, _address(name), name == current))
        return links

    def _described(self, path: Path, stamp: tuple[int, int]) -> dict[str, Any]:
        try:
            return self._read(path, stamp).model_dump(include={"title", "conclusion", "severity"})
        except DataError as error:
            return {"error": str(error)}


def _address(name: str) -> str:
    return f"/results/{quote(name, safe='')}"


def _is_plain(path: Path) -> bool:
    """Return whether a path is a file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _read(path: Path, stamp: tuple[int, int]) -> SamplePage:
    """Read a page as it is at a `file_stamp`.

    Raises:
        DataError: it cannot be read, or is not the page of an analysis.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{printable(where)}: has more than {MAX_BYTES:,} bytes")
        return SamplePage.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{printable(where)}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{printable(where)}: is not the page of an analysis ({first_line(error)})") from None
