"""Errors that a user can cause and fix; the command line prints them without a traceback."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """A wrong value in a recipe, an option, a dataset or a weight file.

    The message names what was got, what was expected, and the recipe key or option to change.
    """


class MissingFileError(InputError, FileNotFoundError):
    """A file, folder, dataset or pretrained weight that was not found."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BadSamplesError(InputError):
    """Files or annotations of a dataset that cannot be used: a headline, then one line for each problem.

    The message lists all problems; the command line prints all of it.

    Args:
        message: The headline and the lines.
        problems: What each line reports.
    """

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class DivergenceError(InputError):
    """A loss, or a weight to be saved, is infinite or NaN.

    Args:
        message: Epoch, step and learning rates.
        indices: Rows of the batch's samples in the training split.
    """

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = indices


class Stopped(BaseException):
    """A signal ended the run. Like KeyboardInterrupt it is not an Exception, so that no handler on the way catches it.

    Args:
        signum: The signal.

    Attributes:
        message: How to resume; empty in all but the first process.
        folder: The run's, if something was saved in it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.message = ""
        self.folder: Path | None = None


def loading_fault(error: Exception) -> str:
    """The reason why `torch.load(weights_only=True)` failed, without its advice to load unsafely, which runs code."""
    message = str(error)
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named:
        return f"it holds {named[1]}"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reasons = [line for line in lines if not re.search(r"weights_only|torch\.load", line)]
    if len(reasons) < len(lines):
        return reasons[0][:200] if reasons else "more than tensors"
    return f"{type(error).__name__}: {reasons[0][:200]}" if reasons else type(error).__name__


def printable(text: str) -> str:
    """Text with control characters escaped, since names of files and classes may hold some for the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
