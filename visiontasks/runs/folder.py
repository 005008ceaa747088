"""Run folders: runs/<recipe>/<start time>/. Imports nothing heavy."""

import json
import shutil
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Any

from visiontasks.errors import InputError, MissingFileError
from visiontasks.regular_files import check_regular
from visiontasks.runs.result import check_result

RECIPE, RESULT, METRICS, REPORT = "recipe.yaml", "result.json", "metrics.csv", "report.html"
BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"
QUICK = "_quick"
"""At the end of the name of runs that only show whether everything works."""
PREPROCESSING = "preprocessing.json"  # of folders that `visiontasks export` writes, and not of runs
BACKBONE = "backbone"  # folder of the backbone's config.json: its arguments, mean and std


def find_run(name: str, *, has_weights: bool = True) -> Path:
    """The folder of the run that a name means.

    Args:
        name: A run folder, or a folder of runs such as runs/digits_resnet, of which the newest finished run is taken,
            and the newest of all only where none is finished.
        has_weights: Whether it must have a checkpoint.

    Raises:
        MissingFileError: If there is no run, or it has no checkpoint.
    """
    runs = existing_runs(name)
    usable = [run for run in runs if (run / BEST).is_file()] if has_weights else runs
    if not usable:
        if (runs[-1] / PREPROCESSING).is_file():
            raise MissingFileError(
                f"{runs[-1]} is what `visiontasks export` made of a run, and not a run: give the run's own folder"
            )
        raise MissingFileError(f"{runs[-1]} has no {BEST}: its training ended before the first validation")
    return ([run for run in usable if is_finished(run)] or usable)[-1]


def is_finished(run: Path) -> bool:
    """Whether a run's training came to its end and was measured."""
    return (run / RESULT).is_file()


def which_run(name: str, run: Path) -> str:
    """One line about the run that was found under a name; empty where the name is its own folder.

    Args:
        name: What the user gave.
        run: Of `find_run`.
    """
    runs = runs_in(Path(name))
    if runs == [Path(name)]:
        return ""
    newer = len(runs) - 1 - runs.index(run)
    if not is_finished(run):
        return f"{name}: no run there is finished; taking the newest one with weights, {run.name}"
    passed_over = f"; {newer} newer not finished" if newer else ""
    return f"{name}: taking its newest finished run, {run.name}{passed_over}"


def existing_runs(name: str, root: Path = Path("runs")) -> list[Path]:
    """The runs that a name means, one at least, finished or not, the newest last.

    Args:
        name: A run folder, or a folder of runs.
        root: Folder of all runs, for an answer.

    Raises:
        MissingFileError: If there is no run; with those that there are.
    """
    runs = runs_in(Path(name))
    if not runs:
        folders = sorted(str(folder) for folder in root.glob("*") if folder.is_dir() and runs_in(folder))
        near = get_close_matches(name.rstrip("/"), folders, n=3, cutoff=0.7) or folders[:3]
        raise MissingFileError(
            f"no run in {name}: give a folder like runs/<recipe>/<start time>, or runs/<recipe> for its newest run"
            + (f"; here: {', '.join(near)}" if near else "")
        )
    return runs


def start_checkpoint(name: str) -> Path:
    """The checkpoint that `init_from` names.

    Args:
        name: A run folder or a folder of runs, see `find_run`, or a .ckpt file.

    Raises:
        MissingFileError: If there is no such run, or it has no checkpoint.
        InputError: If the name is empty.
    """
    if not name.strip():
        raise InputError("init_from is empty, expected a run folder, a folder of runs, or a .ckpt file")
    path = Path(name).expanduser()
    try:
        return path if path.is_file() else find_run(str(path)) / BEST
    except MissingFileError as error:
        raise MissingFileError(f"init_from: {error}") from error


def interrupted_run(name: str) -> Path:
    """The folder of the run that `--resume` names.

    Args:
        name: A run's folder, a folder of runs (the newest is taken), or one of a run's checkpoints.

    Raises:
        MissingFileError: If there is no such run.
    """
    path = Path(name)
    if path.is_file() and (path.parent.parent / RECIPE).is_file():
        return path.parent.parent
    runs = runs_in(path)
    if not runs:
        raise MissingFileError(
            f"--resume {name}: no run there; give its folder, runs/<recipe>/<start time>, or a checkpoint in it"
        )
    return runs[-1]


def runs_in(path: Path) -> list[Path]:
    """A run's own folder, or those of the runs in a folder, the newest last."""
    return [path] if (path / RECIPE).is_file() else sorted(child.parent for child in path.glob(f"*/{RECIPE}"))


def split_runs(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Split a command line into runs and images.

    The first argument is a run. So are the following ones up to the first that is not a run folder (`runs_in`);
    from there on all are images.

    Args:
        arguments: At least one.

    Returns:
        The run folders, see `find_run`, and the images as they were given.

    Raises:
        MissingFileError: If the first is not a run, a run has no checkpoint, or no images are given.
        InputError: If a run follows images.
    """
    runs, rest = [find_run(arguments[0])], list(arguments[1:])
    while rest and runs_in(Path(rest[0])):
        runs.append(find_run(rest.pop(0)))
    late = [argument for argument in rest if runs_in(Path(argument))]
    if late:
        raise InputError(f"runs must come before images: move {late[0]} to the front")
    if not rest:
        raise MissingFileError(f"no images after {arguments[-1]}: name files, folders or globs such as 'photos/*.jpg'")
    return runs, rest


def make_run_dir(path: Path) -> Path:
    """Make a run's folder where the user wants it.

    Raises:
        InputError: If something lies there.
    """
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"--out {path}: the folder is not empty; name a new one")
    path.mkdir(parents=True, exist_ok=True)
    return path


def existing_folder(path: Path) -> Path:
    """The deepest folder of a path that is there."""
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), Path())


def remove_run_dir(path: Path, there: Path) -> None:
    """Remove a run's folder, and those above it that were made for it and hold nothing else.

    Args:
        path: The run's folder.
        there: The deepest folder of the path that was there before; it stays.
    """
    shutil.rmtree(path, ignore_errors=True)
    if path == there:  # the user's own, empty before
        path.mkdir()
        return
    for folder in path.parents:
        if folder == there:
            return
        try:
            folder.rmdir()
        except OSError:  # another run is in it
            return


def new_run_dir(root: Path, name: str) -> Path:
    """Make the folder of a new run, <root>/<recipe>/<start time>, with a number at its end where that exists.

    Args:
        root: The folder of all runs.
        name: The recipe's name.
    """
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for attempt in count(1):
        path = root / name / (started if attempt == 1 else f"{started}_{attempt}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:  # also of a run that another process has just begun
            if not path.is_dir():
                raise
            continue
        break
    return path


def recipe_name(recipe: Path) -> str:
    """The name under which runs of a recipe are stored; a run's own recipe.yaml has the name of its recipe."""
    folder = recipe.resolve().parent
    is_of_run = recipe.name == RECIPE and (folder / BEST).parent.is_dir()
    return folder.parent.name if is_of_run else recipe.stem


def read_result(run: Path, *, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The content of a run's result.json.

    Args:
        run: The run's folder.
        needed: Keys that must not be missing, dotted.

    Raises:
        InputError: If it is missing, is not JSON, or has a value of another kind than `finetune` writes.
    """
    path = run / RESULT
    check_regular(path)
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    check_result(content, path, needed=needed)
    return content
