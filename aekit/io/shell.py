"""Write commands so that they can be pasted into a shell."""

from __future__ import annotations

import os
import shlex

from aekit.io.remote_urls import without_secrets


def command_line(command: str, *arguments: object, **options: object) -> str:
    """Return a command of aekit.

    Args:
        command: name of the command.
        arguments: its arguments; a path that begins with a dash gets ``./`` in front, as it would be an option.
        options: name -> value, or a list of values of an option that is repeated; names of one letter get one dash.

    Examples:
        >>> command_line("embed", "my run", "-x.npy", o="embeddings")
        "aekit embed 'my run' ./-x.npy -o embeddings"
    """
    words = ["aekit", command, *map(argument, arguments)]
    for name, values in options.items():
        for value in values if isinstance(values, list) else [values]:
            words += [f"{'-' if len(name) == 1 else '--'}{name}", quoted(without_secrets(str(value)))]
    return " ".join(words)


def argument(path: object) -> str:
    """Return a path as an argument of a command, in quotes if needed; one that begins with a dash would be an option."""
    return quoted(f"./{path}" if str(path).startswith("-") else path)


def quoted(word: object) -> str:
    """Return a word in quotes if a shell would not take it literally.

    Control characters and bytes that are not UTF-8, which no terminal shows, are escaped in ``$'...'``, as `ls` does.
    """
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    escaped = (
        character if character.isprintable() else "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
        for character in text.replace("\\", "\\\\").replace("'", "\\'")
    )
    return f"$'{''.join(escaped)}'"
