"""The command `compare`: shows runs side by side."""

import argparse
from collections.abc import Sequence

from visiontasks.commands.printing import print_comparison
from visiontasks.results.compare import compare


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Compare and print."""
    print_comparison(compare(arguments.runs))
