"""What a task was made with is in the checkpoints of any trainer, which open again by it."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import nn

from visiontasks.errors import InputError, MissingFileError
from visiontasks.heads import LinearHead, MLPHead, UNetHead
from visiontasks.tasks import ClassificationTask, SegmentationTask
from visiontasks.tasks.arguments import TASK, is_plain

IMAGE = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def spread(task: Any) -> Any:
    """A task whose outputs are not all 0, as those of a new head."""
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.1)
    return task.eval()


def saved(task: Any, path: Path) -> Path:
    """A checkpoint as a trainer of the user writes it."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path, weights_only=True)
    return path


def test_arguments_are_noted_as_plain_values() -> None:
    task = SegmentationTask("resnet20_cifar", weights="none", num_classes=3, head=UNetHead, window=(16, 24))
    assert task.arguments == {
        "init_args": {
            "backbone": "resnet20_cifar",
            "weights": "none",
            "num_classes": 3,
            "window": [16, 24],
            "head": {"class_path": "visiontasks.heads.UNetHead"},
        },
        "left_out": [],
    }
    head = functools.partial(MLPHead, hidden_features=[7])
    assert ClassificationTask("lenet5", weights="none", num_classes=3, head=head).arguments["left_out"] == ["head"]


@pytest.mark.parametrize(
    ("value", "plain"),
    [(None, True), ([1, (2.5, "a")], True), ({"a": [True]}, True), ({1: 2}, False), (len, False), ([object()], False)],
)
def test_plain_values_are_those_that_load_without_unpickling(value: Any, plain: bool) -> None:
    assert is_plain(value) == plain


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ClassificationTask, {"backbone": "lenet5", "in_chans": 3}),
        (ClassificationTask, {"backbone": "resnet20_cifar", "head": LinearHead, "class_weights": [1.0, 2.0, 3.0]}),
        (SegmentationTask, {"backbone": "resnet20_cifar", "head": UNetHead, "image_size": 32}),
    ],
)
def test_a_checkpoint_of_any_trainer_is_loaded(kind: Any, options: dict[str, Any], tmp_path: Path) -> None:
    task = spread(kind(weights="none", num_classes=3, **options))
    found = kind.load_from_checkpoint(saved(task, tmp_path / "a.ckpt"))
    assert type(found) is kind
    assert not found.training
    with torch.no_grad():
        expected = task.raw_output({"image": IMAGE})
        assert expected.any()
        assert found.raw_output({"image": IMAGE}).equal(expected)


@pytest.mark.filterwarnings("ignore")
def test_a_head_that_is_a_function_has_to_be_given_again(tmp_path: Path) -> None:
    head = functools.partial(MLPHead, hidden_features=[7])
    task = ClassificationTask("lenet5", weights="none", num_classes=3, head=head)
    path = saved(task, tmp_path / "a.ckpt")
    with pytest.raises(
        InputError, match=r"made with its own head, which .*ClassificationTask.load_from_checkpoint\(path,"
    ):
        ClassificationTask.load_from_checkpoint(path)
    found = ClassificationTask.load_from_checkpoint(path, head=head, map_location="cpu")
    assert found.head.hidden[0].out_features == 7  # type: ignore[union-attr, index]


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_loaded_is_answered_with_the_way(tmp_path: Path) -> None:
    path = saved(ClassificationTask("lenet5", weights="none", num_classes=3), tmp_path / "a.ckpt")
    with pytest.raises(
        InputError, match=r"a.ckpt is of visiontasks.tasks.classification.Clas.*: load it by its own class"
    ):
        SegmentationTask.load_from_checkpoint(path)
    content = torch.load(path, weights_only=True)
    del content[TASK]
    torch.save(content, path)
    with pytest.raises(
        InputError, match=r"(?s)does not store what its task was made with .*Predictor.of\(task, data\)"
    ):
        ClassificationTask.load_from_checkpoint(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(InputError, match="is not a visiontasks checkpoint"):
        ClassificationTask.load_from_checkpoint(path)
    with pytest.raises(MissingFileError, match="no checkpoint"):
        ClassificationTask.load_from_checkpoint(tmp_path / "b.ckpt")


def test_folders_and_runs_of_older_versions_are_answered_with_the_way(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"is a folder: visiontasks.open_run\('.*'\) opens a run, .* file such as .*best"
    ):
        ClassificationTask.load_from_checkpoint(tmp_path)
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": {}, "visiontasks": {}}, path)
    with pytest.raises(
        InputError, match=r"of an older version, visiontasks.open_run\('.*/run'\) opens it: its `model`"
    ):
        ClassificationTask.load_from_checkpoint(path)
