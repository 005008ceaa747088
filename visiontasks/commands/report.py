"""The command `report`: writes a run's report.html again."""

import argparse
from collections.abc import Sequence

from visiontasks.results.report import report


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Write it and print where it is."""
    print(f"report: {report(arguments.run, overrides)}")
