"""The plain module of a task gives what the task gives, from pixels, wherever it is moved."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from visiontasks.errors import InputError
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask
from visiontasks.tasks.network import Network

IMAGE = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def task() -> ClassificationTask:
    task = ClassificationTask("lenet5", weights="none", num_classes=3, in_chans=1).eval()
    nn.init.normal_(task.head.linear.weight)  # type: ignore[union-attr, arg-type]  # which starts at 0
    return task


def test_it_normalizes_and_classifies_pixels(task: ClassificationTask) -> None:
    network = Network(task)
    grey = IMAGE.float().mean(1, keepdim=True)
    expected = task.head(task.backbone((grey / 255 - 0.1307) / 0.3081))  # MNIST's, which lenet5 has
    assert expected.any()
    torch.testing.assert_close(network(IMAGE), expected)
    assert not network.training
    assert {name.partition(".")[0] for name in network.state_dict()} == {"backbone", "head"}
    assert isinstance(network, nn.Module)


@pytest.mark.parametrize(
    ("kind", "options", "shapes"),
    [
        (LocalizationTask, {"box_grid": 2}, [(2, 1, 3), (2, 1, 4)]),
        (LocalizationTask, {"box_grid": 0, "class_weight": 0.0}, [None, (2, 1, 4)]),
        (SegmentationTask, {}, [(2, 3, 32, 32)]),
        (SegmentationTask, {"window": 16}, [(2, 3, 32, 32)]),
    ],
)
def test_boxes_and_masks_come_as_the_head_gives_them(kind: Any, options: dict[str, Any], shapes: list[Any]) -> None:
    task = kind("resnet20_cifar", weights="none", num_classes=3, **options).eval()
    with torch.no_grad():
        given = Network(task)(IMAGE)
    parts = given if isinstance(given, tuple) else (given,)
    assert [None if part is None else tuple(part.shape) for part in parts] == shapes


def test_a_copy_and_another_type_of_numbers_are_the_modules_own(task: ClassificationTask) -> None:
    network = Network(task)
    expected = network(IMAGE)
    double = copy.deepcopy(network).double()
    assert double(IMAGE).dtype == torch.float64
    torch.testing.assert_close(double(IMAGE).float(), expected)
    assert network(IMAGE).equal(expected)
    for parameter in double.parameters():
        nn.init.zeros_(parameter)
    assert not double(IMAGE).any()
    assert task.head(torch.ones(1, 84)).any()


@pytest.mark.parametrize("image", [IMAGE / 255, IMAGE[0], IMAGE[:, :1], IMAGE.movedim(1, -1)])
def test_anything_but_pixels_is_refused(task: ClassificationTask, image: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"^got images \w+ \(.*, expected pixels uint8 \(B, 3, H, W\), 0..255"):
        Network(task)(image)
