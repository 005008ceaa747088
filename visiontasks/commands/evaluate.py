"""The command `evaluate`: measures a finished run again, on its own data or on other images of the same classes."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from visiontasks.commands.outcome import print_result
from visiontasks.recipe.open_run import open_run
from visiontasks.results.measure import measure, write_measured
from visiontasks.tasks.base import Split


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Evaluate and print."""
    folder = Path(arguments.run)
    result = evaluate(folder, overrides, split=arguments.split)
    title = " ".join([f"{folder}: {arguments.split} split", *overrides])
    rank_zero_only(print_result)(result, title=title)


def evaluate(run: Path, overrides: Sequence[str], *, split: Split = "test") -> dict[str, Any]:
    """Measure a run's best weights on a split, and write predictions, pictures and report into the run's folder.

    Args:
        run: A run folder.
        overrides: `--key value` pairs, for instance another `--data.root`.
        split: "test" or "val".

    Returns:
        `metrics` and `class_metrics` as in result.json.

    Raises:
        InputError: If the checkpoint cannot be read, or the data has not the classes it was trained on.
    """
    cli = open_run(run).measurement(overrides, split=split)
    with cli.progress:
        measured = measure(cli, split)
        if os.access(run, os.W_OK):
            write_measured(cli, run, split, measured, other_data=cli.other_data)
    if not os.access(run, os.W_OK):
        rank_zero_info(f"nothing is written to {run}: no write permission")
    return measured
