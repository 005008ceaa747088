"""Checks before anything heavy is imported: names, and whether data and weights are here or can be downloaded."""

import argparse
import glob
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import InputError, MissingFileError
from visiontasks.library_internals import import_late
from visiontasks.recipe import class_name, find_recipe, init_arg, read_recipe, starting_run
from visiontasks.recipe.choice import check_folder
from visiontasks.recipe.files import last_given
from visiontasks.recipe.keys import check_keys
from visiontasks.recipe.pretrained import check_name, check_pretrained
from visiontasks.runs.folder import find_run, interrupted_run, split_runs, start_checkpoint, which_run

GPU_FILES = ("nvidiactl", "nvidia0", "nvmap", "kfd", "dxg")
"""What drivers of GPUs make in /dev: NVIDIA's, its Jetson's, AMD's, and Windows' for Linux in it."""

EMBEDDING_SUFFIXES = (".npz", ".csv")


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


def announce(arguments: argparse.Namespace, overrides: Sequence[str] = ()) -> None:
    """Print why a recipe was chosen, and to stderr which runs were, in the first process."""
    if os.environ.get("LOCAL_RANK", "0") == "0" and "--print_config" not in overrides:
        print("".join(f"{line}\n" for line in getattr(arguments, "reasons", ())), end="", flush=True)
        print("".join(f"{line}\n" for line in getattr(arguments, "taken", ())), end="", file=sys.stderr, flush=True)


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
    _check_place(arguments)
    recipe = find_recipe(arguments.recipe)
    content = read_recipe(recipe)
    if {"--print_config", "--config"} & set(overrides):
        return  # the recipe's parser answers
    check_folder(recipe, content, overrides)
    check_keys(content, overrides)
    _check_device(content, overrides)
    if start := starting_run(content, overrides):
        start_checkpoint(str(start))
    check_downloads(content, overrides)


def _check_place(arguments: argparse.Namespace) -> None:
    """Check where the run is to go."""
    name, folder = arguments.name, arguments.out
    if arguments.resume:
        interrupted_run(arguments.resume)
    given = [option for option, value in (("--name", name), ("--out", folder), ("--resume", arguments.resume)) if value]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: give one; each of them decides where the run goes")
    if name is not None and not re.fullmatch(r"[^/\\]*[^/\\.][^/\\]*", name):
        raise InputError(f"--name {name}: expected a name without slashes; --out FOLDER takes a path")
    if folder is not None and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise InputError(f"--out {folder} {'is a file' if folder.is_file() else 'is not empty'}: name a new folder")


def _check_device(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse a GPU where the system has none for certain."""
    section = content.get("trainer")
    own = section.get("accelerator") if isinstance(section, dict) else None  # it may name another file
    accelerator = last_given(overrides, "--trainer.accelerator") or own
    kind, is_linux = platform.system(), sys.platform == "linux"
    if accelerator == "mps" and kind != "Darwin":
        raise InputError("trainer.accelerator: mps is the GPU of a Mac; leave the option out, or give cpu or cuda")
    if accelerator in ("cuda", "gpu") and is_linux and not any(Path("/dev", name).exists() for name in GPU_FILES):
        raise InputError(
            f"trainer.accelerator: {accelerator}, but no GPU's driver is on this machine (no /dev/nvidiactl): leave "
            "the option out, or give cpu"
        )


def _check_data(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    recipe = find_recipe(arguments.recipe)
    content = read_recipe(recipe)
    check_folder(recipe, content, overrides)
    check_keys(content, overrides)
    _check_data_download(content, overrides)


def _check_study(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    _check_images([*getattr(arguments, "images", ()), *filter(None, [getattr(arguments, "new", None)])])
    embeddings = getattr(arguments, "embeddings", None)
    if embeddings is not None and embeddings.suffix.lower() not in EMBEDDING_SUFFIXES:
        raise InputError(f"--embeddings {embeddings}: expected a file that ends in {' or '.join(EMBEDDING_SUFFIXES)}")
    if "run" in arguments:
        _choose_run(arguments, overrides)
        return
    _check_data(arguments, overrides)
    if arguments.question != "probe":
        check_downloads(read_recipe(find_recipe(arguments.recipe)), overrides)


def check_downloads(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Check that data and weights of a recipe are here, or can be downloaded."""
    _check_data_download(content, overrides)
    backbone, weights = (init_arg(content, overrides, "model", name) for name in ("backbone", "weights"))
    if starting_run(content, overrides) or not isinstance(weights, str):
        return
    if weights == "hub" and isinstance(backbone, str):
        check_pretrained(backbone)
        import_late()
        from visiontasks.backbones import check_weights

        check_weights(backbone)
    elif weights not in ("hub", "none", "") and not Path(weights.removeprefix("local-dir:")).expanduser().exists():
        raise MissingFileError(f"no weight file {weights}: give model.init_args.weights a file, 'hub' or 'none'")


def _check_data_download(content: dict[str, Any], overrides: Sequence[str]) -> None:
    download = DOWNLOADS.get(class_name(content, overrides, "data"))
    root, allowed = (init_arg(content, overrides, "data", name) for name in ("root", "download"))
    if download and isinstance(root, str) and allowed in (True, "true"):
        download.check(Path(root), allowed=True)


def _choose_runs(arguments: argparse.Namespace, names: Sequence[str], *, has_weights: bool = True) -> list[str]:
    """The folders of the runs that were named; `announce` prints which one of several was chosen."""
    runs = [find_run(name, has_weights=has_weights) for name in names]
    arguments.taken = [line for name, run in zip(names, runs, strict=True) if (line := which_run(name, run))]
    return [str(run) for run in runs]


def _choose_run(arguments: argparse.Namespace, _: Sequence[str]) -> None:
    (arguments.run,) = _choose_runs(arguments, [arguments.run], has_weights=arguments.command != "report")


def _check_predicted(arguments: argparse.Namespace, _: Sequence[str]) -> None:
    runs, arguments.images = split_runs(arguments.inputs)
    arguments.runs = _choose_runs(arguments, arguments.inputs[: len(runs)])
    _check_images(arguments.images)


def _check_images(names: Sequence[str]) -> None:
    missing = next((name for name in names if not glob.has_magic(name) and not Path(name).exists()), None)
    if missing is not None:
        raise MissingFileError(f"{missing}: no such file or folder")


def _check_summary(arguments: argparse.Namespace, _: Sequence[str]) -> None:
    image_size(arguments)
    check_name(arguments.backbone)


def _check_compared(arguments: argparse.Namespace, _: Sequence[str]) -> None:
    arguments.runs = _choose_runs(arguments, arguments.runs, has_weights=False)
    if len(arguments.runs) < 2:
        raise InputError(f"compare takes 2 to 26 runs, got {len(arguments.runs)}: visiontasks compare RUN RUN")


CHECKS: dict[str, Callable[[argparse.Namespace, Sequence[str]], object]] = {
    "recipes": lambda arguments, _: arguments.recipe and find_recipe(arguments.recipe),
    "finetune": _check_training,
    "evaluate": _choose_run,
    "predict": _check_predicted,
    "explain": _choose_run,
    "export": _choose_run,
    "check-data": _check_data,
    "show": _check_data,
    "study": _check_study,
    "summary": _check_summary,
    "report": _choose_run,
    "compare": _check_compared,
    "cache": lambda arguments, _: age_s(arguments),
}
