"""Run the short benchmarks one after the other, and write what they print into RESULTS.md, with the machine and the versions.

    python benchmarks/results.py [--only startup,peers] [--limit 600]

AEKIT_DATA must hold the data. Nothing else should run meanwhile. A benchmark that fails, or takes longer than the limit in
seconds, is named with the reason. With --only, the other sections stay as they are.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "RESULTS.md"
COMMANDS = {
    "startup": "startup.py --repeats 3",
    "fit": "fit.py --repeats 5 --samples 6400 --backbones mlp",
    "fit-conv": "fit.py --repeats 3 --samples 3200 --backbones conv",
    "fit-bf16": "fit.py --repeats 3 --samples 6400 --precision bf16 --backbones mlp",
    "embed": "embed.py --images 192 --rows 200000 --cpu-time",
    "probe": "probe.py --samples 6000 --width 64 --strengths 9 --every 4",
    "scaling": "scaling.py --largest 10000",
    "index-choices": "index_choices.py --counts 10000 100000",
    "peers": "peers.py --repeats 3 --only pythae,pyod,scikit-learn",
    "peers-photographs": "peers.py --repeats 2 --only timm",
    "peers-contrastive": "peers.py --repeats 1 --only lightly",
}
"""Section -> a script of this folder with its arguments."""
LIBRARIES = ("torch", "torchvision", "numpy", "faiss-cpu", "scikit-learn", "timm", "pythae", "pyod", "lightly")
_SECTION = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def machine() -> list[str]:
    """Return lines on the processor, its cores and instructions, the memory and the system."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return [f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}"]
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    flags = set(cpuinfo[cpuinfo.index("flags") :].partition("\n")[0].split()) if "flags" in cpuinfo else set()
    kinds = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores ({', '.join(kinds) or 'no AVX2'}), "
        f"{memory:.0f} GiB, {platform.system()} {platform.release()}"
    ]


def versions() -> str:
    known = []
    for name in LIBRARIES:
        try:
            known.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            known.append(f"{name} is not installed")
    return f"Python {platform.python_version()}, " + ", ".join(known)


def run(arguments: str, limit: float) -> str:
    """Run a benchmark; return the text of its section."""
    # Cached bytecode, as an installed package has it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    script, *options = arguments.split()
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / script), *options],
            capture_output=True, text=True, timeout=limit, env=environment,
        )  # fmt: skip
        output = done.stdout.rstrip()
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            output += f"\nfailed with exit code {done.returncode}: {reason}"
    except subprocess.TimeoutExpired as stopped:
        printed = stopped.stdout or b""
        output = (printed.decode() if isinstance(printed, bytes) else printed).rstrip()
        output += f"\nstopped after {limit:.0f} s"
    output = output.strip("\n")
    threads = os.environ.get("OMP_NUM_THREADS")
    variables = f"OMP_NUM_THREADS={threads} " if threads else ""
    load = f"load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown load"
    what = f"{date.today()}, {time.monotonic() - started:.0f} s, {load} at the end"
    return f"`{variables}python benchmarks/{arguments}` ({what})\n\n```\n{output}\n```\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(COMMANDS), help="sections, separated by commas")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a benchmark may take")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - COMMANDS.keys():
        sys.exit(f"--only {','.join(sorted(unknown))}: no such section; expected {', '.join(COMMANDS)}")
    before = PAGE.read_text("utf-8") if PAGE.exists() else ""
    sections = {name: text.strip() + "\n" for name, text in _SECTION.findall(before)}
    for name in chosen:
        print(f"{name}: benchmarks/{COMMANDS[name]}", flush=True)
        sections[name] = run(COMMANDS[name], arguments.limit)
        head = [
            "# Results of the benchmarks",
            "`python benchmarks/results.py` wrote this page. What was tried to get here is in [NOTES.md](NOTES.md).",
            *machine(),
            versions(),
        ]
        parts = [f"## {title}\n\n{sections[title]}" for title in COMMANDS if title in sections]
        PAGE.write_text("\n\n".join(head) + "\n\n" + "\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
