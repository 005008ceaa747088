"""The network of a finished run, without the data that it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from jsonargparse import ArgumentError
from lightning.pytorch.cli import LightningArgumentParser

from visiontasks.backbones import Normalization
from visiontasks.checkpoints import read_checkpoint
from visiontasks.data.resize import Resize, Size
from visiontasks.errors import InputError
from visiontasks.recipe_classes import check_classes
from visiontasks.runs import BACKBONE, BEST, find_run
from visiontasks.tasks import Task


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run's best checkpoint knows.

    Args:
        run: The run's folder.
        task: In eval mode, float32, on the CPU, with the weights of the best epoch.
        class_names: By class index.
        image_size: Height and width that the network is shown.
        resize: How images get that size, see `visiontasks.data.resize.place`.
        normalization: What the task itself subtracts and divides by.
        recipe: The resolved recipe.
    """

    run: Path
    task: Task
    class_names: tuple[str, ...]
    image_size: Size
    resize: Resize
    normalization: Normalization
    recipe: dict[str, Any]


def load_trained(run: str | Path) -> Trained:
    """Read a run; its folder with `checkpoints/best.ckpt` and `backbone/` is all that is needed.

    Args:
        run: A run folder, or a folder of runs, of which the newest is taken.

    Raises:
        MissingFileError: If there is no such run, or it has no checkpoint.
        InputError: If the checkpoint cannot be read, or is not of a task of this package.
    """
    folder = find_run(str(run))
    path = folder / BEST
    checkpoint = read_checkpoint(path)
    known: dict[str, Any] = checkpoint["visiontasks"]
    recipe: dict[str, Any] = yaml.safe_load(known["recipe"])
    shown = known["preprocessing"]
    if shown["resize"] not in get_args(Resize):
        raise InputError(f"{path} resizes images by {shown['resize']!r}, expected one of {', '.join(get_args(Resize))}")
    class_names = tuple(known["class_names"])
    task = _make(recipe["model"], folder, len(class_names))
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(f"the weights of {path} do not fit the network of its recipe ({error})") from error
    height, width = shown["image_size"]
    return Trained(
        run=folder,
        task=task.eval(),
        class_names=class_names,
        image_size=(height, width),
        resize=cast(Resize, shown["resize"]),
        normalization=Normalization(tuple(shown["mean"]), tuple(shown["std"])),
        recipe=recipe,
    )


def _make(model: dict[str, Any], folder: Path, num_classes: int) -> Task:
    """The task that a recipe's `model` section describes, with nothing loaded from where it was trained."""
    options = {**model["init_args"], "num_classes": num_classes, "weights": "none"}
    if (folder / BACKBONE).is_dir():
        options["backbone"] = f"local-dir:{folder / BACKBONE}"
    if options.get("classifier"):
        options["classifier"] = str(folder)  # which has learned from it, class head and all
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=Task, required=True)
    try:
        config = parser.parse_object({"model": {**model, "init_args": options}})
    except ArgumentError as error:
        raise InputError(f"the recipe in {folder / BEST} cannot be read: {error}") from error
    check_classes(config)
    task: Task = parser.instantiate_classes(config)["model"]
    return task
