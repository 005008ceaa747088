"""Checks before anything heavy is imported: names, and whether data and weights are here or can be downloaded."""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import InputError, MissingFileError
from visiontasks.recipe import class_name, find_recipe, init_arg, read_recipe, starting_run
from visiontasks.recipe.choice import check_folder
from visiontasks.recipe.keys import check_keys
from visiontasks.recipe.pretrained import check_pretrained
from visiontasks.runs.folder import find_run, split_runs


def check_early(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Check a command's arguments as far as that takes milliseconds.

    Args:
        arguments: What `read_words` gave.
        overrides: Recipe keys with their values.

    Raises:
        InputError: If one is wrong.
        MissingFileError: If something is not there.
    """
    check = CHECKS.get(arguments.command)
    if check is not None:
        check(arguments, overrides)


def announce(arguments: argparse.Namespace) -> None:
    """Print why a recipe was chosen, in the first process of a training."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print("".join(f"{line}\n" for line in getattr(arguments, "reasons", ())), end="", flush=True)


def runs_and_images(arguments: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """Run folders and images of `predict`."""
    return split_runs(arguments.inputs)


def image_size(arguments: argparse.Namespace) -> tuple[int, int] | None:
    """Height and width from --image-size 224 or 240x320; None without it."""
    if arguments.image_size is None:
        return None
    sides = arguments.image_size.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise InputError(
            f"--image-size {arguments.image_size}: expected pixels such as 224, or height and width such as 240x320"
        )
    return int(sides[0]), int(sides[-1])


def _check_training(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    _check_place(arguments)
    recipe = find_recipe(arguments.recipe)
    content = read_recipe(recipe)
    if {"--print_config", "--config"} & set(overrides):
        return  # the recipe's parser answers
    check_folder(recipe, content, overrides)
    check_keys(content, overrides)
    check_downloads(content, overrides)


def _check_place(arguments: argparse.Namespace) -> None:
    """Check where the run is to go."""
    name, folder = arguments.name, arguments.out
    given = [option for option, value in (("--name", name), ("--out", folder), ("--resume", arguments.resume)) if value]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: give one; each of them decides where the run goes")
    if name is not None and not re.fullmatch(r"[^/\\]*[^/\\.][^/\\]*", name):
        raise InputError(f"--name {name}: expected a name without slashes; --out FOLDER takes a path")
    if folder is not None and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise InputError(f"--out {folder} {'is a file' if folder.is_file() else 'is not empty'}: name a new folder")


def _check_data(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    recipe = find_recipe(arguments.recipe)
    content = read_recipe(recipe)
    check_folder(recipe, content, overrides)
    check_keys(content, overrides)
    _check_data_download(content, overrides)


def check_downloads(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Check that data and weights of a recipe are here, or can be downloaded."""
    _check_data_download(content, overrides)
    backbone, weights = (init_arg(content, overrides, "model", name) for name in ("backbone", "weights"))
    if starting_run(content, overrides) or not isinstance(weights, str):
        return
    if weights == "hub" and isinstance(backbone, str):
        check_pretrained(backbone)
        from visiontasks.backbones import check_weights

        check_weights(backbone)
    elif weights not in ("hub", "none", "") and not Path(weights.removeprefix("local-dir:")).expanduser().exists():
        raise MissingFileError(f"no weight file {weights}: give model.init_args.weights a file, 'hub' or 'none'")


def _check_data_download(content: dict[str, Any], overrides: Sequence[str]) -> None:
    download = DOWNLOADS.get(class_name(content, overrides, "data"))
    root, allowed = (init_arg(content, overrides, "data", name) for name in ("root", "download"))
    if download and isinstance(root, str) and allowed in (True, "true"):
        download.check(Path(root), allowed=True)


CHECKS: dict[str, Callable[[argparse.Namespace, Sequence[str]], object]] = {
    "finetune": _check_training,
    "evaluate": lambda arguments, _: find_run(arguments.run),
    "predict": lambda arguments, _: runs_and_images(arguments),
    "explain": lambda arguments, _: find_run(arguments.run),
    "export": lambda arguments, _: find_run(arguments.run),
    "check-data": _check_data,
    "summary": lambda arguments, _: image_size(arguments),
}
