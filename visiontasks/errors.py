"""Errors that a user can cause and mend; the command line prints them without a traceback."""

import re
from collections.abc import Sequence
from typing import Any


class InputError(ValueError):
    """A wrong value in a recipe, an option, a dataset or a weight file.

    The message says what was got, what was expected, and the recipe key or option to change.
    """


class MissingFileError(InputError, FileNotFoundError):
    """A file, folder, dataset or pretrained weight that is not where it was looked for."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BadSamplesError(InputError):
    """Files or annotations of a dataset that cannot be used: a headline, then one line for each problem.

    All problems are in the message, however many; the command line prints it whole.

    Args:
        message: The headline and the lines.
        problems: What the lines say, one by one.
    """

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class DivergenceError(InputError):
    """A loss, or a weight that was to be saved, is infinite or no number.

    Args:
        message: Where, and with which learning rates.
        indices: Rows of the batch's samples in the training split.
    """

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = indices


class Stopped(BaseException):
    """A signal ended the run. As KeyboardInterrupt it is no fault, and nothing on the way may catch it.

    Args:
        signum: The signal.

    Attributes:
        message: How to go on; empty in all but the first process.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.message = ""


def loading_fault(error: Exception) -> str:
    """What `torch.load(weights_only=True)` found, without its advice to try again and run what is in the file."""
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
    """A line without what a file's or a class's name could do to a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
