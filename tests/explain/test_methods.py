"""Grad-CAM, occlusion, filters and maps of networks that can be worked out by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.explain.methods import (
    class_falls,
    class_map,
    class_probability,
    feature_maps,
    first_filters,
    grad_cam,
    occlusion,
)
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask

FEATURE_MAP = torch.tensor([[[[1.0, -2.0], [0.0, 4.0]], [[3.0, 1.0], [-1.0, 0.0]]]])


class OneMap(nn.Module):
    """The image's red and green as a feature map of two channels, whose means are the vector."""

    num_features = 2

    def forward_features(self, image: Tensor) -> Tensor:
        return image[:, :2]

    def forward_head(self, features: Tensor) -> Tensor:
        return features.mul_(1.0).mean((2, 3))  # works in place, as some networks do

    def forward(self, image: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(image).clone())


def linear_task() -> ClassificationTask:
    """Logits: 3 * mean red - 2 * mean green, and the opposite."""
    task = ClassificationTask("lenet5", weights="none", num_classes=2, in_chans=3)
    task.backbone = OneMap()
    task.head = nn.Linear(2, 2, bias=False)
    task.head.weight.data = torch.tensor([[3.0, -2.0], [-3.0, 2.0]])
    task.mean.zero_()
    task.std.fill_(1)
    return task.eval()


def test_grad_cam_of_a_linear_classifier_is_the_positive_part_of_the_weighted_maps() -> None:
    maps = FEATURE_MAP.clone().requires_grad_()
    score = 3 * maps[0, 0].mean() - 2 * maps[0, 1].mean()
    # the mean over 4 places makes each gradient a quarter of the weight: 0.75 and -0.5
    expected = [[0.75 * 1 - 0.5 * 3, 0.75 * -2 - 0.5 * 1], [0.75 * 0 - 0.5 * -1, 0.75 * 4 - 0.5 * 0]]
    assert grad_cam(maps, score).tolist() == [[max(0.0, value) for value in row] for row in expected]


def test_the_map_of_a_class_is_that_of_its_logit() -> None:
    image = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    image[0, 0] = torch.tensor([[8, 0], [0, 0]])
    image[0, 1] = torch.tensor([[0, 0], [0, 4]])
    task = linear_task()
    assert class_map(task, image, 0).tolist() == [[0.75 * 8, 0], [0, 0]]
    assert class_map(task, image, 1).tolist() == [[0, 0], [0, 0.5 * 4]]


def test_a_frozen_network_is_explained_and_left_as_it_is() -> None:
    task = ClassificationTask("resnet20_cifar", weights="none", num_classes=3).eval().requires_grad_(False)
    image = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        found = class_map(task, image, 2)
    assert found.shape == (8, 8)
    assert (found >= 0).all()
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in task.parameters())


@pytest.mark.parametrize(
    ("backbone", "side_px", "expected"),
    [
        ("lenet5", 32, (5, 5)),
        pytest.param("alexnet", 227, (6, 6), marks=pytest.mark.slow),
        pytest.param("alexnet_tv", 224, (6, 6), marks=pytest.mark.slow),
        pytest.param("zfnet", 224, (6, 6), marks=pytest.mark.slow),
        pytest.param("vgg11", 64, (2, 2), marks=pytest.mark.slow),
        ("googlenet", 64, (2, 2)),
        ("resnet18", 64, (2, 2)),
        ("mobilenetv2_100", 64, (2, 2)),
        ("mobilenetv3_small_100", 64, (2, 2)),
    ],
)
def test_every_kind_of_convolutional_backbone_has_a_map(backbone: str, side_px: int, expected: tuple[int, int]) -> None:
    task = ClassificationTask(backbone, weights="none", num_classes=3, in_chans=3).eval()
    image = torch.randint(256, (1, 3, side_px, side_px), dtype=torch.uint8)
    assert class_map(task, image, 1).shape == expected
    maps = feature_maps(task, image)
    assert len(maps) >= 3
    assert all(each.ndim == 3 and each.isfinite().all() for each in maps.values())
    assert first_filters(task.backbone).shape[1] == 3


def test_of_several_objects_the_surest_is_explained() -> None:
    task = LocalizationTask("resnet20_cifar", weights="none", num_classes=3, num_objects=2, box_grid=0).eval()
    image = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    head: Any = task.head
    head.classes.linear.bias.data[:] = torch.tensor([0, 0, 0, 5.0, 0, 0])
    logits = head.classes.linear.weight[3] - 0 * head.classes.linear.weight[0]
    net: Any = task.backbone
    expected = grad_cam_of(net, task.normalize(image), logits)
    torch.testing.assert_close(class_map(task, image, 0), expected)
    probability = class_probability(task, image)
    assert probability.shape == (1, 3)
    assert probability[0, 0] > 0.9


def grad_cam_of(net: Any, image: Tensor, weight: Tensor) -> Tensor:
    maps = net.forward_features(image)
    return grad_cam(maps, net.forward_head(maps)[0] @ weight)


def test_covering_the_one_part_that_matters_takes_the_score() -> None:
    image = torch.zeros(1, 6, 8)
    image[0, 2:4, 4:6] = 1.0
    fall = occlusion(
        image, lambda images: images[:, 0, 2:4, 4:6].sum((1, 2)), fill=torch.zeros(1, 1, 1), patch=2, stride=2
    )
    expected = torch.zeros(6, 8)
    expected[2:4, 4:6] = 4.0
    assert fall.tolist() == expected.tolist()


def test_a_pixel_gets_the_mean_over_the_squares_that_cover_it() -> None:
    image = torch.tensor([[[0.0, 0.0, 6.0, 0.0]]])
    # squares of 1x2 pixels from 0, 1 and 2 on: only the last two cover the 6
    fall = occlusion(image, lambda images: images.sum((1, 2, 3)), fill=torch.zeros(1, 1, 1), patch=2, stride=1)
    assert fall.tolist() == [[0, (0 + 6) / 2, (6 + 6) / 2, 6]]


def test_squares_reach_the_border_where_the_stride_does_not_fit() -> None:
    image = torch.ones(1, 1, 8)
    fall = occlusion(image, lambda images: images[:, 0, 0, 7], fill=torch.zeros(1, 1, 1), patch=3, stride=3)
    assert fall.tolist() == [[0, 0, 0, 0, 0, (0 + 1) / 2, 1, 1]]  # squares at 0, 3 and 5
    with pytest.raises(ValueError, match="a stride of 4 leaves gaps between squares of 3"):
        occlusion(image, torch.sum, fill=image, patch=3, stride=4)


def test_only_what_matters_to_the_class_is_hot_under_occlusion() -> None:
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    image[0, 0, 4:8, 8:12] = 255  # red, which speaks for the first class
    falls = class_falls(linear_task(), image, 0)
    rows, columns = torch.where(falls == falls.max())
    assert set(rows.tolist()) <= set(range(4, 8))
    assert set(columns.tolist()) <= set(range(8, 12))
    assert falls[12:, :4].tolist() == [[0.0] * 4] * 4
    assert (class_falls(linear_task(), image, 1) <= 0).all()


def test_the_image_is_covered_with_the_mean_colour_of_the_training() -> None:
    task = linear_task()
    task.mean.copy_(torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1))
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert class_falls(task, image, 0).abs().max() == 0


def test_a_task_without_classes_or_a_backbone_without_a_map_is_refused_by_name() -> None:
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    masks = SegmentationTask("resnet20_cifar", weights="none", num_classes=3).eval()
    boxes = LocalizationTask("resnet20_cifar", weights="none", num_classes=3, class_weight=0.0).eval()
    for task in (masks, boxes):
        for explain in (class_map, class_falls):
            with pytest.raises(InputError, match=f"{type(task).__name__} of this run does not classify whole images"):
                explain(task, image, 0)
        assert len(feature_maps(task, image)) == 3 if task is boxes else True
    vit = ClassificationTask("test_vit", weights="none", num_classes=3).eval()
    with pytest.raises(InputError, match="VisionTransformer ends in features of shape .*: use --method occlusion"):
        class_map(vit, torch.zeros(1, 3, 160, 160, dtype=torch.uint8), 0)
    assert class_falls(vit, torch.zeros(1, 3, 160, 160, dtype=torch.uint8), 0, patches=1, steps=1).shape == (160, 160)


def test_filters_are_those_of_the_first_convolution() -> None:
    net = nn.Sequential(nn.Identity(), nn.Sequential(nn.Conv2d(1, 4, (3, 5))), nn.Conv2d(4, 2, 1))
    assert first_filters(net).equal(net[1][0].weight)  # type: ignore[index]
    with pytest.raises(InputError, match="Linear has no convolution"):
        first_filters(nn.Linear(2, 2))


def test_feature_maps_are_kept_before_what_comes_next_changes_them() -> None:
    task = linear_task()
    image = torch.randint(256, (1, 3, 4, 4), dtype=torch.uint8)

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Identity()
            self.second = nn.ReLU(inplace=True)
            self.feature_info = [{"module": "first"}, {"module": "second"}, {"module": "of another view"}]

        def forward(self, pixels: Tensor) -> Tensor:
            return self.second(self.first(pixels - 100))  # type: ignore[no-any-return]

    task.backbone = InPlace()
    maps = feature_maps(task, image)
    assert list(maps) == ["first", "second"]
    assert maps["first"].equal(image[0].float() - 100)
    assert maps["second"].equal((image[0].float() - 100).relu())
    assert not task.backbone.first._forward_hooks
