"""Measures a finished run: a trainer, and its own data or other images of the same classes."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from lightning.pytorch import Trainer

from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.recipe import read_recipe
from visiontasks.recipe.cli import RecipeCLI, recipe_data
from visiontasks.recipe.resume import check_measurable
from visiontasks.runs.folder import BEST, RECIPE
from visiontasks.runs.provenance import Provenance
from visiontasks.tasks import Task

_MEASURES = (
    *("accelerator", "devices", "strategy", "precision", "compile", "deterministic", "benchmark", "inference_mode"),
    *("limit_val_batches", "limit_test_batches", "fast_dev_run", "sync_batchnorm", "use_distributed_sampler"),
    *("enable_progress_bar", "enable_model_summary"),
)
"""Keys of the trainer that decide where and how a run is measured; a strategy only by its name."""
_ONE_NODE = ["--trainer.num_nodes", "1"]  # else it would wait for the other machines of the training


class Measurement(RecipeCLI):
    """Makes the data and a trainer of a finished run, and gives them the run's task.

    Args:
        folder: The run's.
        task: With the run's best weights.
        provenance: Of the run. Class folders get their labels by its class names.
        overrides: `--key value` pairs, for instance another `--data.root`.
        split: What will be measured. In another folder without splits all images are the test split.

    Raises:
        InputError: If the data has other classes, or a key of the recipe is not as it was in the training.
    """

    def __init__(
        self, folder: Path, task: Task, provenance: Provenance, overrides: Sequence[str], *, split: str
    ) -> None:
        self.folder = folder
        self.task = task
        self.provenance = provenance
        self.split = split
        self.other_data = ""
        """Behind the names of files about other data than the run's own."""
        recipe = read_recipe(folder / RECIPE)
        self.trained_on: dict[str, Any] = recipe["data"].get("init_args") or {}
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / RECIPE
            path.write_text(yaml.safe_dump(_measuring(folder / RECIPE, recipe)), encoding="utf-8")
            super().__init__(["--config", str(path), *_ONE_NODE, *overrides])
        self.datamodule.load_state_dict({"class_names": list(provenance.class_names)})

    def before_instantiate_classes(self) -> None:
        """Tell class folders the names of the classes and whether to take all images; leave out the task."""
        check_measurable(self.dump(), self.provenance, self.folder / BEST)
        del self.config["model"]  # whose weights would be needed again
        options = self.config["data"]["init_args"]
        root = Path(options.get("root", ""))
        is_other = root.resolve() != Path(self.trained_on.get("root", "")).resolve()
        if is_other:
            self.other_data = f"_{root.resolve().name}"
            for key in ("fold", "groups"):  # of the run's own images
                if key in options:
                    options[key] = None
        if "classes" not in options:
            return
        options["classes"] = options["classes"] or list(self.provenance.class_names)
        same_fraction = options["test_fraction"] == self.trained_on.get("test_fraction", options["test_fraction"])
        if is_other and same_fraction and self.split == "test":
            options["test_fraction"] = 1.0

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer for the run's own task."""
        self.model = self.task
        return super().instantiate_trainer(**kwargs)


def training_data(folder: Path) -> DataModule:
    """Make the data of a run as its training had it, with augmentation, and not set up.

    Args:
        folder: The run's.

    Raises:
        InputError: If the recipe cannot be read, or its augmentation cannot be made, such as without its package.
    """
    recipe = read_recipe(folder / RECIPE)
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / RECIPE
        path.write_text(yaml.safe_dump({**recipe, "trainer": _measuring_trainer(folder / RECIPE, recipe)}), "utf-8")
        return recipe_data(path, _ONE_NODE)


def _measuring(path: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with what a measurement needs."""
    options = dict(recipe["data"].get("init_args") or {})
    options |= {"augment": None} if "augment" in options else {}
    trainer = _measuring_trainer(path, recipe)
    return {**recipe, "trainer": trainer, "data": {**recipe["data"], "init_args": options}}


def _measuring_trainer(path: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """The keys of a recipe's trainer that a measurement needs.

    Loggers, callbacks, profilers and plugins are for training: their packages need not be installed, and those of
    another person's run may write anywhere.
    """
    section = recipe.get("trainer") or {}
    if not isinstance(section, dict):
        raise InputError(f"{path}: trainer is {section!r:.60}, expected keys such as max_epochs")
    trainer = {key: value for key, value in section.items() if key in _MEASURES}
    if not isinstance(trainer.get("strategy", ""), str):
        del trainer["strategy"]
    return trainer
