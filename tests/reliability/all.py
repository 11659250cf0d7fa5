"""Run every reliability suite in full, one after another, and write docs/reliability.md.

``python tests/reliability/all.py [FOLDER]`` keeps what the suites write in FOLDER; by default in a temporary one. Hours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import PAGE, SUITES, page

HERE = Path(__file__).parent


def main() -> int:
    """Run all suites; return the number of those that failed to run."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="aekit-reliability-")).absolute()
    environment, failed = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}, 0
    for name, suite in SUITES.items():
        place = folder / name.split("-")[0]  # the suites of kills share what they start from
        place.mkdir(parents=True, exist_ok=True)
        script, *arguments = suite.command.replace("FOLDER", str(place)).split()
        print(f"{suite.title}: python tests/reliability/{script} {' '.join(arguments)}", flush=True)
        failed += (
            subprocess.run([sys.executable, str(HERE / script), *arguments], env=environment, check=False).returncode
            != 0
        )
    PAGE.write_text(page(), "utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
