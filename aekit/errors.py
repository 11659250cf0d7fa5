"""Errors that a user can cause. A message is one line: the value, where it is, what was expected, the nearest valid name.

Library code raises these; only the command line exits (code 2). Any other exception is a bug in aekit or in a plugin.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit code of a command that was stopped."""
SHOWN, LONGEST = 200, 2000
"""Maximum length of a value from a file in a message, and of a message."""


def printable(value: object, longest: int = SHOWN, *, keep: str = "") -> str:
    """Return a value as text in one line that a terminal shows as it is: foreign text enters messages only this way.

    Control characters, line breaks, invisible characters and bytes that are not UTF-8 become escapes; long text is cut.

    Args:
        value: the value; anything but a str by its repr.
        longest: maximum number of characters to return.
        keep: control characters that are left as they are.

    Examples:
        >>> printable("a\\nb\\x1b[2J")
        'a\\\\nb\\\\x1b[2J'
    """
    text = value if isinstance(value, str) else repr(value)
    for path, name in _NAMES_OF_COPIES.items():
        text = text.replace(path, name)
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() or char in keep else char.encode("unicode_escape", "surrogatepass").decode()
            for char in text[: longest + 1]  # an escape is longer than its character
        )
    return text if len(text) <= longest else text[: longest - 3] + "..."


_STEERING = re.compile(r"[^\n\t -~]")


def terminal_text(text: str, keep: str = "\n\t") -> str:
    """Return a text with escapes instead of the control characters that names from data may hold, which would steer a terminal.

    Args:
        text: the text, of any length.
        keep: control characters that are left as they are; "" in a name that must not break the line.

    Examples:
        >>> terminal_text("id\\tlabel\\n7\\t\\x1b[2J")
        'id\\tlabel\\n7\\t\\\\x1b[2J'
    """
    if not _STEERING.search(text) and all(letter in keep or letter not in text for letter in "\n\t"):
        return text
    return printable(text, 10 * len(text), keep=keep)  # an escape has at most 10 characters


_NAMES_OF_COPIES: dict[str, str] = {}


def name_copy(path: str, name: str) -> None:
    """Let messages name the original of a local copy, such as ``s3://bucket/photos``, instead of the copy.

    Args:
        path: of the copy.
        name: of what it is a copy of.
    """
    _NAMES_OF_COPIES[path] = name


class ShortTraceback(BaseException):
    """A base class of errors of which a notebook shows the frames of the user's code instead of dozens of frames of aekit."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows: all of them if `DEBUG` asks for it."""
        from aekit._short_traceback import render_traceback

        return render_traceback(self, in_full=bool(os.environ.get(DEBUG)))


class Stopped(ShortTraceback, KeyboardInterrupt):
    """A public function was stopped by Ctrl-C, or by the button of a notebook that interrupts a cell."""


class AekitError(ShortTraceback, Exception):
    """An error that the user can fix. All other errors of aekit are subclasses. Its message is `printable`.

    Examples:
        >>> try:
        ...     aekit.fit(np.zeros((20, 4)), backbone="convv")
        ... except aekit.AekitError as error:
        ...     print(error)
        encoder.backbone: no backbone 'convv'; did you mean 'conv'?
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message), LONGEST))

    def __reduce__(self) -> tuple[object, ...]:
        # Pools of processes send errors; by default they are made anew of their text, which is not what each class takes.
        return _restored, (type(self), str(self), vars(self))


def _restored(kind: type[AekitError], text: str, state: dict[str, object]) -> AekitError:
    error = kind(text) if kind.__init__ is AekitError.__init__ else kind.__new__(kind)
    error.args = (text,)
    vars(error).update(state)
    return error


class DataError(AekitError):
    """Data that cannot be read, or does not fit its use."""


class RecipeError(AekitError):
    """Mistakes in a recipe or in options; `problems` holds one `printable` line for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = [printable(problem, LONGEST) for problem in problems]
        Exception.__init__(self, "\n".join(self.problems))


class PluginError(AekitError):
    """A plugin that is missing, disabled, broken, ambiguous, or written for another plugin API version."""


class IdentityError(AekitError):
    """An artifact that is damaged, or comes from another encoder."""


class DamagedError(IdentityError):
    """An artifact that is damaged, or was changed after aekit wrote it."""


class OutputError(AekitError):
    """A path that cannot be written, or holds something that would be overwritten."""


class FileError(AekitError, OSError):
    """A file or folder that the operating system cannot open, read or write, or a name that it does not accept."""


class OutOfMemoryError(AekitError, MemoryError):
    """More memory was requested than is available."""


class TrainingError(AekitError):
    """A run that cannot continue, for example because its loss is not finite."""


class AekitWarning(UserWarning):
    """Something that aekit changed, left out or could not finish. All other warnings of aekit are subclasses."""


class DataWarning(AekitWarning):
    """Data that was left out or changed: a dropped column, a filled value, a skipped sample."""


class PluginWarning(AekitWarning):
    """A plugin of another distribution that failed, and was left out."""


DEBUG = "AEKIT_DEBUG"
"""Environment variable, set by ``aekit --debug``: failures of plugins are printed with their traceback."""


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an error that is reported in one line, if `DEBUG` asks for it."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error, file=sys.stderr)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, in `SHOWN` characters at most, or its type."""
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return printable(lines[0].strip(), SHOWN) if lines else type(error).__name__


_WANTED = re.compile(r"(?:allocate|of size|buffer of) ([\d.]+ ?(?:bytes|[KMGTPE]iB)?)")
_ALLOCATORS = re.compile(
    "allocate memory|bad_alloc|out of memory|Storage size calculation overflowed|failed to map segment"
    "|could not (?:create|execute) a primitive(?! descriptor)"  # oneDNN says no more than that
)
_UNMAPPED = re.compile("([^ /:]+): failed to map segment")
_THREADS = re.compile(
    "can't start new thread|Failed to launch worker thread|(?i:thread|fork).{0,60}Resource temporarily unavailable"
)
NO_THREADS = (
    "no further thread or process can be started: their number (ulimit -u, a container's pids) or memory is used up"
)


def lacks_threads(error: BaseException) -> bool:
    """Return whether the system refused to start a thread or a process."""
    if isinstance(error, OSError) and error.errno == errno.EAGAIN and error.filename is None:
        return True
    return not isinstance(error, AekitError) and bool(_THREADS.search(str(error)))


def lacks_handles(error: OSError) -> bool:
    """Return whether the system refused to open a further file, or to start a further thread or process."""
    return error.errno in (errno.EMFILE, errno.ENFILE) or lacks_threads(error)


def out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """Return the line for an error that says that memory or threads are short, of Python, NumPy, Arrow or torch; else None."""
    if lacks_threads(error):
        return OutOfMemoryError(NO_THREADS)
    text = str(error)
    short = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not short and (isinstance(error, AekitError) or not _ALLOCATORS.search(text)):
        return None
    if match := _UNMAPPED.search(text):
        return OutOfMemoryError(f"out of memory: the library {match[1]} does not fit; allow more memory (ulimit -v)")
    match = _WANTED.search(text)
    amount = match[1].strip().replace(". ", " ") if match else ""  # NumPy writes "703. KiB"
    amount = f"{int(amount.split()[0]):,} bytes" if amount.split()[:1] and amount.split()[0].isdigit() else amount
    wanted = f": could not allocate {amount}" if amount else ""
    advice = "lower train.batch_size, the width of the network (encoder.dim) or AEKIT_MEMORY, or use less data"
    return OutOfMemoryError(f"out of memory{wanted}; {advice}")


@contextmanager
def importing(need: str, remedy: str, kind: type[AekitError] = DataError) -> Iterator[None]:
    """Turn a failed import into one line.

    Args:
        need: who needs which package, for the message, such as ``data.h5: needs the package h5py``.
        remedy: how to install it.
        kind: class of the error.

    Raises:
        AekitError: of that class: the package is missing, or is there and cannot be imported.
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        print_traceback(error)
        raise kind(f"{need}: {remedy}") from None
    except ImportError as error:
        print_traceback(error)
        reason = f"{need}, which is installed and cannot be imported ({first_line(error)})"
        raise out_of_memory(error) or kind(reason) from None


_explanations: list[Callable[[BaseException], AekitError | None]] = []


def explain_with(explain: Callable[[BaseException], AekitError | None]) -> None:
    """Let `explained` ask a function of a later layer too, which returns the line for an error, or None."""
    _explanations.append(explain)


def explained(error: BaseException) -> AekitError | None:
    """Return the line for an error of the machine, its packages, or a plugin of another distribution; None for a bug of aekit.

    If `DEBUG` asks for it, the traceback of an error that has a line is printed.
    """
    if failure := failure_of_the_machine(error):
        print_traceback(error)
        return failure
    return next((line for explain in _explanations if (line := explain(error))), None) or _missing_package(error)


def _missing_package(error: BaseException) -> AekitError | None:
    """Return the line for a package that aekit requires and that is not there, as where an installation was cut off."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in ("", "aekit", "aekit_plugins"):
        return None
    print_traceback(error)
    if package in sys.stdlib_module_names:
        return AekitError(f"this Python was built without its module {package} ({error}): use another one")
    return AekitError(f"the package {package}, which aekit needs, is missing ({error}): pip install aekit")


def failure_of_the_machine(error: BaseException) -> FileError | OutOfMemoryError | None:
    """Return the line for an error of a file, its name, or memory that ran out; None for other errors."""
    if isinstance(error, OSError) and error.errno and error.errno != errno.ENOMEM and not lacks_threads(error):
        places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
        reason = error.strerror or str(error)
        reason = f"{reason} (ulimit -n)" if error.errno == errno.EMFILE else reason
        # The second is what a copy or a renaming writes.
        return FileError(": ".join([*(printable(place) for place in places[-1:]), reason]))
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return FileError(f"{error.object}: {not_utf8('rename the file or folder')}")
    return out_of_memory(error)


def not_utf8(remedy: str) -> str:
    """Say that a name is not UTF-8 and what to do, or that Python was told to expect another encoding."""
    expected = sys.getfilesystemencoding()
    if expected == "utf-8":
        return f"the path is not UTF-8; {remedy}"
    return f"the path is not {expected}, which Python was told to expect; set PYTHONUTF8=1"


LISTED = 50
"""Maximum number of names that a message lists."""
CLOSE = 0.6
"""Fraction of the letters of two names that must agree: at half of them, "console" is taken for "anomalies"."""


def closest_name(name: str, names: Iterable[str]) -> str:
    """Return a phrase such as ``"; did you mean 'conv'?"``, or the list of valid names if none is close and it is short.

    A name is close if its letters, in any case, are nearly the same, or if it alone begins with them.
    """
    known = sorted(names)
    letters, by_letters = name.casefold(), {other.casefold(): other for other in known}
    close = difflib.get_close_matches(letters, by_letters, n=1, cutoff=CLOSE)
    longer = [other for other in by_letters if len(letters) > 1 and other.startswith(letters)]
    if close or len(longer) == 1:
        return f"; did you mean {by_letters[(close or longer)[0]]!r}?"
    return f"; available: {', '.join(known)}" if 0 < len(known) <= LISTED else ""
