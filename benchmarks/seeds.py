"""The figures of several runs of one recipe, which differ in their seed, side by side.

    python benchmarks/seeds.py runs/seed-0 runs/seed-1 runs/seed-2

For each evaluator and each subject: the mean over runs, the standard deviation, and the lowest and the highest end of any
run's 95 % bootstrap interval. Two subjects are called apart only if these outermost ends do not overlap.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path


def main() -> None:
    folders = [Path(name) for name in sys.argv[1:]]
    if not folders:
        sys.exit("expected run folders, such as runs/seed-0 runs/seed-1")
    runs = [json.loads((folder / "results.json").read_text("utf-8")) for folder in folders]
    print(f"{len(runs)} runs, seeds {', '.join(str(run['recipe']['train']['seed']) for run in runs)}")
    print(f"trained in {', '.join(format(run['trained']['seconds'], 'g') for run in runs)} s")
    subjects = list(runs[0]["evaluation"]["results"])
    for name in runs[0]["evaluation"]["results"]["encoder"]:
        metric = next(iter(runs[0]["evaluation"]["results"]["encoder"][name]["metrics"]))
        print(f"\n{name} {metric:12}   mean      sd   outermost interval")
        ends = {}
        for subject in subjects:
            found = [run["evaluation"]["results"][subject][name]["metrics"][metric] for run in runs]
            values = [figure["value"] for figure in found]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            ends[subject] = min(f["low"] for f in found), max(f["high"] for f in found)
            low, high = ends[subject]
            print(f"  {subject:20} {statistics.mean(values):.4f}  {spread:.4f}   [{low:.4f}, {high:.4f}]")
        apart = [s for s in subjects if s != "encoder" and ends["encoder"][0] > ends[s][1]]
        print(f"  the encoder's interval lies above that of: {', '.join(apart) or 'none'}")


if __name__ == "__main__":
    main()
