"""Features of a dataset: as an evaluation sees it, computed once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from visiontasks.backbones import create_vector, normalization
from visiontasks.data import DigitScenes, ImageFolder
from visiontasks.errors import InputError
from visiontasks.study.features import image_features

ClassFolders = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path, class_folders: ClassFolders) -> ImageFolder:
    root = class_folders(tmp_path / "images", {"train/cat": 6, "train/dog": 5, "val/cat": 2, "val/dog": 2})
    data = ImageFolder(str(root), image_size=32, num_workers=0)
    data.setup()
    return data


@pytest.fixture
def backbone() -> nn.Module:
    return create_vector("resnet20_cifar.vt_cifar10", weights="hub")


def test_features_are_those_of_an_evaluation(data: ImageFolder, backbone: nn.Module) -> None:
    features = image_features(data, backbone)
    batch = next(iter(data.val_dataloader()))["image"]
    known = normalization(backbone)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (known.mean, known.std))
    with torch.inference_mode():
        expected = backbone.eval()((batch / 255 - mean) / std)
    assert features.vectors.shape == (15, 64)
    assert np.allclose(features.vectors[features.splits == "val"], expected.numpy(), atol=1e-4)
    assert features.labels.tolist() == [0] * 6 + [1] * 5 + [0, 0, 1, 1]
    assert features.rows.tolist() == [*range(11), *range(4)]
    assert features.names[0].endswith("train/cat/0.png")
    assert list(features.class_names) == ["cat", "dog"]


def test_the_second_time_nothing_is_computed(data: ImageFolder, backbone: nn.Module) -> None:
    first = image_features(data, backbone)
    told: list[tuple[int, int]] = []
    calls: list[int] = []
    backbone.register_forward_hook(lambda *_: calls.append(1))
    second = image_features(data, backbone, on_images=lambda done, total: told.append((done, total)))
    assert not calls
    assert not told
    assert np.array_equal(first.vectors, second.vectors)
    assert np.array_equal(first.groups, second.groups)


def test_other_weights_have_features_of_their_own(data: ImageFolder, backbone: nn.Module) -> None:
    first = image_features(data, backbone)
    with torch.no_grad():
        next(backbone.parameters()).add_(0.1)
    assert not np.allclose(first.vectors, image_features(data, backbone).vectors)


def test_some_splits_alone(data: ImageFolder, backbone: nn.Module) -> None:
    features = image_features(data, backbone, splits=("val", "test"))
    assert features.splits.tolist() == ["val"] * 4


def test_images_are_counted_over_all_splits(data: ImageFolder, backbone: nn.Module) -> None:
    told: list[tuple[int, int]] = []
    image_features(data, backbone, on_images=lambda done, total: told.append((done, total)))
    assert told == [(11, 15), (15, 15)]


def test_images_with_boxes_are_refused(backbone: nn.Module) -> None:
    data = DigitScenes()
    data.setup()
    with pytest.raises(InputError, match="a study needs images with one class each, but DigitScenes has boxes"):
        image_features(data, backbone)
