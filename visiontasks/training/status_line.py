"""The line at the bottom of a terminal or notebook that changes while a run goes on; all that is printed goes above."""

import io
import os
import sys
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.progress_bar import ProgressBar

WIDTH = 79
"""Most columns of the line, one less than the narrowest usual terminal: narrowed to that, it need not be wrapped."""
BAR_WIDTH = 25
LEAST_BAR_WIDTH = 8
ERASE = "\r\x1b[2K"

Display = Literal["terminal", "notebook", "none"]


def display() -> Display:
    """What standard output is: a terminal that can rewrite a line, a notebook's cell, or neither, such as a log."""
    console = Console()
    if console.is_jupyter:
        return "notebook"
    can_rewrite = sys.stdout.isatty() and not console.is_dumb_terminal
    return "terminal" if can_rewrite else "none"


class StatusLine:
    """Shows a line below everything that is printed, until it is closed.

    While it is shown, sys.stdout, and sys.stderr where it is the same terminal, are replaced by streams that erase it,
    print, and show it again. No thread is started, and nothing is shown between a `show` and the next.

    Args:
        kind: "terminal" or "notebook", where the line is overwritten with spaces, since cells erase nothing.
    """

    def __init__(self, kind: Display) -> None:
        self._stream: Any = sys.stdout
        self._is_terminal = kind == "terminal"
        self._console = Console(file=io.StringIO(), force_terminal=self._is_terminal, force_jupyter=False)
        self._line = ""
        self._width = 0
        self._pid = os.getpid()
        self._streams: dict[str, TextIO] = {}
        self._replace_streams()

    def show(self, share: float, left: str, right: str) -> None:
        """Show a bar between two texts, as far as they fit.

        Args:
            share: How much of the bar is full, 0..1.
            left: Before the bar.
            right: Behind it.
        """
        columns = self._columns()
        room = columns - len(left) - len(right) - 2
        bar = self._bar(share, min(BAR_WIDTH, room)) if room >= LEAST_BAR_WIDTH else ""
        plain = min(BAR_WIDTH, room) if bar else 0
        if not bar:
            left, right = left[:columns], right[: max(0, columns - len(left) - 1)]
        self._line = " ".join(filter(None, [left, bar, right]))
        before, self._width = self._width, len(left) + plain + len(right) + bool(bar) + bool(right)
        padding = "" if self._is_terminal else " " * max(0, before - self._width)
        self._write((ERASE if self._is_terminal else "\r") + self._line + padding)

    def close(self) -> None:
        """Erase the line and give the streams back."""
        for name, stream in self._streams.items():
            replaced = getattr(sys, name)
            if isinstance(replaced, _Above):  # else somebody else has replaced it meanwhile
                replaced.end()
                setattr(sys, name, stream)
        self._streams = {}
        self._write(self._erased())
        self._line, self._width = "", 0

    def print_above(self, text: str, stream: Any) -> None:
        """Write whole lines to a stream in the place of the line, and show it again below.

        Args:
            text: Ends with a newline.
            stream: Of this terminal.
        """
        if os.getpid() != self._pid:  # a loading process, which cannot know the line
            stream.write(self._erased() + text)
            stream.flush()
            return
        if stream is self._stream:
            self._write(self._erased() + text + self._line)
            return
        self._write(self._erased())
        stream.write(text)
        stream.flush()
        self._write(self._line)

    def _replace_streams(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if name == "stdout" or (self._is_terminal and stream is not None and stream.isatty()):
                self._streams[name] = stream
                setattr(sys, name, _Above(self, stream))

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns if self._is_terminal else WIDTH + 1
        except (OSError, ValueError):
            columns = WIDTH + 1
        return max(1, min(WIDTH, (columns or WIDTH + 1) - 1))

    def _bar(self, share: float, width: int) -> str:
        encoding = (getattr(self._stream, "encoding", None) or "ascii").lower()
        if not self._is_terminal or not encoding.startswith("utf"):
            full = round(share * width)
            return "#" * full + "." * (width - full)
        with self._console.capture() as captured:
            self._console.print(ProgressBar(total=1.0, completed=share, width=width), end="")
        return captured.get().rstrip("\n")

    def _erased(self) -> str:
        return ERASE if self._is_terminal else "\r" + " " * self._width + "\r"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _Above:
    """A stream whose lines are printed above a status line; one that is not finished waits for its end."""

    def __init__(self, line: StatusLine, stream: Any) -> None:
        self._status = line
        self._stream = stream
        self._unfinished = ""

    def write(self, text: str) -> int:
        whole, newline, rest = (self._unfinished + text).rpartition("\n")
        self._unfinished = rest
        if newline:
            self._status.print_above(whole + newline, self._stream)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def end(self) -> None:
        if self._unfinished:
            self._status.print_above(self._unfinished + "\n", self._stream)
            self._unfinished = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
