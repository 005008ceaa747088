"""Tables for the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from visiontasks.recipe import Recipe


def print_recipes(recipes: Sequence[Recipe]) -> None:
    """One line for each recipe."""
    table = Table("recipe", "task", "backbone", "data", "download", "measured", box=None, pad_edge=False)
    for r in recipes:
        table.add_row(r.name, r.task, r.backbone, r.data, "yes" if r.needs_download else "no", r.measured)
    Console().print(table)


def print_result(metrics: dict[str, Any], *, title: str, run_dir: Path | None = None) -> None:
    """Every metric with its interval and sample count, then where the run is and what can be done with it.

    Args:
        metrics: As in result.json.
        title: What was measured.
        run_dir: The run's folder, to be named with the next commands.
    """
    table = Table("metric", "value", "95 % interval", "n", title=title, title_justify="left", box=None, pad_edge=False)
    for name, entry in metrics.items():
        low_high = entry.get("interval95")
        interval = f"{low_high[0]:.4f} - {low_high[1]:.4f}" if low_high else ""
        count = f"{entry['count']:,} / {entry['n']:,}" if "count" in entry else f"{entry['n']:,}"
        table.add_row(name, f"{entry['value']:.4f}", interval, count)
    console = Console(highlight=False)
    console.print()
    console.print(table)
    if run_dir is not None:
        console.print(f"\nrun folder: {run_dir}")
        console.print(f"next: visiontasks evaluate {run_dir}", soft_wrap=True)
