"""Series in files: the .ts files of the UCR and UEA archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from aekit.plugin import (
    Field,
    LengthOption,
    MissingOption,
    SampleSpec,
    SeriesSource,
    UnequalOption,
    find_parts,
    holds_series,
)


class Series(SeriesSource):
    """A .ts file, ``NAME_TRAIN.ts`` with the ``NAME_TEST.ts`` beside it, or a folder of both.

    Raises:
        DataError: as `aekit.data.readers.series`.
    """

    looks_for = "series in .ts files such as GunPoint_TRAIN.ts"

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        length: LengthOption = "auto",
        unequal: UnequalOption = "stretch",
        missing: MissingOption = "skip",
        pair: Annotated[
            bool, Field(description="NAME_TEST.ts beside NAME_TRAIN.ts is read too, as the test split")
        ] = True,
    ) -> None:
        files = find_parts(Path(where), pair)
        super().__init__(files, like, length, unequal, missing)
        if len(files) > 1:
            names = " and ".join(path.name for path in files.values())
            self.note = "; ".join(filter(None, [f"{names} are read together", self.note]))

    @staticmethod
    def claims(path: Path) -> bool:
        """Whether it is a .ts file of series, or a folder that holds one."""
        return holds_series(path)

    @staticmethod
    def example(folder: Path) -> str:
        """What the conformance kit opens."""
        from aekit.plugin import write_series

        return str(write_series(folder))
