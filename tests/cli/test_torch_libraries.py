"""The libraries of torch that are loaded in a thread: those that torch would load, and only where it will be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import sys, threading, time
from aekit import cli
sys.argv = ["aekit", *sys.argv[1:]]
try:
    cli.main()
except SystemExit:
    pass
for thread in threading.enumerate():
    if thread.name == "torch-libraries":
        thread.join()
print("libtorch_cpu.so" in open("/proc/self/maps").read(), "torch" in sys.modules)
"""
THREAD = """
import sys
from aekit.cli import _torch_libraries
{change}
_torch_libraries._load()
assert "torch" not in sys.modules
import torch
print(torch.ones(3, 3).matmul(torch.ones(3)).sum().item(), torch.linalg.solve(2 * torch.eye(2), torch.ones(2)).tolist())
"""


def printed(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize(
    ("arguments", "loaded"), [(("plugins",), False), (("fit", "--help"), False), (("fit", "--no-such"), True)]
)
def test_only_commands_that_import_torch_load_its_libraries(arguments: tuple[str, ...], loaded: bool) -> None:
    assert printed(LOADED, *arguments) == f"{loaded} False"


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize("change", ["", "_torch_libraries.LIBRARIES = ('libtorch_global_deps.so', 'missing.so')"])
def test_torch_computes_after_its_libraries_were_loaded(change: str) -> None:
    assert printed(THREAD.format(change=change)) == "9.0 [0.5, 0.5]"
