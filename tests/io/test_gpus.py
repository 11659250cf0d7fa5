"""Whether there is a GPU is known without torch on a machine that has no driver of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aekit.io import gpus


def test_torch_says_whether_there_is_a_gpu_once_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda answer=answer: answer)
        assert gpus.has_cuda() is answer


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize("has_driver", [False, True])
def test_torch_is_imported_only_where_there_is_a_driver(tmp_path: Path, has_driver: bool) -> None:
    driver = tmp_path / "driver"
    if has_driver:
        driver.touch()
    code = f"""
import sys
from aekit.io import gpus
gpus.DRIVERS = ({str(driver)!r},)
print(gpus.has_cuda(), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(has_driver and torch.cuda.is_available()), str(has_driver)]
