"""Recognize what torch made without importing torch: a process that has not imported it holds no tensors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from aekit.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs


def is_tensor(value: Any) -> TypeIs[Tensor]:
    """Return whether a value is a tensor of torch, of any layout."""
    torch = sys.modules.get("torch")
    return isinstance(value, getattr(torch, "Tensor", ()))


def without_tensor(value: Any) -> Any:
    """Return a tensor as an array in the memory of the CPU, dtypes that NumPy lacks as float32, and anything else as it is.

    Raises:
        DataError: the tensor holds no values, as on the device "meta", or values that are no numbers of an array.
    """
    if not is_tensor(value):
        return value
    if value.device.type == "meta":
        raise DataError(f"a tensor {tuple(value.shape)} on the device 'meta', which holds no values")
    value = value.detach().cpu().resolve_conj().resolve_neg()
    try:
        value = value.dequantize() if value.is_quantized else value
        try:
            return value.numpy()
        except TypeError:  # bfloat16 and float8
            return value.float().numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"a tensor of {value.dtype} cannot be read as an array ({reason})") from None
