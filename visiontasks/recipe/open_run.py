"""The one door to a finished run, or to a folder that `visiontasks export` made of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import safetensors.torch
import timm
import torch
import yaml

from visiontasks.backbones import Normalization
from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Resize, Size
from visiontasks.recipe.build import build_task
from visiontasks.recipe.files import modernized
from visiontasks.regular_files import check_regular, read_json
from visiontasks.runs.checkpoint import read_checkpoint
from visiontasks.runs.folder import BACKBONE, BEST, PREPROCESSING, RECIPE, find_run
from visiontasks.runs.provenance import ENTRY, Provenance
from visiontasks.tasks import Task
from visiontasks.tasks.arguments import restore_calibration
from visiontasks.tasks.calibration import Calibration
from visiontasks.tasks.known_images import KnownImages

if TYPE_CHECKING:
    from visiontasks.recipe.measurement import Measurement

CONFIG, WEIGHTS, HEAD = "config.json", "model.safetensors", "head.safetensors"
CLASSES, CALIBRATION_FILE, KNOWN_IMAGES_FILE = "classes.json", "calibration.json", "known_images.safetensors"
"""Files of an exported folder."""
HERE = [
    *("--trainer.accelerator", "cpu", "--trainer.devices", "1"),
    *("--trainer.strategy", "auto", "--trainer.precision", "32-true"),
]
"""A few images are read on whatever machine this is."""


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run.

    Args:
        folder: The run's folder.
        task: In eval mode, float32, on the CPU, with the weights of the best epoch.
        provenance: What its checkpoint stores beside the weights.
        recipe: The resolved recipe.
    """

    folder: Path
    task: Task
    provenance: Provenance
    recipe: dict[str, Any]

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index."""
        return self.provenance.class_names

    @property
    def image_size(self) -> Size:
        """Height and width of the network's input."""
        return self.provenance.image_size

    @property
    def resize(self) -> Resize:
        """How images get that size, see `visiontasks.outputs.geometry`."""
        return cast(Resize, self.provenance.resize)

    @property
    def normalization(self) -> Normalization:
        """What the task itself subtracts and divides by."""
        return Normalization(self.provenance.mean, self.provenance.std)

    @property
    def max_16bit(self) -> int | None:
        """Largest value of 16-bit images, as for `visiontasks.data.pipeline.reader.read_image`."""
        stated: int | None = self.recipe["data"]["init_args"].get("max_16bit")
        return stated

    def measurement(self, overrides: Sequence[str], *, split: str) -> "Measurement":
        """Data and trainer to measure it with.

        Args:
            overrides: `--key value` pairs, for instance another `--data.root`.
            split: What will be measured.

        Raises:
            InputError: If the data cannot be read or has other classes, or an override contradicts the training.
        """
        from visiontasks.recipe.measurement import Measurement  # with all of Lightning's command line

        return Measurement(self.folder, self.task, self.provenance, overrides, split=split)

    def data(self, overrides: Sequence[str] = (), *, split: str = "test") -> DataModule:
        """Its data, or what overrides name, to read a few images of; see `measurement`."""
        return self.measurement([*HERE, *overrides], split=split).datamodule


def open_run(name: str | Path) -> FinishedRun:
    """Open a run; its folder with `checkpoints/best.ckpt` and `backbone/` suffices, but for its data.

    Without `backbone/` the recipe's backbone is built, by its name or from where it was.

    Args:
        name: A run folder, or a folder of runs, see `visiontasks.runs.folder.find_run`.

    Raises:
        MissingFileError: If there is no such run, or it has no checkpoint.
        InputError: If the checkpoint cannot be read, or is not of a task of this package.
    """
    folder = find_run(str(name))
    return open_weights(folder, folder / BEST)


def open_weights(folder: Path, path: Path) -> FinishedRun:
    """Open a run with the weights of one of its checkpoints; see `open_run`."""
    checkpoint = read_checkpoint(path)
    provenance = Provenance.from_dict(checkpoint[ENTRY], path)
    _check_resize(provenance, path)
    recipe = _read_recipe(provenance.recipe, path)
    options: dict[str, Any] = {"num_classes": len(provenance.class_names), "weights": "none"}
    if (folder / BACKBONE).is_dir():
        options["backbone"] = f"local-dir:{folder / BACKBONE}"
    task = build_task(recipe["model"], options, image_size=provenance.image_size, path=path)
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(f"the weights of {path} do not fit the network of its recipe ({error})") from error
    restore_calibration(task, checkpoint)
    normalize_by(task, provenance, path)
    return FinishedRun(folder, task.eval(), provenance, recipe)


def open_exported(folder: Path) -> FinishedRun:
    """Open a folder that `visiontasks export` wrote; `visiontasks.load_exported` checks its stored images too.

    Args:
        folder: With the files that export writes.

    Raises:
        InputError: If a file cannot be read, or does not fit.
    """
    path = folder / RECIPE
    check_regular(path)
    text, prepared = path.read_text(encoding="utf-8"), read_json(folder / PREPROCESSING)
    provenance = Provenance(
        recipe=text,
        class_names=tuple(read_json(folder / CLASSES)),
        image_size=(prepared["resize"]["height"], prepared["resize"]["width"]),
        resize=prepared["resize"]["policy"],
        mean=tuple(prepared["mean"]),
        std=tuple(prepared["std"]),
    )
    recipe = _read_recipe(text, path)
    options = {"num_classes": len(provenance.class_names), "backbone": f"local-dir:{folder}", "weights": "hub"}
    task = build_task(recipe["model"], options, image_size=provenance.image_size, path=path)
    try:
        if (folder / HEAD).is_file():
            task.head.load_state_dict(safetensors.torch.load_file(folder / HEAD))
        else:
            _fill_linear(task, folder)
    except (AttributeError, RuntimeError, KeyError, OSError, safetensors.SafetensorError) as error:
        raise InputError(f"the weights in {folder} do not fit the head of its recipe ({error})") from error
    if (folder / CALIBRATION_FILE).is_file():
        task.calibration = Calibration.from_json(read_json(folder / CALIBRATION_FILE))
    if (folder / KNOWN_IMAGES_FILE).is_file():
        task.known_images = KnownImages.from_tensors(safetensors.torch.load_file(folder / KNOWN_IMAGES_FILE))
    return FinishedRun(folder, task.eval(), provenance, recipe)


def _read_recipe(text: str, path: Path) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(text)
        recipe["data"]["init_args"], recipe["model"]["init_args"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"the recipe in {path} cannot be read ({type(error).__name__}: {error})") from error
    return modernized(recipe)


def _check_resize(provenance: Provenance, path: Path) -> None:
    if provenance.resize not in get_args(Resize):
        known = ", ".join(get_args(Resize))
        raise InputError(f"{path} resizes images by {provenance.resize!r}, expected one of {known}")


def normalize_by(task: Task, provenance: Provenance, path: Path) -> None:
    """Give a task the mean and std of the training where its backbone's own differ, as without its config.json."""
    for own, values in ((task.mean, provenance.mean), (task.std, provenance.std)):
        trained = 255 * torch.tensor(values).view(1, -1, 1, 1)
        if trained.shape != own.shape:
            raise InputError(f"{path} normalizes {len(values)} channels, but its network takes {own.shape[1]}")
        if not torch.allclose(own, trained):
            own.copy_(trained)


def _fill_linear(task: Task, folder: Path) -> None:
    """Take the last layer of a timm classifier as the linear head."""
    last = cast(Any, timm.create_model(f"local-dir:{folder}", pretrained=True)).get_classifier()
    linear = cast(Any, task.head).linear
    linear.load_state_dict({"weight": last.weight.reshape(linear.weight.shape), "bias": last.bias})
