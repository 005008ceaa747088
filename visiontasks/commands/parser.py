"""A parser of options that answers in one line, and the arguments that several commands take."""

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from visiontasks.errors import InputError

if TYPE_CHECKING:
    from visiontasks.library_internals import Subcommands


class Parser(argparse.ArgumentParser):
    """A parser that knows its own options, and answers in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.own: dict[str, bool] = {}
        """Options, with whether a value follows."""
        self.questions: dict[str, Parser] = {}
        """What a first word decides between, such as the questions of `study`."""
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument, and note it if it is an option."""
        action = super().add_argument(*args, **kwargs)
        self.own.update(dict.fromkeys(action.option_strings, action.nargs != 0))
        return action

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, in place of printing the usage.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{message} ({self.prog} --help)")


def command(commands: "Subcommands", name: str, *, takes_overrides: bool = False, **texts: Any) -> Parser:
    """A command with its texts; one that takes overrides may be followed by keys of a recipe."""
    made: Parser = commands.add_parser(name, allow_abbrev=False, **texts)
    made.set_defaults(takes_overrides=takes_overrides)
    return made


def add_run(command: argparse.ArgumentParser) -> None:
    """Take a run."""
    command.add_argument("run", metavar="RUN", help="folder of a run, or of several: the newest finished one")


def add_target(command: argparse.ArgumentParser) -> None:
    """Take a recipe, a folder, or both."""
    command.add_argument(
        "target", metavar="RECIPE|FOLDER", nargs="?", help="a recipe's name, a .yaml file, or a folder of images"
    )
    command.add_argument("folder", metavar="FOLDER", nargs="?", help="the images for a recipe (data.root)")


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
