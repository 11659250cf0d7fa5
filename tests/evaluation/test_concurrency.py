"""Evaluators side by side: no library starts threads within the threads of another."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import numpy as np
import aekit

rng = np.random.default_rng(0)
classes = rng.integers(0, 10, 9000)
rows = (0.5 * rng.normal(size=(10, 196))[classes] + rng.normal(size=(9000, 196))).astype("f4")
aekit.evaluate(rows, classes, evaluators="kmeans", baselines=False, checks=False, progress=False)
"""


def test_openblas_starts_no_threads_within_those_of_openmp() -> None:
    """It may hang, and says so: in a process whose first BLAS call is that of an evaluator."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and "OpenMP Loop" not in done.stderr, done.stderr[:500]
