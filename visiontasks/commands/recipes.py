"""The command `recipes`: lists the shipped recipes. Imports nothing heavy."""

import argparse
from collections.abc import Sequence

from visiontasks.commands.printing import print_recipes
from visiontasks.recipe import list_recipes


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print the table."""
    print_recipes(list_recipes())
