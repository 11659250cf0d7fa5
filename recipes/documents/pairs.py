"""Writes pairs.csv: damaged pages beside their clean ones, split so that no clean page is in two parts.

    python recipes/documents/pairs.py FOLDER > pairs.csv

FOLDER holds dirty/, clean/ and index.csv with columns ``file`` and ``clean_page``, as in the data set "dirty documents".
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("expected the folder with dirty/, clean/ and index.csv")
    folder = Path(sys.argv[1]).resolve()
    table = csv.writer(sys.stdout)
    table.writerow(["path", "clean", "split"])
    with open(folder / "index.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            part = {2: "validation", 3: "test"}.get(int(row["clean_page"]) % 4, "train")
            table.writerow([folder / "dirty" / row["file"], folder / "clean" / row["file"], part])


if __name__ == "__main__":
    main()
