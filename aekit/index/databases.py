"""Base of the engines that keep vectors in a database: what the folder holds, and what is said when the database fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from aekit.errors import DataError, IdentityError, first_line
from aekit.index.vector_index import Index


class DatabaseIndex(Index):
    """Keep vectors in a database. The file in the index folder holds the name of a table or collection alone, never the
    connection: so no password is written, and the index of a stranger connects to no other server.

    Attributes:
        name: name of the table or collection.
        digest: digest of the encoder, which is kept beside the vectors.
    """

    external = True
    engine: ClassVar[str]
    """Name of the plugin."""
    holder: ClassVar[str]
    """What a name names: ``table`` or ``collection``."""
    pattern: ClassVar[str]
    """Regular expression of the names that aekit gives."""
    connection: ClassVar[str]
    """Environment variable of the connection."""
    libraries: ClassVar[tuple[str, ...]]
    """Packages whose errors are those of the database."""

    name: str = ""
    digest: str = "0" * 64

    def keep_digest(self, digest: str) -> None:
        self.digest = digest

    def write_name(self, path: Path) -> None:
        """Write the file of the folder."""
        path.write_text(json.dumps({self.holder: self.name}) + "\n", "utf-8")

    def read_name(self, content: bytes, place: Path) -> str:
        """Return the name in the content of the file of a folder.

        Raises:
            IdentityError: it holds no name that aekit gives.
        """
        try:
            name = json.loads(content)[self.holder]
        except (ValueError, KeyError, TypeError):
            name = None
        if not isinstance(name, str) or not re.fullmatch(self.pattern, name):
            raise IdentityError(f"{place}: is damaged: names no {self.holder} of aekit; build the index again")
        return name

    def missing(self, path: Path) -> IdentityError:
        """Return the error for a name that the database does not know."""
        return IdentityError(f"{path.parent}: the database has no {self.holder} {self.name}; build the index again")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the database into one line.

        Raises:
            DataError: the server cannot be reached, refuses the user, or fails.
        """
        try:
            yield
        except Exception as error:
            if not type(error).__module__.startswith(self.libraries):
                raise
            advice = f"is {self.connection} right?"
            raise DataError(f"index engine {self.engine}: {first_line(error)}; {advice}") from None
