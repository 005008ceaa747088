"""Checks before anything heavy is imported: names, and whether data and weights are here or can be downloaded."""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import InputError
from visiontasks.recipe import class_name, find_recipe, init_arg, read_recipe, starting_run
from visiontasks.runs.folder import find_run, split_runs


def check_early(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Check a command's arguments as far as that takes milliseconds.

    Args:
        arguments: What `parser` gave.
        overrides: What it left.

    Raises:
        InputError: If one is wrong.
        MissingFileError: If something is not there.
    """
    if overrides and not arguments.takes_overrides:
        raise InputError(f"visiontasks {arguments.command} does not take {' '.join(overrides)}")
    check = CHECKS.get(arguments.command)
    if check is not None:
        check(arguments, overrides)


def runs_and_images(arguments: argparse.Namespace, rest: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Run folders and images of `predict`, some of which may follow an option."""
    unknown = [argument for argument in rest if argument.startswith("-")]
    if unknown:
        raise InputError(f"visiontasks predict does not take {' '.join(unknown)}")
    return split_runs([*arguments.inputs, *rest])


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


def age_s(arguments: argparse.Namespace) -> float | None:
    """Seconds from --older-than 30d or 12h; None without it."""
    if arguments.older_than is None:
        return None
    found = re.fullmatch(r"(\d+)([dh])", arguments.older_than)
    if not found:
        raise InputError(f"--older-than {arguments.older_than}: expected days such as 30d, or hours such as 12h")
    return float(found[1]) * {"d": 86400, "h": 3600}[found[2]]


def _check_training(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    content = read_recipe(find_recipe(arguments.recipe))
    if not {"--help", "--print_config"} & set(overrides):
        check_downloads(content, overrides)


def check_downloads(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Check that data and weights of a recipe are here, or can be downloaded."""
    _check_data_download(content, overrides)
    backbone, weights = (init_arg(content, overrides, "model", name) for name in ("backbone", "weights"))
    if isinstance(backbone, str) and weights == "hub" and not starting_run(content, overrides):
        from visiontasks.backbones import check_weights

        check_weights(backbone)


def _check_data_download(content: dict[str, Any], overrides: Sequence[str]) -> None:
    download = DOWNLOADS.get(class_name(content, overrides, "data"))
    root, allowed = (init_arg(content, overrides, "data", name) for name in ("root", "download"))
    if download and isinstance(root, str) and allowed in (True, "true"):
        download.check(Path(root), allowed=True)


CHECKS: dict[str, Callable[[argparse.Namespace, Sequence[str]], object]] = {
    "recipes": lambda arguments, _: arguments.recipe and find_recipe(arguments.recipe),
    "finetune": _check_training,
    "evaluate": lambda arguments, _: find_run(arguments.run),
    "predict": runs_and_images,
    "explain": lambda arguments, _: find_run(arguments.run),
    "export": lambda arguments, _: find_run(arguments.run),
    "check-data": lambda arguments, overrides: _check_data_download(
        read_recipe(find_recipe(arguments.recipe)), overrides
    ),
    "summary": lambda arguments, _: image_size(arguments),
    "cache": lambda arguments, _: age_s(arguments),
}
