"""Run the command line, as ``aekit`` or ``python -m aekit``."""

import _signal as signal  # `signal` takes long to import, as it makes enumerations
import os
import sys

INTERRUPTED = 130  # as in aekit.errors, which is not imported yet


def _leave(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)


def _end(code: object) -> None:
    """End the process as Python does, but without tearing down the interpreter, which takes 0.7 s with torch.

    Threads are joined, exit handlers called and streams flushed; the system frees the memory. A debugger or profiler that runs
    this program goes on after it.
    """
    if not isinstance(code, int) or sys.gettrace() or sys.getprofile() or sys.flags.inspect:
        return
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # they are closed or full, which Python reports by the exit code
        return
    os._exit(code)


def main() -> None:
    """Import the command line and run it. Ctrl-C ends the process in silence meanwhile, where Python would print a traceback."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # background jobs of a shell ignore it
        signal.signal(signal.SIGINT, _leave)
    from aekit._lazy import QuickImports
    from aekit.cli import main as run

    QuickImports.freezes = True  # the process is this command alone
    try:
        run()
    except SystemExit as end:
        _end(end.code)
        raise


def _ignore_modules_here() -> None:
    """Stop looking for modules in the current folder, where ``python -m`` looks first, unless aekit itself lies there.

    A file of the user such as ``random.py`` would take the place of Python's module of that name.
    """
    here = sys.path[0] if sys.path and not sys.flags.safe_path else ""
    if here and os.path.dirname(os.path.dirname(os.path.abspath(__file__))) != here:
        del sys.path[0]


if __name__ == "__main__":
    _ignore_modules_here()
    main()
