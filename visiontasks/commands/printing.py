"""Tables for the terminal."""

import errno
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from visiontasks.errors import printable
from visiontasks.runs.folder import REPORT

if TYPE_CHECKING:  # it loads torch, which a list of recipes does not need
    from visiontasks.results.compare import Comparison, PairTest

GAP = "  "
PIPE_WIDTH = 1000
_MOST_NAMED = 5  # classes of an explained image


def terminal_width() -> int:
    """Characters of a line; in a pipe practically unlimited, unless COLUMNS is set."""
    return unwrapped_console().width


def print_comparison(comparison: "Comparison") -> None:
    """Runs side by side: metrics, what of their recipes differs, times and versions, and tests of each pair."""
    console = unwrapped_console()
    for letter, run in comparison.runs.items():
        console.print(f"{letter}: {run}", soft_wrap=True, markup=False)
    letters = list(comparison.runs)
    for title, rows in (
        ("metric (95 % interval)", comparison.metrics),
        ("recipe, as far as it differs", comparison.recipe),
        ("time and versions", comparison.facts),
    ):
        table = Table(title, *letters, box=None, pad_edge=False)
        for name, values in rows:
            table.add_row(Text(name), *map(Text, values))
        console.print()
        console.print(table if rows else f"{title}: nothing", markup=False)
    console.print()
    for line in [*map(describe_test, comparison.tests), *comparison.untested]:
        console.print(line, soft_wrap=True, markup=False)
    if sum(test.p is not None for test in comparison.tests) > 1:
        least = 0.05 / len(comparison.tests)
        console.print(f"of {len(comparison.tests)} tests one is below 0.05 by chance soon: look for p < {least:.2g}")


def describe_test(test: "PairTest") -> str:
    """A test of two runs in words."""
    parts = []
    if test.p is not None:
        verdict = "they differ" if test.p < 0.05 else "no difference is shown"
        parts.append(
            f"only {test.first} right {test.only_first:,}, only {test.second} right {test.only_second:,}, McNemar's "
            f"exact test p = {test.p:.3g}: {verdict}"
        )
    if test.difference is not None:
        mean, low, high = test.difference
        name = test.metric or "score"
        parts.append(f"{name} of {test.second} higher by {mean:+.4f} (95 % interval {low:+.4f} to {high:+.4f})")
    return f"{test.first} and {test.second} on the same {test.n:,} samples: {'; '.join(parts)}"


def print_explanation(
    probabilities: Mapping[str, float],
    explained: str | None,
    files: Mapping[str, Path],
    refused: Mapping[str, str],
    *,
    run: Path | None = None,
) -> None:
    """The most probable classes, which one is explained, where the pictures are, and how they get into the report.

    Args:
        probabilities: By class name.
        explained: A class; None if there is none.
        files: By method.
        refused: Why there is no picture, by method.
        run: In whose folder they are; None if elsewhere.
    """
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])[:_MOST_NAMED]
    if ranked:
        print(printable(GAP.join(f"{name} {probability:.3f}" for name, probability in ranked)))
    if explained is not None:
        print(printable(f"explained: {explained}"))
    for method, path in files.items():
        print(printable(f"{method.ljust(12)}{GAP}{path}"))
    for method, why in refused.items():
        print(printable(f"{method.ljust(12)}{GAP}none: {why}"))
    if run is not None and files:
        print(printable(f"to see them in {REPORT}: visiontasks report {shlex.quote(str(run))}"))


def print_exported(folder: Path, files: Mapping[str, int], checked: str, address: str) -> None:
    """What an export wrote, how large it is, what it was checked on, and where it is on the hub, if it is."""
    table = Table("file", "size", box=None, pad_edge=False)
    for name, size in files.items():
        table.add_row(name, f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB")
    console = unwrapped_console()
    console.print(table)
    for line in (f"\nchecked: {checked}", f"written: {folder}", *([f"on the hub: {address}"] if address else [])):
        console.print(line, soft_wrap=True, markup=False)


class _Console(Console):
    """Leaves a broken pipe to the command."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def unwrapped_console() -> Console:
    """As wide as the terminal; in a pipe nothing is wrapped, unless COLUMNS is set."""
    console = _Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console
