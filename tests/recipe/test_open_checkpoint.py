"""A checkpoint of a plain trainer, and a task in memory, predict as the task did; what is missing is named."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn

from visiontasks.data import ImageFolder
from visiontasks.errors import InputError
from visiontasks.heads import MLPHead
from visiontasks.predict import Predictor
from visiontasks.recipe.open_checkpoint import of_task, open_checkpoint
from visiontasks.tasks import ClassificationTask

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGES = [np.random.default_rng(i).integers(0, 256, (40, 30, 3), dtype=np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def trained(
    class_folders: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ClassificationTask, ImageFolder, Path]:
    """A task that `trainer.fit` trained for a step, its data, and its checkpoint."""
    root = tmp_path_factory.mktemp("plain")
    photos = class_folders(root / "photos", {"cat": 10, "dog": 10})
    data = ImageFolder(str(photos), image_size=32, batch_size=4, resize="letterbox", num_workers=0)
    task = ClassificationTask("resnet20_cifar", weights="none", num_classes=2)
    for parameter in task.head.parameters():
        nn.init.normal_(parameter, std=0.02)  # a new head gives 0
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_steps=1, limit_val_batches=1, default_root_dir=root, **quiet)  # type: ignore[arg-type]
    trainer.fit(task, data)
    trainer.save_checkpoint(root / "model.ckpt")
    return task, data, root / "model.ckpt"


def answers(predictor: Predictor) -> list[Any]:
    return [prediction.classes for prediction in predictor(IMAGES)]


def altered(path: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, target)
    return target


def test_a_checkpoint_of_a_trainer_predicts_as_its_task_does(trained: Any) -> None:
    task, data, path = trained
    opened = open_checkpoint(path)
    assert opened.class_names == ("cat", "dog")
    assert (opened.image_size, opened.resize) == ((32, 32), "letterbox")
    expected = answers(Predictor.of(task, data))
    assert len({classes[0].probability for classes in expected}) == 3
    assert answers(Predictor.load(path)) == expected
    assert answers(Predictor.load(path, path)) == expected  # the mean of two that are the same


def test_a_task_in_memory_is_opened_with_its_data(trained: Any) -> None:
    task, data, _ = trained
    opened = of_task(task.train(), data)
    assert opened.task is task
    assert not task.training
    assert opened.class_names == ("cat", "dog")
    other = ClassificationTask("resnet20_cifar", weights="none", num_classes=3)
    with pytest.raises(InputError, match="^ClassificationTask has 3 classes, ImageFolder 2$"):
        of_task(other, data)


def test_a_runs_checkpoints_are_opened_by_their_file(saved_run: Callable[..., Path], tmp_path: Path) -> None:
    options = {"backbone": "lenet5", "in_chans": 3}
    task = ClassificationTask(**options, weights="none", num_classes=2)
    run = saved_run(tmp_path / "run", task, options, ["cat", "dog"])
    best, last = run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt"
    altered(best, last, lambda content: content["state_dict"]["head.linear.bias"].copy_(torch.tensor([0.0, 9.0])))
    assert open_checkpoint(best).folder == run
    assert answers(Predictor.load(best)) == answers(Predictor.load(run))
    assert [prediction.label for prediction in Predictor.load(last)(IMAGES)] == ["dog"] * 3


def test_what_a_checkpoint_does_not_store_is_named_with_the_way(trained: Any, tmp_path: Path) -> None:
    _, _, path = trained
    target = tmp_path / "a.ckpt"
    with pytest.raises(InputError, match=r"a.ckpt does not store the names of the classes .*not loaders\."):
        Predictor.load(altered(path, target, lambda content: content.pop("ImageFolder")))
    with pytest.raises(InputError, match="a.ckpt does not store what its task was made with"):
        Predictor.load(altered(path, target, lambda content: content.pop("visiontasks_task")))
    with pytest.raises(InputError, match="do not fit ClassificationTask"):
        Predictor.load(altered(path, target, lambda content: content["state_dict"].pop("head.linear.bias")))
    shutil.copy(__file__, target)
    with pytest.raises(InputError, match="a.ckpt cannot be read: truncated, altered, or not a checkpoint"):
        Predictor.load(target)


def test_a_task_with_a_head_of_its_own_is_predicted_from_memory(trained: Any) -> None:
    _, data, _ = trained
    head = functools.partial(MLPHead, hidden_features=[7])
    task = ClassificationTask("lenet5", weights="none", num_classes=2, head=head)
    (prediction,) = Predictor.of(task, data)(IMAGES[0])
    assert prediction.label in ("cat", "dog")
