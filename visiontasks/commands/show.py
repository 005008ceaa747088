"""The command `show`: draws images of a recipe as the network gets them, without a network."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from visiontasks.errors import MissingFileError
from visiontasks.recipe import find_recipe
from visiontasks.report.single import save_picture
from visiontasks.results.batch import show_batch


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Draw, write the picture and print where it is."""
    recipe = find_recipe(arguments.recipe)
    path: Path = arguments.out or Path(f"{recipe.stem}_{arguments.split}.png")
    if not path.parent.is_dir():
        raise MissingFileError(f"--out {path}: no folder {path.parent}/, make it first")
    picture = show_batch(recipe, overrides, split=arguments.split, count=arguments.count)
    save_picture(picture, path)
    print(f"{path}: {picture.width}x{picture.height} pixels")
