"""Lines of text in a terminal's width."""

import shutil
import sys
import textwrap
from collections.abc import Iterable

INDENT = "  "


def print_wrapped(lines: Iterable[str]) -> None:
    """Print lines; in a terminal, longer ones are broken between words and go on indented, in a log they stay whole."""
    lines = list(lines)
    if sys.stdout.isatty():
        lines = [part for line in lines for part in wrapped(line, shutil.get_terminal_size().columns)]
    if lines:
        print("\n".join(lines), flush=True)


def wrapped(line: str, columns: int) -> list[str]:
    """A line in parts of at most so many columns; a longer word, such as a path or a link, stays whole."""
    parts = textwrap.wrap(
        line, columns, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return parts or [line]
