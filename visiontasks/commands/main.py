"""The entry point: parses a command, imports its file only then, and turns what the user can fix into messages."""

import errno
import gc
import io
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from visiontasks.commands.early import announce, check_early
from visiontasks.commands.words import SHORT_HELP, Typed, read_words
from visiontasks.cores import prepare_threads
from visiontasks.errors import BadSamplesError, InputError, Stopped, printable
from visiontasks.library_internals import import_late
from visiontasks.training.machine import (
    discard_output,
    is_out_of_memory,
    keep_freed_memory,
    open_streams,
    out_of_memory,
)

EXIT_USER_ERROR = 2
EXIT_SIGNAL = 128  # and the signal's number, as shells have it
EXIT_BROKEN_PIPE = EXIT_SIGNAL + 13  # SIGPIPE's, which not every system has
ERROR_LINES = 5
WITH_NETWORKS = ("finetune", "evaluate", "report", "predict", "explain", "export")
"""Commands that run networks."""
# what the machine refuses; any other OSError is a fault of the program and keeps its traceback
REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EMFILE,
}

EXPECTED_WARNINGS = (
    r"\s*Dump of a value that does not round-trip: a tuple",  # albumentations takes the list that it becomes
    r".*isinstance\(treespec, LeafSpec\).*",  # lightning 2.6.6 with torch 2.15
    r".*Experiment logs directory .* exists and is not empty",  # it holds recipe.yaml
    r".*does not have many workers",  # the data chooses them from the cores
    r".*The number of training batches .* is smaller than the logging interval",  # logged per epoch
    r".*recommended to use .*sync_dist=True",  # metrics are computed over all processes already
    r"Checkpoint directory .* exists and is not empty",  # a resumed run's
    r"You're resuming from a checkpoint that ended before the epoch ended",  # the data knows where to go on
    r".*module\(s\) in eval mode at the start of training",  # what is frozen is
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; None for those of the process.

    Returns:
        The exit status: 0, 1 for data with problems, 2 for what the user can fix, 143 or 130 after SIGTERM or SIGINT,
        141 if the reader of the output has ended.
    """
    open_streams()
    try:
        return _run(argv)
    except BrokenPipeError:  # the reader, such as `head`, has ended
        discard_output()
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _fail(out_of_memory(error))


def _run(argv: Sequence[str] | None) -> int:
    """Run a command; what the machine or the user can cause becomes a message and a status."""
    typed = Typed()
    try:
        return _start(list(sys.argv[1:] if argv is None else argv), typed)
    except BadSamplesError as error:
        return _fail(typed.name_keys(str(error)), most_lines=None)
    except InputError as error:
        return _fail(typed.name_keys(str(error)))
    except SystemExit:  # of --help
        sys.stdout.flush()
        raise
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        return _fail(f"{error.filename2 or error.filename or 'a file'}: {error.strerror}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_SIGNAL + signal.SIGINT
    except Stopped as stopped:
        if stopped.message:
            print(stopped.message, file=sys.stderr)
        return EXIT_SIGNAL + stopped.signum


def _start(words: list[str], typed: Typed) -> int:
    """Read the words, check what can be checked at once, then import the command and run it."""
    if not words:
        print(SHORT_HELP, flush=True)
        return 0
    prepare_threads()
    arguments = read_words(words, typed)
    overrides = [word for option in typed.options for word in option.words]
    check_early(arguments, overrides)
    announce(arguments, overrides)
    if arguments.command in WITH_NETWORKS:
        keep_freed_memory()
        import_late()
    command = import_module(f"visiontasks.commands.{arguments.command.replace('-', '_')}")
    _ready()
    status: int | None = command.run(arguments, overrides)
    sys.stdout.flush()
    return status or 0


def _ready() -> None:
    """Everything is imported: collect garbage from now on, and leave only warnings that the user can act on."""
    gc.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and classes that it cannot encode are spelled out
        sys.stdout.reconfigure(errors="backslashreplace")
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning").setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _fail(message: str, most_lines: int | None = ERROR_LINES) -> int:
    lines = [printable(line) for line in message.strip().splitlines() if line.strip()]
    print("\n".join(["error: " + lines[0], *lines[1:most_lines]]), file=sys.stderr)
    return EXIT_USER_ERROR
