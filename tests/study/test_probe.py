"""Backbones ranked by cross-fitted heads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from visiontasks.data import ImageFolder
from visiontasks.errors import InputError
from visiontasks.study.probe import study_backbones


@pytest.fixture
def data(tmp_path: Path, class_folders: Callable[..., Path]) -> ImageFolder:
    root = class_folders(tmp_path / "images", {f"{split}/{name}": 6 for split in ("train", "test") for name in "ab"})
    data = ImageFolder(str(root), image_size=32, num_workers=0)
    data.setup()
    return data


def test_training_and_validation_images_are_judged_and_test_images_are_not(data: ImageFolder) -> None:
    told: list[tuple[str, int, int]] = []
    study = study_backbones(data, ["resnet20_cifar.vt_cifar10"], folds=3, on_backbone=lambda *about: told.append(about))
    (probed,) = study.probed
    assert probed.n == 12
    assert probed.right == 12  # two colours
    assert probed.accuracy == 1.0
    assert probed.low == pytest.approx(12 / (12 + 1.959964**2))  # Wilson's bound with all right
    assert (probed.high, probed.p) == (1.0, 1.0)
    assert probed.license == "apache-2.0"
    assert probed.parameters == 269_072  # 269,722 without a classifier of 64 x 10 + 10
    assert probed.image_ms > 0
    assert told[-1] == ("resnet20_cifar.vt_cifar10", 12, 12)


def test_weights_that_cannot_be_had_are_named_and_left_out(data: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiontasks.study.probe.DEFAULT", ("resnet18.a1_in1k", "resnet20_cifar.vt_cifar10"))
    monkeypatch.setattr("visiontasks.backbones.hub.constants.HF_HUB_OFFLINE", True)
    study = study_backbones(data, folds=3)
    assert [each.name for each in study.probed] == ["resnet20_cifar.vt_cifar10"]
    assert "no weights for resnet18.a1_in1k" in study.missing["resnet18.a1_in1k"]


def test_without_any_backbone_the_reasons_are_named(data: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiontasks.backbones.hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="no backbone could be tried: no weights for resnet18"):
        study_backbones(data, ["resnet18.a1_in1k"])


def test_a_backbone_that_is_named_has_to_exist(data: ImageFolder) -> None:
    with pytest.raises(InputError, match="resnet19"):
        study_backbones(data, ["resnet19"])
