"""The command `recipes`: lists the shipped recipes, or describes one. Imports nothing heavy."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from visiontasks.commands.printing import PIPE_WIDTH, terminal_width
from visiontasks.commands.tables import table
from visiontasks.recipe import Recipe, describe, find_recipe, list_recipes, read_header

LAYOUTS = (
    ("recipe", "task", "backbone", "data", "download", "metric", "measured"),
    ("recipe", "task", "backbone", "data", "metric", "measured"),
    ("recipe", "task", "architecture", "data", "metric", "measured"),
    ("recipe", "task", "architecture", "data", "measured"),
    ("recipe", "task", "measured"),
)
LONGEST = 120


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Print the table, or one recipe's header."""
    width = terminal_width()
    if arguments.recipe is None:
        recipes = list_recipes()
        lines = [*table([_cells(recipe) for recipe in recipes], LAYOUTS, width), *_notes(recipes, width)]
    else:
        lines = _described(find_recipe(arguments.recipe), width)
    print("\n".join(lines))


def _cells(recipe: Recipe) -> dict[str, str]:
    metric, measured = recipe.headline
    return {
        "recipe": recipe.name,
        "task": recipe.task,
        "backbone": recipe.backbone,
        "architecture": recipe.backbone.partition(".")[0],
        "data": recipe.data,
        "download": "yes" if recipe.needs_download else "no",
        "metric": metric,
        "measured": measured,
    }


def _notes(recipes: Sequence[Recipe], width: int) -> list[str]:
    """How to read the table; nothing in a pipe, whose lines are recipes."""
    if width >= PIPE_WIDTH:
        return []
    metrics = dict.fromkeys(f"{recipe.headline[0]} of {recipe.task}" for recipe in recipes if recipe.headline[0])
    offline = [recipe.name for recipe in recipes if not recipe.needs_download]
    notes = (
        f"measured: {', '.join(metrics)}; visiontasks recipes NAME shows on which data and how",
        f"without a download: {', '.join(offline)}",
    )
    return ["", *(line for note in notes for line in textwrap.wrap(note, min(width, LONGEST), subsequent_indent="  "))]


def _described(path: Path, width: int) -> list[str]:
    """The header of a recipe, and where its file is."""
    recipe = describe(path)
    download = "downloads data or weights" if recipe.needs_download else "works without a network"
    facts = f"{recipe.task}, backbone {recipe.backbone}, data {recipe.data}; {download}"
    texts = [paragraph if _is_command(paragraph) else _wrapped(paragraph, width) for paragraph in read_header(path)]
    return [recipe.name, _wrapped(facts, width), *(["", *texts] if texts else []), "", f"file: {path}"]


def _is_command(paragraph: str) -> bool:
    return paragraph.startswith(" ")


def _wrapped(paragraph: str, width: int) -> str:
    return textwrap.fill(paragraph, width if width >= PIPE_WIDTH else min(width, LONGEST), break_on_hyphens=False)
