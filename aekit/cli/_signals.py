"""Stop a command cleanly on Ctrl-C, SIGTERM and SIGHUP, and at once on a second one."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aekit.errors import INTERRUPTED
from aekit.progress import WorkingTime

ONE_STOP_SECONDS = 0.2
"""Signals in so short a time are one: `timeout` sends SIGTERM to the command, and again to its group."""
AGAIN_SECONDS = 0.05
"""Time after which a KeyboardInterrupt that got lost is raised again."""


class Stop:
    """Raise KeyboardInterrupt on the first signal and end the process on another, which files survive as they do a kill.

    Attributes:
        requested: whether a signal has raised KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.requested, self._terminated = False, -ONE_STOP_SECONDS
        self.unraisable_hook = sys.unraisablehook

    def interrupt(self, number: int, frame: Any) -> None:
        """Handle Ctrl-C."""
        if self.requested:
            os._exit(INTERRUPTED)
        self.requested = True
        raise KeyboardInterrupt

    def terminate(self, number: int, frame: Any) -> None:
        """Handle SIGTERM and SIGHUP like Ctrl-C, so that work in progress is saved. Background jobs of a shell ignore Ctrl-C."""
        now, before = time.monotonic(), self._terminated
        self._terminated = now
        if now - before < ONE_STOP_SECONDS:
            return
        interrupted = signal.getsignal(signal.SIGINT)
        (interrupted if callable(interrupted) else self.interrupt)(signal.SIGINT, frame)

    def raise_again(self, lost: sys.UnraisableHookArgs) -> None:
        """Handle an exception that Python cannot raise, as in a generator that the garbage collector closes.

        A signal that arrives there would be lost, and the command go on.
        """
        if self.requested and issubclass(lost.exc_type, KeyboardInterrupt):
            self.requested = False
            timer = threading.Timer(AGAIN_SECONDS, signal.raise_signal, [signal.SIGINT])
            timer.daemon = True
            timer.start()
        else:
            self.unraisable_hook(lost)


def _go_on(number: int, frame: Any) -> None:
    """Handle the end of a pause, as after Ctrl-Z: estimates of the time that is left do not count it."""
    WorkingTime.continued = time.monotonic()


@contextmanager
def stopping() -> Iterator[Stop]:
    """Handle signals while a command runs; those that are ignored, as by `nohup` or in background jobs, stay ignored."""
    stop = Stop()
    handlers: dict[signal.Signals, Callable[[int, Any], None]] = {
        signal.SIGINT: stop.interrupt,
        signal.SIGTERM: stop.terminate,
        signal.SIGHUP: stop.terminate,
        signal.SIGCONT: _go_on,
    }
    handlers = {number: handler for number, handler in handlers.items() if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    sys.unraisablehook = stop.raise_again
    try:
        yield stop
    finally:
        sys.unraisablehook = stop.unraisable_hook
        for number, handler in before.items():
            signal.signal(number, handler)
        # While the interpreter ends, KeyboardInterrupt would print a traceback.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
