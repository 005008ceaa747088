"""The command `study`: answers about images from the features of a frozen backbone."""

import argparse
from collections.abc import Sequence
from importlib import import_module

from visiontasks.errors import printable
from visiontasks.study.page import save_study

REPEATED = ("folds", "seed")
"""Options that JSON names."""


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Answer a question, print the answer, and write it to the folder of studies."""
    module = f"visiontasks.commands.studies.{arguments.question.replace('-', '_')}"
    answer = import_module(module).answer(arguments, overrides)
    options = {name: getattr(arguments, name) for name in REPEATED if name in arguments}
    page = save_study(answer.folder, arguments.question, {**options, **answer.content}, title=answer.title)
    print("\n".join([*map(printable, answer.lines), ""]))
    print(printable(f"page: {page.resolve().as_uri()}"))
