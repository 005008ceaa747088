"""Loggers of a training: TensorBoard always, and those of the recipe."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from PIL import Image

from visiontasks.errors import InputError


class Events(TensorBoardLogger):
    """TensorBoard in the run's own folder, in one file from the start of a command to the end of its measurement.

    Lightning's closes its file after the training and begins another one to log the test, and it writes hparams.yaml,
    which is empty, since recipe.yaml has what was trained.

    Args:
        run_dir: The run's folder.
        first_step: Steps that a resumed training has done; later entries are replaced.
    """

    def __init__(self, run_dir: Path, first_step: int | None = None) -> None:
        super().__init__(save_dir=str(run_dir), name="", version="", purge_step=first_step)

    def save(self) -> None:
        """Write what is logged so far, and no hparams.yaml."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        """Leave the file open for the test and the picture that follow a training; close it where it failed."""
        if status == "success":
            self.save()
        else:
            super().finalize(status)


def all_loggers(given: Any, run_dir: Path, *, first_step: int | None = None) -> list[Logger] | bool:
    """TensorBoard in the run's folder, and the loggers of the recipe.

    Args:
        given: `trainer.logger` of the recipe: None, True, False, a logger, or several.
        run_dir: The run's folder.
        first_step: Steps that a resumed training has done; later entries are replaced.

    Returns:
        The loggers; False if the recipe has false. metrics.csv is always written.
    """
    if given is False:
        return False
    named = [] if given in (None, True) else [given] if isinstance(given, Logger) else list(given)
    return [Events(run_dir, first_step), *named]


def missing_package(error: Exception) -> InputError | None:
    """The error for a logger of the recipe whose package is not installed; None for any other error.

    Args:
        error: Raised by parsing the recipe or constructing the logger.
    """
    needed = re.search(r"Requirement '([\w-]+)[^']*' not met", str(error))
    if needed is None:
        return None
    return InputError(
        f"trainer.logger: the logger needs the package {needed[1]}, which is not installed: pip install {needed[1]}, "
        "or remove the logger from the recipe"
    )


def log_recipe(loggers: Sequence[Logger], recipe: str) -> None:
    """Log the recipe to each logger but TensorBoard, whose folder contains it.

    Args:
        loggers: Those of a training.
        recipe: Resolved, as YAML. Its loggers are left out, since their addresses may contain passwords.
    """
    content = yaml.safe_load(recipe)
    content["trainer"].pop("logger", None)
    for logger in loggers:
        if not isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(content)


def log_picture(loggers: Sequence[Logger], key: str, picture: Path, *, step: int) -> None:
    """Log a picture to each logger that takes one; others are skipped.

    Args:
        loggers: TensorBoard's writer, Weights & Biases (`log_image`), MLflow (an artifact of the run), and any other
            with Lightning's `log_image`.
        key: Its name there.
        picture: A PNG, the last that a run logs: TensorBoard's file is closed.
        step: The optimizer's steps so far.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            with Image.open(picture) as image:
                logger.experiment.add_image(key, np.asarray(image.convert("RGB")), step, dataformats="HWC")
            logger.experiment.close()
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(picture), artifact_path=key)
        elif callable(getattr(logger, "log_image", None)):
            logger.log_image(key=key, images=[str(picture)], step=step)  # type: ignore[attr-defined]  # asked above
