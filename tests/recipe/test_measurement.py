"""A finished run is measured by its weights and data alone; what its recipe names for the training is not made."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from visiontasks.errors import InputError
from visiontasks.recipe.measurement import Measurement
from visiontasks.recipe.open_run import open_run
from visiontasks.tasks import ClassificationTask

SavedRun = Callable[..., Path]
LENET = {"backbone": "lenet5", "in_chans": 3}
FOREIGN = """
from pathlib import Path

from albumentations import NoOp
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy


def foreign(kind):
    class Foreign(kind):
        def __init__(self, *args, **kwargs):
            Path("outside").touch()
            super().__init__(*args, **kwargs)

    return Foreign


NoOp, Callback, Logger, Plugin, Profiler, Strategy = map(
    foreign, (NoOp, Callback, CSVLogger, TorchCheckpointIO, SimpleProfiler, SingleDeviceStrategy)
)
"""
NAMED: dict[str, Any] = {
    "callbacks": [{"class_path": "foreign.Callback"}],
    "logger": {"class_path": "foreign.Logger", "init_args": {"save_dir": "elsewhere"}},
    "plugins": [{"class_path": "foreign.Plugin"}],
    "profiler": {"class_path": "foreign.Profiler", "init_args": {"dirpath": "elsewhere", "filename": "times"}},
    "strategy": {"class_path": "foreign.Strategy", "init_args": {"device": "cpu"}},
    "default_root_dir": "elsewhere",
    "detect_anomaly": True,
}


@pytest.fixture
def run(
    tmp_path: Path, saved_run: SavedRun, class_folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run whose package of callbacks and the like is on the path, and makes the file `outside` when it is used."""
    class_folders(tmp_path / "photos", {f"{split}/{name}": 2 for split in ("train", "val") for name in ("cat", "dog")})
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "foreign", raising=False)
    (tmp_path / "foreign.py").write_text(FOREIGN)
    return saved_run(
        tmp_path / "run", ClassificationTask(**LENET, weights="none", num_classes=2), LENET, ["cat", "dog"]
    )


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["init_args"] |= {"root": "photos", "image_size": 32}
    change(recipe)
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["visiontasks"]["recipe"] = yaml.safe_dump(recipe)
    torch.save(content, run / "checkpoints" / "best.ckpt")


def measure(run: Path, *overrides: str) -> Measurement:
    return open_run(run).measurement(overrides, split="val")


def test_nothing_that_is_for_training_is_made_to_measure(run: Path) -> None:
    edit(run, lambda recipe: recipe.update(trainer={**NAMED, "deterministic": True, "strategy": NAMED["strategy"]}))
    cli = measure(run)
    assert type(cli.trainer.strategy).__module__.startswith("lightning.")
    assert cli.config["trainer"]["deterministic"] is True
    assert cli.config["trainer"]["callbacks"] is None
    assert "foreign" not in sys.modules
    assert not Path("outside").exists()
    assert not Path("elsewhere").exists()


def test_augmentation_is_not_made_to_measure(run: Path) -> None:
    edit(run, lambda recipe: recipe["data"]["init_args"].update(augment=[{"class_path": "foreign.NoOp"}]))
    measure(run)
    assert not Path("outside").exists()


def test_what_the_user_asks_for_is_made(run: Path) -> None:
    edit(run, lambda recipe: recipe)
    cli = measure(run, "--trainer.detect_anomaly", "true")
    assert cli.config["trainer"]["detect_anomaly"] is True


def test_a_trainer_that_is_no_section_is_refused(run: Path) -> None:
    edit(run, lambda recipe: recipe.update(trainer="trainer.yaml"))
    with pytest.raises(InputError, match="run/recipe.yaml: trainer is 'trainer.yaml', expected keys such as max_epo"):
        measure(run)


def test_the_task_of_the_run_is_measured_and_not_made_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(run, lambda recipe: recipe["model"]["init_args"].update(weights="gone.safetensors"))
    opened = open_run(run)
    monkeypatch.setattr("visiontasks.tasks.classification.create_vector", lambda *_, **__: pytest.fail("was made"))
    assert opened.measurement([], split="val").model is opened.task


def test_another_network_than_the_runs_is_refused(run: Path) -> None:
    edit(run, lambda recipe: recipe)
    with pytest.raises(InputError, match="backbone was 'lenet5' in the training and is 'resnet20_cifar'"):
        measure(run, "--model.backbone", "resnet20_cifar")
