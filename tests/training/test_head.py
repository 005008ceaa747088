"""A training that starts from an earlier run."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from visiontasks.tasks import ClassificationTask
from visiontasks.training.head import load_head

CLASSES = ("cat", "dog")


def task(num_classes: int = 2) -> ClassificationTask:
    return ClassificationTask("lenet5", weights="none", num_classes=num_classes, in_chans=1)


def run_of(trained: ClassificationTask, path: Path, class_names: Sequence[str] = CLASSES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": trained.state_dict(), "visiontasks": {"class_names": list(class_names)}}, path)
    return path


@pytest.mark.parametrize("named", ["", "checkpoints/best.ckpt"])
def test_head_of_a_run_with_the_same_classes_is_loaded(named: str, tmp_path: Path) -> None:
    trained, new = task(), task()
    path = run_of(trained, tmp_path / "checkpoints" / "best.ckpt")
    note = load_head(new, str(tmp_path / named), CLASSES)
    assert note == f"{path}: backbone and head are loaded, since the classes are the same"
    assert all(torch.equal(trained.head.state_dict()[key], tensor) for key, tensor in new.head.state_dict().items())


@pytest.mark.parametrize(
    ("class_names", "num_classes", "reason"),
    [
        (("dog", "cat"), 2, "it was trained on other classes than the data has"),
        (("cat", "dog", "cow"), 2, "it was trained on other classes than the data has"),
        (CLASSES, 3, "model.init_args describes another head"),
    ],
)
def test_another_head_is_not_loaded_and_the_note_has_the_reason(
    class_names: Sequence[str], num_classes: int, reason: str, tmp_path: Path
) -> None:
    path, new = run_of(task(), tmp_path / "best.ckpt", class_names), task(num_classes)
    before = {key: tensor.clone() for key, tensor in new.head.state_dict().items()}
    note = load_head(new, str(path), CLASSES)
    assert note == f"{path}: only the backbone is loaded; the head starts from random weights, since {reason}"
    assert all(torch.equal(before[key], tensor) for key, tensor in new.head.state_dict().items())


def test_a_checkpoint_of_another_program_has_no_head_to_load(tmp_path: Path) -> None:
    torch.save({"state_dict": {"model.a": torch.ones(1)}}, tmp_path / "a.ckpt")
    assert load_head(task(), str(tmp_path / "a.ckpt"), CLASSES).endswith("the head starts from random weights")


@pytest.mark.parametrize("weights", ["none", "hub", "weights.pth"])
def test_weights_that_are_of_no_run_need_no_note(weights: str) -> None:
    assert load_head(task(), weights, CLASSES) == ""
