"""Opens what was trained without a recipe: a checkpoint of a plain Lightning trainer, or a task beside its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.recipe.build import build_task
from visiontasks.recipe.open_run import FinishedRun, normalize_by, open_weights
from visiontasks.runs.checkpoint import read_any_checkpoint
from visiontasks.runs.folder import RECIPE
from visiontasks.runs.provenance import ENTRY, Provenance
from visiontasks.tasks import Task
from visiontasks.tasks.arguments import load_weights, stored_arguments

_OF_DATA = ("class_names", "class_path", "image_size", "resize", "batch_size")


def open_checkpoint(path: Path) -> FinishedRun:
    """Open a checkpoint, of a run or of `trainer.fit(task, data)` with a task and data of this package.

    Args:
        path: The file.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it cannot be read, or does not store what a prediction needs; with what to do.
    """
    checkpoint = read_any_checkpoint(path)
    folder = path.parent.parent
    if ENTRY in checkpoint and (folder / RECIPE).is_file():
        return open_weights(folder, path)
    stored = stored_arguments(checkpoint, path)
    data = _stored_data(checkpoint, path)
    recipe = {
        "model": {"class_path": stored["class_path"], "init_args": dict(stored["init_args"])},
        "data": {"class_path": data["class_path"], "init_args": _init_args(data)},
    }
    provenance = _provenance(recipe, data, stored["mean"], stored["std"], path)
    options = {"num_classes": len(provenance.class_names), "weights": "none"}
    task = build_task(recipe["model"], options, image_size=provenance.image_size, path=path)
    load_weights(task, checkpoint, path, left_out=stored["left_out"])
    normalize_by(task, provenance, path)
    return FinishedRun(path.parent, task.eval(), provenance, recipe)


def of_task(task: Task, data: DataModule) -> FinishedRun:
    """A task as it is in memory, with the names of the classes and the preparation of images of its data.

    Args:
        task: Trained; put into eval mode.
        data: Which it was trained on, or of the same classes and preparation.

    Raises:
        InputError: If the two do not fit.
    """
    count = getattr(task, "num_classes", data.num_classes)
    if count != data.num_classes:
        raise InputError(f"{type(task).__name__} has {count} classes, {type(data).__name__} {data.num_classes}")
    kind, known = type(task), data.state_dict()
    recipe = {
        "model": {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": task.arguments["init_args"]},
        "data": {"class_path": known["class_path"], "init_args": _init_args(known)},
    }
    mean, std = ((values / 255).flatten().tolist() for values in (task.mean, task.std))
    return FinishedRun(Path(), task.eval(), _provenance(recipe, known, mean, std, Path()), recipe)


def _stored_data(checkpoint: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """What a DataModule of this package stored in a checkpoint, under the name of its class."""
    for entry in checkpoint.values():
        if isinstance(entry, Mapping) and set(_OF_DATA) <= entry.keys():
            return entry
    raise InputError(
        f"{path} does not store the names of the classes and how images are prepared, which trainer.fit(task, data) "
        "adds where data is a DataModule of visiontasks, not loaders. Make such data, and the task by its class's "
        "load_from_checkpoint(path), then Predictor.of(task, data)"
    )


def _init_args(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data.get(name) for name in ("batch_size", "max_16bit")}


def _provenance(
    recipe: Mapping[str, Any], data: Mapping[str, Any], mean: list[float], std: list[float], path: Path
) -> Provenance:
    entry = {
        "recipe": yaml.safe_dump(recipe),
        "class_names": data["class_names"],
        "preprocessing": {"image_size": data["image_size"], "resize": data["resize"], "mean": mean, "std": std},
    }
    return Provenance.from_dict(entry, path)
