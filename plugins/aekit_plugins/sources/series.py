"""Series in the files of the UCR and UEA archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Unpack

from aekit.plugin import Field, SampleSpec, SeriesOptions, SeriesSource, find_parts, holds_series


class Series(SeriesSource):
    """Series of a .ts file, of ``NAME_TRAIN.ts`` with ``NAME_TEST.ts`` next to it, or of a folder with both; also of the
    archive's text files, ``NAME_TRAIN.tsv`` or ``NAME_TRAIN.txt``.

    Raises:
        DataError: as in `aekit.data.readers.series`.
    """

    looks_for = "series in files such as GunPoint_TRAIN.ts or GunPoint_TRAIN.tsv"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        pair: Annotated[
            bool, Field(description="also read NAME_TEST.ts next to NAME_TRAIN.ts, as the test split")
        ] = True,
        **options: Unpack[SeriesOptions],
    ) -> None:
        files = find_parts(Path(where), pair)
        super().__init__(files, like, **options)
        if len(files) > 1:
            names = " and ".join(path.name for path in files.values())
            self.notes = (f"read together: {names}", *self.notes)

    @staticmethod
    def claims(path: Path) -> bool:
        """Return True for a file of series, or a folder that holds one."""
        return holds_series(path)

    @staticmethod
    def example(folder: Path) -> str:
        """Return an example for the conformance kit to open."""
        from aekit.plugin import write_series

        return str(write_series(folder))
