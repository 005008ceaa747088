"""Grad-CAM of samples: which are explained, by which class, and that the network stays as it was."""

from typing import Any

import numpy as np
import pytest
import torch

from visiontasks.report import Picture
from visiontasks.results.grad_cam import grad_cams_of
from visiontasks.tasks import ClassificationTask, LocalizationTask

CLASSES = ["cat", "dog", "owl"]


class Data:
    """What is asked of a DataModule."""

    class_names, image_size, resize = CLASSES, (32, 32), "squash"


DATA: Any = Data()


def pictures(names: str, *, true: str, predicted: str, side: int = 32) -> list[Picture]:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return [Picture(pixels, name=name, true_label=true, predicted_label=predicted) for name in names]


def classifier(backbone: str = "resnet20_cifar") -> ClassificationTask:
    return ClassificationTask(backbone, weights="none", num_classes=3)


def explained(mistakes: list[Picture], others: list[Picture]) -> str:
    return "".join(picture.name for picture, _ in grad_cams_of(classifier(), mistakes, others, DATA).samples)


def test_six_mistakes_are_explained_or_fewer_and_right_ones_beside_them() -> None:
    wrong, right = pictures("abcdefgh", true="cat", predicted="dog"), pictures("rstuvwxy", true="owl", predicted="owl")
    assert explained(wrong, right) == "abcdef"
    assert explained(wrong[:2], right) == "abrstu"
    assert explained(wrong[:2], [*wrong[2:], *right]) == "abrstu"  # a random sample that is wrong too stands above
    assert explained([], []) == ""


def test_a_sample_without_a_predicted_class_is_not_explained() -> None:
    assert explained(pictures("ab", true="cat", predicted="nothing"), pictures("r", true="owl", predicted="owl")) == "r"


def test_the_predicted_class_is_explained() -> None:
    task = classifier()
    with torch.no_grad():
        task.head.linear.weight[1] = 1.0  # a dog is everything that is much; the others nothing
        task.head.linear.weight[[0, 2]] = 0.0
    (as_dog,) = grad_cams_of(task, pictures("a", true="cat", predicted="dog"), [], DATA).samples
    (as_owl,) = grad_cams_of(task, pictures("a", true="cat", predicted="owl"), [], DATA).samples
    assert as_dog[1].shape == as_owl[1].shape == (32, 32, 3)
    hottest = as_dog[1].astype(int) - as_owl[1]
    assert abs(hottest).max() > 60
    unheated = as_owl[1] - 0.5 * as_owl[0].image  # no heat at all: half the picture and half of one colour
    assert np.ptp(unheated, axis=(0, 1)).max() <= 1


def test_the_network_is_left_as_it_was() -> None:
    task = classifier().train()
    task.backbone.conv1.eval().requires_grad_(False)
    modes = [module.training for module in task.modules()]
    gradients = [parameter.requires_grad for parameter in task.parameters()]
    state = {name: value.clone() for name, value in task.state_dict().items()}
    grad_cams_of(task, pictures("ab", true="cat", predicted="dog"), [], DATA)
    assert [module.training for module in task.modules()] == modes
    assert [parameter.requires_grad for parameter in task.parameters()] == gradients
    assert all(parameter.grad is None for parameter in task.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in task.modules())
    assert all(torch.equal(state[name], value) for name, value in task.state_dict().items())


def test_the_filters_of_the_first_layer_are_one_picture() -> None:
    pixels, about = grad_cams_of(classifier(), [], [], DATA).filters or (None, "")
    assert about == "16 filters of 3x3 on 3 channels, the first convolution"
    assert pixels is not None
    assert pixels.shape[1] <= 800


def test_a_vision_transformer_without_a_map_has_a_note() -> None:
    task = classifier("test_vit")
    data: Any = Data()
    data.image_size = (160, 160)
    grad_cams = grad_cams_of(task, pictures("a", true="cat", predicted="dog", side=160), [], data)
    assert grad_cams.samples == []
    assert "VisionTransformer does not end in a feature map: visiontasks explain RUN IMAGE" in grad_cams.note
    assert grad_cams.filters is not None


@pytest.mark.parametrize("options", [{}, {"box_grid": 0}], ids=str)
def test_boxes_with_classes_are_explained_too(options: dict[str, Any]) -> None:
    task = LocalizationTask("resnet20_cifar", weights="none", num_classes=3, **options)
    grad_cams = grad_cams_of(task, pictures("a", true="cat", predicted="dog"), [], DATA)
    assert len(grad_cams.samples) == 1
    assert grad_cams.note == ""
