"""Tensors are recognized without importing torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from aekit.io.tensors import is_tensor, without_tensor


def test_tensors_become_arrays_and_other_values_stay() -> None:
    weights = torch.nn.Parameter(torch.tensor([1.5, -2.0]))
    assert is_tensor(weights)
    assert is_tensor(torch.eye(2).to_sparse())
    assert without_tensor(weights).tolist() == [1.5, -2.0]
    halves = without_tensor(torch.tensor([0.5], dtype=torch.bfloat16))
    assert halves.dtype == np.float32 and halves.tolist() == [0.5]
    for value in (np.ones(2), [1.0], None, torch.float32, torch):
        assert not is_tensor(value)
        assert without_tensor(value) is value


@pytest.mark.parametrize("before", ["", "sys.modules['torch'] = None", "sys.modules['torch'] = type(sys)('torch')"])
def test_torch_is_not_imported_for_the_question(before: str) -> None:
    """Nor does a missing torch, or one whose import has not ended, disturb it."""
    code = f"import sys\n{before}\nfrom aekit.io.tensors import is_tensor\nassert not is_tensor(1.0)\n"
    subprocess.run([sys.executable, "-c", code + "assert not hasattr(sys.modules.get('torch'), 'Tensor')"], check=True)
