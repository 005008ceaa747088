"""The command `check-data`: opens the data of a recipe, but no network and no run folder, and lists what is wrong."""

import argparse
import json
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from visiontasks.commands.printing import terminal_width
from visiontasks.data.audit.checks import PROBLEMS, Report, check
from visiontasks.data.pipeline.problems import Problem, shortened
from visiontasks.errors import MissingFileError, printable
from visiontasks.recipe import find_recipe
from visiontasks.recipe.aliases import options_of
from visiontasks.recipe.cli import recipe_data
from visiontasks.recipe.files import recipes_dir
from visiontasks.recipe.typed import as_typed
from visiontasks.units import counted

MOST_CLASSES = 50
MOST_FILES = 5


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check and print; the exit status is 1 where there are problems."""
    recipe = find_recipe(arguments.recipe)
    return 0 if check_data(recipe, overrides, ignored=arguments.ignore, json_file=arguments.json) else 1


def check_data(
    recipe: Path, overrides: Sequence[str], *, ignored: Sequence[str] = (), json_file: Path | None = None
) -> bool:
    """Check the data of a recipe and print what was found.

    Args:
        recipe: A recipe's file.
        overrides: `--key value` pairs.
        ignored: Kinds of problems that are listed, but do not count.
        json_file: File to write everything to as well.

    Returns:
        Whether there are no problems.

    Raises:
        InputError: If the data cannot be opened.
        MissingFileError: If the folder of `json_file` is not there.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise MissingFileError(f"--json {json_file}: no folder {json_file.parent}/, make it first")
    start = time.monotonic()
    data = recipe_data(recipe, overrides)
    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    progress = Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
    with progress, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what it doubts about a file, without its name
        task = progress.add_task("", total=None)
        report = check(
            data,
            on_start=lambda total: progress.update(task, total=total),
            on_progress=lambda done: progress.update(task, completed=done),
        )
    seconds = time.monotonic() - start
    options, own_file = options_of(overrides), recipe.parent != recipes_dir()
    _print(report, ignored, seconds, lambda line: printable(as_typed(line, options, own_file=own_file)))
    count = sum(len(of_kind) for kind, of_kind in report.problems.items() if kind not in ignored)
    if json_file is not None:
        _write(json_file, report, count, seconds)
    return count == 0


def _print(report: Report, ignored: Sequence[str], seconds: float, shown: Callable[[str], str]) -> None:
    """Print a report; `shown` names recipe keys as the user would change them."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    width = terminal_width()
    _print_counts(report, console)
    found = {kind: of_kind for kind, of_kind in report.problems.items() if of_kind}
    for kind, problems in sorted(found.items(), key=lambda item: item[0] in ignored):
        console.print(f"\n{PROBLEMS[kind]} ({kind}, {len(problems):,}{'; ignored' if kind in ignored else ''}):")
        for line in _lines(problems):
            console.print(_wrapped(shown(line), width))
    if report.notes:
        console.print("\nnotes:")
    images = sum(report.split_sizes.values())
    for note in report.notes:
        number = f", {len(note.files):,}" if note.files else ""
        files = note.files[:MOST_FILES] if len(note.files) < images else []
        more = f" and {len(note.files) - len(files):,} more" if len(note.files) > len(files) else ""
        where = f": {', '.join(files)}{more}" if files else ""
        console.print(_wrapped(shown(f"{note.what} ({note.kind}{number}){where}"), width))
    count = sum(len(problems) for kind, problems in found.items() if kind not in ignored)
    total = counted(count, "problem") if count else "no problems"
    among = f" in {counted(images + report.left_out, 'image')}" if images else ""
    console.print(f"\n{total}{among} ({seconds:.1f} s)")


def _lines(problems: Sequence[Problem]) -> list[str]:
    """A line for each problem; on a terminal only for the first of each kind."""
    if not sys.stdout.isatty():
        return [str(problem) for problem in problems]
    lines = shortened(problems)
    return lines if len(lines) == len(problems) else [*lines, "all of them: visiontasks check-data ... | less"]


def _wrapped(line: str, width: int) -> str:
    """A line below a heading, wrapped between words where it is longer than the terminal; paths stay whole."""
    return textwrap.fill(
        line,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def _print_counts(report: Report, console: Console) -> None:
    console.print(
        ", ".join(f"{split} {size:,}" for split, size in report.split_sizes.items()) or "no split can be opened"
    )
    if len(report.class_names) > MOST_CLASSES:
        for split, counts in report.class_counts.items():
            console.print(f"{split}: {len(counts)} classes of {min(counts):,} to {max(counts):,} {report.unit}")
        return
    table = Table(report.unit, box=None, pad_edge=False)
    for split in report.class_counts:
        table.add_column(split, justify="right")
    for name, *counts in zip(report.class_names, *report.class_counts.values(), strict=True):
        table.add_row(name, *(f"{count:,}" for count in counts))
    if report.class_counts:
        console.print(table)


def _write(file: Path, report: Report, count: int, seconds: float) -> None:
    content: dict[str, Any] = {
        "problem_count": count,
        "splits": report.split_sizes,
        "left_out": report.left_out,
        "unit": report.unit,
        "class_counts": {
            split: dict(zip(report.class_names, counts, strict=True)) for split, counts in report.class_counts.items()
        },
        "problems": {kind: [asdict(problem) for problem in problems] for kind, problems in report.problems.items()},
        "notes": [asdict(note) for note in report.notes],
        "wall_s": round(seconds, 2),
    }
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
