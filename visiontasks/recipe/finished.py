"""A finished run with data to measure, draw or report it by: its own, or other images of the same classes."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from visiontasks.errors import InputError
from visiontasks.recipe import read_recipe
from visiontasks.recipe.cli import RecipeCLI
from visiontasks.recipe.resume import check_measurable
from visiontasks.runs.checkpoint import read_checkpoint
from visiontasks.runs.folder import BACKBONE, BEST, RECIPE

_MEASURES = (
    *("accelerator", "devices", "strategy", "precision", "compile", "deterministic", "benchmark", "inference_mode"),
    *("limit_val_batches", "limit_test_batches", "fast_dev_run", "sync_batchnorm", "use_distributed_sampler"),
    *("enable_progress_bar", "enable_model_summary"),
)
"""Keys of the trainer that decide where and how a run is measured; a strategy only by its name."""


class MeasureCLI(RecipeCLI):
    """Makes task and data of a finished run, perhaps with other images than it was trained on.

    Args:
        run: The run's folder.
        overrides: `--key value` pairs.
        class_names: The classes that it was trained on; class folders get their labels by these names.
        split: What will be measured. In another folder without splits all images are the test split.
    """

    def __init__(self, run: Path, overrides: Sequence[str], *, class_names: Sequence[str], split: str) -> None:
        self.class_names = list(class_names)
        self.split = split
        self.other_data = ""
        """Behind the names of files about other data than the run's own."""
        recipe = read_recipe(run / RECIPE)
        self.trained_on: dict[str, Any] = recipe["data"].get("init_args") or {}
        # the checkpoint has the weights, so what the recipe says of them need not be there any more
        backbone = ["--model.backbone", f"local-dir:{run / BACKBONE}", "--model.weights", "none"]
        if (recipe["model"].get("init_args") or {}).get("classifier"):
            backbone += ["--model.classifier", str(run)]  # which has learned from it, class head and all
        here = ["--trainer.num_nodes", "1"]  # else it would wait for the other machines of the training
        with TemporaryDirectory() as folder:
            path = _measuring(run / RECIPE, recipe, Path(folder))
            super().__init__(["--config", str(path), *backbone, *here, *overrides])

    def before_instantiate_classes(self) -> None:
        """Tell class folders the names of the classes, and whether to take all images."""
        options = self.config["data"]["init_args"]
        root = Path(options.get("root", ""))
        is_other = root.resolve() != Path(self.trained_on.get("root", "")).resolve()
        if is_other:
            self.other_data = f"_{root.resolve().name}"
        if "classes" not in options:
            return
        options["classes"] = options["classes"] or self.class_names
        same_fraction = options["test_fraction"] == self.trained_on.get("test_fraction", options["test_fraction"])
        if is_other and same_fraction and self.split == "test":
            options["test_fraction"] = 1.0


def open_run(run: Path, overrides: Sequence[str], *, split: str) -> MeasureCLI:
    """Make task and data of a finished run, the task with the weights of its best epoch.

    Args:
        run: A run folder.
        overrides: `--key value` pairs, for instance another `--data.root`.
        split: What will be measured.

    Raises:
        InputError: If the checkpoint cannot be read, or the data has not the classes it was trained on.
    """
    checkpoint = read_checkpoint(run / BEST)
    cli = MeasureCLI(run, overrides, class_names=checkpoint["visiontasks"]["class_names"], split=split)
    cli.datamodule.load_state_dict(checkpoint["visiontasks"])
    check_measurable(cli, checkpoint, run / BEST)
    try:
        cli.model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(
            f"the weights of {run / BEST} do not fit the network: leave out overrides of model ({error})"
        ) from error
    return cli


def _measuring(path: Path, recipe: dict[str, Any], folder: Path) -> Path:
    """A copy of a recipe with what a measurement needs.

    Loggers, callbacks, profilers and plugins are for training: their packages need not be here, and those of another
    person's run may write anywhere.
    """
    section = recipe.get("trainer") or {}
    if not isinstance(section, dict):
        raise InputError(f"{path}: trainer is {section!r:.60}, expected keys such as max_epochs")
    trainer = {key: value for key, value in section.items() if key in _MEASURES}
    if not isinstance(trainer.get("strategy", ""), str):
        del trainer["strategy"]
    options = dict(recipe["data"].get("init_args") or {})
    options |= {"augment": None} if "augment" in options else {}
    copy = folder / path.name
    content = {**recipe, "trainer": trainer, "data": {**recipe["data"], "init_args": options}}
    copy.write_text(yaml.safe_dump(content), encoding="utf-8")
    return copy
