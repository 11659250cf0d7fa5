"""Load the libraries of torch in a thread, while Python imports other modules: loading them is a third of its import."""

from __future__ import annotations

import os
import sys

LIBRARIES = ("libtorch_global_deps.so", "libtorch_cpu.so", "libtorch.so")
"""Libraries in the order in which torch loads them; none of them calls Python."""


def load_torch_libraries() -> None:
    """Load them on Linux in a thread that ends with the process. What fails here is left to the import of torch to report.

    Under ``ulimit -v`` they are left to that import too: a library that does not fit would end the process by a signal.
    """
    if sys.platform != "linux" or "torch" in sys.modules or _is_limited():
        return
    import threading

    threading.Thread(target=_load, name="torch-libraries", daemon=True).start()


def _is_limited() -> bool:
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _load() -> None:
    import ctypes
    from importlib.util import find_spec

    spec = find_spec("torch")
    if spec is None or not spec.origin:
        return
    folder = os.path.join(os.path.dirname(spec.origin), "lib")
    # A function called by ctypes lets other threads run Python, which `ctypes.CDLL` does not.
    load = ctypes.CDLL(None).dlopen
    load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for name in LIBRARIES:
        mode = os.RTLD_NOW | (os.RTLD_GLOBAL if name == LIBRARIES[0] else os.RTLD_LOCAL)  # as torch does
        if not load(os.fsencode(os.path.join(folder, name)), mode):
            return
