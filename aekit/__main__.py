"""Run the command line, as ``aekit`` or ``python -m aekit``."""

import _signal as signal  # `signal` takes long to import, as it makes enumerations
import os

INTERRUPTED = 130  # as in aekit.errors, which is not imported yet


def _leave(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)


def main() -> None:
    """Import the command line and run it. Ctrl-C ends the process in silence meanwhile, where Python would print a traceback."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # background jobs of a shell ignore it
        signal.signal(signal.SIGINT, _leave)
    from aekit.cli import main as run

    run()


if __name__ == "__main__":
    main()
