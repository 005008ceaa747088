"""Loggers beside TensorBoard, and the picture that each gets; Weights & Biases and MLflow by fakes."""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visiontasks.training.trackers import all_loggers, log_picture, log_recipe, missing_package


class Tracker(Logger):
    """Any tracker that takes pictures in the way of Lightning's WandbLogger."""

    def __init__(self) -> None:
        self.pictures: list[tuple[str, list[str], int]] = []
        self.recipe: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return "tracker"

    @property
    def version(self) -> int:
        return 0

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        self.recipe = params

    def log_metrics(self, *args: Any, **kwargs: Any) -> None: ...

    def log_image(self, key: str, images: list[str], step: int) -> None:
        self.pictures.append((key, images, step))


class MLflow(MLFlowLogger):
    """Lightning's own with a client that only notes."""

    def __init__(self) -> None:
        self.artifacts: list[tuple[str, str, str]] = []

    @property
    def experiment(self) -> Any:
        def log_artifact(run_id: str, path: str, artifact_path: str) -> None:
            self.artifacts.append((run_id, path, artifact_path))

        return SimpleNamespace(log_artifact=log_artifact)

    @property
    def run_id(self) -> str:
        return "run 1"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.full((6, 8, 3), (250, 0, 0), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_tensorboard_is_always_there_and_the_first(tmp_path: Path) -> None:
    for given in (None, True):
        (only,) = all_loggers(given, tmp_path)  # type: ignore[misc]
        assert isinstance(only, TensorBoardLogger)
        assert Path(only.log_dir) == tmp_path
    one, two = Tracker(), CSVLogger(tmp_path)
    for given, expected in ((one, [one]), ([one, two], [one, two])):
        first, *others = all_loggers(given, tmp_path)  # type: ignore[misc]
        assert isinstance(first, TensorBoardLogger)
        assert others == expected
    assert all_loggers(False, tmp_path) is False


def test_each_logger_gets_the_picture_in_its_way(picture: Path, tmp_path: Path) -> None:
    tensorboard, tracker, mlflow = TensorBoardLogger(tmp_path, name="", version=""), Tracker(), MLflow()
    log_picture([tensorboard, tracker, mlflow, CSVLogger(tmp_path)], "predictions_test", picture, step=7)
    assert tracker.pictures == [("predictions_test", [str(picture)], 7)]
    assert mlflow.artifacts == [("run 1", str(picture), "predictions_test")]
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0})  # type: ignore[no-untyped-call]
    events.Reload()  # type: ignore[no-untyped-call]
    (image,) = events.Images("predictions_test")  # type: ignore[no-untyped-call]
    assert (image.step, image.width, image.height) == (7, 8, 6)


def test_trackers_get_the_recipe_that_the_runs_folder_has_already(tmp_path: Path) -> None:
    tracker = Tracker()
    log_recipe(
        [TensorBoardLogger(tmp_path, name="", version=""), tracker], "trainer:\n  max_epochs: 3\n  logger: secret\n"
    )
    assert tracker.recipe == {"trainer": {"max_epochs": 3}}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["wandb", "mlflow", "comet-ml"])
def test_a_missing_package_is_named_with_what_to_do(package: str) -> None:
    message = str(missing_package(ModuleNotFoundError(f"Requirement '{package}>=1.0.0' not met. HINT: ...\nmore")))
    assert message.startswith(
        f"trainer.logger: the logger needs the package {package}, which is not installed: pip install"
    )
    assert "\n" not in message
    assert missing_package(ImportError("cannot import name 'x' from 'visiontasks'")) is None


@pytest.mark.parametrize(
    ("logger", "package"),
    [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow"), ("lightning.pytorch.loggers.WandbLogger", "wandb")],
)
def test_a_recipe_may_name_trackers_and_the_error_names_what_to_install(
    logger: str, package: str, in_tmp: Path, refused: Any
) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    message = refused(f"finetune digits_lenet --trainer.logger {logger} --trainer.max_epochs 1")
    assert f"trainer.logger: the logger needs the package {package}" in message
    assert not Path("runs/digits_lenet").exists() or not list(Path("runs/digits_lenet").iterdir())
