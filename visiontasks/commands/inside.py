"""A command's work inside of a Python process that goes on afterwards, and its messages in the words of Python."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from visiontasks.commands.main import EXPECTED_WARNINGS
from visiontasks.errors import InputError
from visiontasks.recipe.typed import as_typed
from visiontasks.training.machine import kept_memory

SEEDS = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
"""Variables of the environment that Lightning sets."""
_OPTION = re.compile(
    r"`[^`]*`|\bvisiontasks (?:[a-z-]+ )?[^,;\n]*"  # of a terminal
    r"|(?<![\w-])--(\w[\w.-]*\w)(?: ([\w.:-]*\d[\w.:-]*\b))?"
)


@contextmanager
def inside_python() -> Iterator[None]:
    """Set up the process as a command does, and leave it as it was: random states, warnings, logging, allocator."""
    from lightning.pytorch.utilities.seed import isolate_rng

    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    seeds = {name: os.environ.get(name) for name in SEEDS}
    states = isolate_rng()
    with kept_memory(), warnings.catch_warnings():
        states.__enter__()
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            states.__exit__(None, None, None)  # after an error too, which Lightning's own does not restore
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            for name, value in seeds.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})


@contextmanager
def python_words() -> Iterator[None]:
    """Name recipe keys and options as keywords in an `InputError` that is raised inside of a `with`."""
    try:
        yield
    except InputError as error:
        error.args = (in_python(as_typed(str(error), [], own_file=False)), *error.args[1:])
        raise


def in_python(message: str) -> str:
    """A message with options as keywords, `--batch-size 8` as batch_size=8; commands of a terminal stay as they are."""

    def keyword(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        name, value = match[1].replace("-", "_"), match[2]
        quote = "" if value is None or value.isdecimal() else '"'
        return name if value is None else f"{name}={quote}{value}{quote}"

    return _OPTION.sub(keyword, message)
