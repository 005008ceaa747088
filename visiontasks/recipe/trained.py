"""The network of a finished run, without the data that it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch.cli import LightningArgumentParser

from visiontasks import tasks
from visiontasks.backbones import Normalization
from visiontasks.data.pipeline.geometry import Resize, Size
from visiontasks.errors import InputError
from visiontasks.recipe.classes import check_classes
from visiontasks.recipe.errors import explain, explain_construction
from visiontasks.runs.checkpoint import read_checkpoint
from visiontasks.runs.folder import BACKBONE, BEST, find_run
from visiontasks.tasks import Task

KNOWN = ("recipe", "class_names", "preprocessing")
"""What a checkpoint has to say beside its weights."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run's best checkpoint knows.

    Args:
        run: The run's folder.
        task: In eval mode, float32, on the CPU, with the weights of the best epoch.
        class_names: By class index.
        image_size: Height and width that the network is shown.
        resize: How images get that size, see `visiontasks.data.pipeline.geometry.place`.
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

    @property
    def max_16bit(self) -> int | None:
        """Largest value of 16-bit images, as for `visiontasks.data.pipeline.reader.read_image`."""
        stated: int | None = self.recipe["data"]["init_args"].get("max_16bit")
        return stated


def load_trained(run: str | Path) -> Trained:
    """Read a run; its folder with `checkpoints/best.ckpt` and `backbone/` is all that is needed.

    Without `backbone/` the recipe's backbone is made, which must be one by name or lie where it lay.

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
    missing = [key for key in KNOWN if key not in known]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: it was made by another version; train the recipe again")
    recipe = _read_recipe(known["recipe"], path)
    image_size, resize, normalization = _read_preprocessing(known["preprocessing"], path)
    class_names = tuple(known["class_names"])
    options = _without_source(recipe["model"], folder, len(class_names))
    task = build_task(recipe["model"], options, image_size=image_size, source=path)
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(f"the weights of {path} do not fit the network of its recipe ({error})") from error
    _normalize_by(task, normalization, path)
    return Trained(folder, task.eval(), class_names, image_size, resize, normalization, recipe)


def _read_recipe(text: str, path: Path) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(text)
        recipe["data"]["init_args"], recipe["model"]["init_args"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"the recipe in {path} cannot be read ({type(error).__name__}: {error})") from error
    return cast(dict[str, Any], recipe)


def _read_preprocessing(shown: dict[str, Any], path: Path) -> tuple[Size, Resize, Normalization]:
    if shown["resize"] not in get_args(Resize):
        raise InputError(f"{path} resizes images by {shown['resize']!r}, expected one of {', '.join(get_args(Resize))}")
    if len(shown["image_size"]) != 2:
        raise InputError(f"{path} has image_size {shown['image_size']}, expected height and width")
    height, width = shown["image_size"]
    normalization = Normalization(tuple(shown["mean"]), tuple(shown["std"]))
    return (height, width), cast(Resize, shown["resize"]), normalization


def build_task(model: dict[str, Any], options: dict[str, Any], *, image_size: Size, source: Path) -> Task:
    """Make the task that a recipe's `model` section describes, see `build_section`, for images of a size."""
    if hasattr(tasks, str(model.get("class_path")).rpartition(".")[2]):  # a task from elsewhere need not take it
        options = {**options, "image_size": list(image_size)}
    task: Task = build_section("model", Task, model, options, source=source)
    return task


def build_section(name: str, kind: type[Any], section: dict[str, Any], options: dict[str, Any], *, source: Path) -> Any:
    """Make the object that a section of a recipe describes.

    Args:
        name: Of the section: "model" or "data".
        kind: What it must be.
        section: Its class_path and init_args.
        options: Arguments in place of those that it has.
        source: The file that it is from.

    Raises:
        InputError: If it cannot be read, names what no recipe may name, or has values out of range.
    """
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{name}", type=kind, required=True)
    try:
        config = parser.parse_object({name: {**section, "init_args": {**section["init_args"], **options}}})
    except ArgumentError as error:
        raise InputError(f"the recipe in {source} cannot be read: {explain(error, parser)}") from error
    check_classes(config)
    try:
        return parser.instantiate_classes(config)[name]
    except ValueError as error:
        message = explain_construction(error)
        if message is None:
            raise
        raise InputError(f"{source}: {message}") from error


def _without_source(model: dict[str, Any], folder: Path, num_classes: int) -> dict[str, Any]:
    """Arguments of a run's task by which nothing is loaded from where it was trained."""
    options: dict[str, Any] = {"num_classes": num_classes, "weights": "none"}
    if (folder / BACKBONE).is_dir():
        options["backbone"] = f"local-dir:{folder / BACKBONE}"
    if model["init_args"].get("classifier"):
        options["classifier"] = str(folder)  # which has learned from it, class head and all
    return options


def _normalize_by(task: Task, normalization: Normalization, path: Path) -> None:
    """Give a task the mean and std of the training where its backbone's own are others, as without its config.json."""
    for own, values in ((task.mean, normalization.mean), (task.std, normalization.std)):
        trained = 255 * torch.tensor(values).view(1, -1, 1, 1)
        if trained.shape != own.shape:
            raise InputError(f"{path} normalizes {len(values)} channels, but its network takes {own.shape[1]}")
        if not torch.allclose(own, trained):
            own.copy_(trained)
