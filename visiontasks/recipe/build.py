"""Makes the task of a recipe, without data and trainer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch.cli import LightningArgumentParser

from visiontasks import tasks
from visiontasks.errors import InputError
from visiontasks.recipe.classes import check_classes
from visiontasks.recipe.errors import explain, explain_construction
from visiontasks.tasks import Task


def build_task(
    model: Mapping[str, Any], options: Mapping[str, Any], *, image_size: tuple[int, int], path: Path
) -> Task:
    """Make the task of a recipe's `model` section for images of a size.

    Args:
        model: Its class_path and init_args.
        options: Arguments in place of those that it has.
        image_size: Height and width in pixels.
        path: The file that the recipe is from.

    Raises:
        InputError: If it cannot be read, names a class that a recipe may not name, or has values out of range.
    """
    arguments = {**model["init_args"], **options}
    if hasattr(tasks, str(model.get("class_path")).rpartition(".")[2]):  # a task from elsewhere need not take it
        arguments["image_size"] = list(image_size)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Task, required=True)
    try:
        config = parser.parse_object({"model": {**model, "init_args": arguments}})
    except ArgumentError as error:
        raise InputError(f"the recipe in {path} cannot be read: {explain(error, parser)}") from error
    check_classes(config)
    try:
        task: Task = parser.instantiate_classes(config)["model"]
    except ValueError as error:
        message = explain_construction(error)
        if message is None:
            raise
        raise InputError(f"{path}: {message}") from error
    return task
