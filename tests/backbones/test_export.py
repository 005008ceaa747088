import json
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from visiontasks.backbones import (
    create_pyramid,
    create_vector,
    normalization,
    pyramid_arguments,
    save_config,
    save_local_dir,
    save_pyramid,
    save_weights,
    to_classifier,
)
from visiontasks.errors import InputError


def linear(backbone: nn.Module, num_classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(num_classes, backbone.head_hidden_size), torch.randn(num_classes)


@pytest.mark.parametrize(
    ("name", "in_chans"),
    [("resnet20_cifar", 3), ("lenet5", 1), ("test_efficientnet", 3), ("test_vit", 3), ("resnet20_cifar", 1)],
)
def test_classifier_gives_the_logits_of_backbone_and_linear_layer(name: str, in_chans: int) -> None:
    backbone = create_vector(name, weights="none", in_chans=in_chans).eval()
    weight, bias = linear(backbone)
    classifier = to_classifier(backbone, weight, bias)
    size = backbone.pretrained_cfg["input_size"][-1]
    image = torch.randn(2, in_chans, size, size)
    with torch.no_grad():
        torch.testing.assert_close(classifier(image), F.linear(backbone(image), weight, bias))
    assert classifier.num_classes == 5
    assert not classifier.training


def test_backbone_is_left_as_it_is() -> None:
    backbone = create_vector("resnet20_cifar", weights="none")
    backbone.layer1.eval()
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    classifier = to_classifier(backbone, *linear(backbone))
    classifier.conv1.weight.data.fill_(0)
    assert backbone.training
    assert not backbone.layer1.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())


@pytest.mark.parametrize(("weight", "bias"), [((5, 63), (5,)), ((5, 64), (4,)), ((5, 64, 1), (5,)), ((64,), (5,))])
def test_linear_layer_that_does_not_fit_is_refused(weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
    backbone = create_vector("resnet20_cifar", weights="none")
    with pytest.raises(InputError, match=r"expected \(K, 64\) and \(K,\)"):
        to_classifier(backbone, torch.zeros(weight), torch.zeros(bias))


def test_timm_alone_loads_the_folder(tmp_path: Path) -> None:
    backbone = create_vector("resnet20_cifar", weights="none")
    classifier = to_classifier(backbone, *linear(backbone, 3))
    save_local_dir(classifier, tmp_path, class_names=["a", "b", "c"])
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(image), classifier(image))
    assert again.pretrained_cfg["label_names"] == ["a", "b", "c"]
    assert again.pretrained_cfg["mean"] == [0.4914, 0.4822, 0.4465]
    assert again.num_classes == 3


def test_folder_stores_the_arguments_that_the_backbone_was_built_with(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    save_local_dir(timm.create_model("mobilenetv2_035", pad_type="same"), first)
    backbone = create_vector(f"local-dir:{first}", weights="hub").eval()
    weight, bias = linear(backbone, 2)
    save_local_dir(to_classifier(backbone, weight, bias), second)
    again = timm.create_model(f"local-dir:{second}", pretrained=True).eval()
    image = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        torch.testing.assert_close(again(image), F.linear(backbone(image), weight, bias))
    assert json.loads((second / "config.json").read_text())["model_args"]["pad_type"] == "same"


def test_folder_stores_the_preprocessing(tmp_path: Path) -> None:
    config = {"input_size": (3, 48, 48), "crop_pct": 0.9, "crop_mode": "squash"}
    save_local_dir(timm.create_model("resnet20_cifar"), tmp_path, data_config=config)
    cfg = timm.create_model(f"local-dir:{tmp_path}").pretrained_cfg
    assert (tuple(cfg["input_size"]), cfg["crop_pct"], cfg["crop_mode"]) == ((3, 48, 48), 0.9, "squash")


def test_wrong_number_of_class_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got 2 class names for 10 classes"):
        save_local_dir(timm.create_model("resnet20_cifar"), tmp_path, class_names=["a", "b"])


def test_channels_last_weights_are_saved(tmp_path: Path) -> None:
    model = timm.create_model("resnet20_cifar").to(memory_format=torch.channels_last)
    save_local_dir(model, tmp_path / "folder")
    save_weights(model, tmp_path / "new" / "a.safetensors")
    for path in (tmp_path / "folder" / "model.safetensors", tmp_path / "new" / "a.safetensors"):
        saved = load_file(path)
        assert all(torch.equal(saved[key], tensor) for key, tensor in model.state_dict().items())
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_network_without_a_linear_end_is_refused() -> None:
    backbone = create_vector("deit_tiny_distilled_patch16_224", weights="none")
    with pytest.raises(InputError, match="VisionTransformerDistilled does not end in one linear layer"):
        to_classifier(backbone, *linear(backbone))


def test_config_alone_rebuilds_a_network_whose_arguments_and_mean_are_its_own(tmp_path: Path) -> None:
    own = {"mean": (0.5, 0.4, 0.3), "std": (0.3, 0.2, 0.1)}
    model = timm.create_model("test_efficientnet", num_classes=4, pad_type="same", pretrained_cfg_overlay=own)
    save_local_dir(model, tmp_path / "weights")
    backbone = create_vector(f"local-dir:{tmp_path / 'weights'}", weights="hub").eval()
    save_config(backbone, tmp_path / "run")
    again = create_vector(f"local-dir:{tmp_path / 'run'}", weights="none").eval()
    again.load_state_dict(backbone.state_dict())
    assert normalization(again).mean == (0.5, 0.4, 0.3)
    assert normalization(again).std == (0.3, 0.2, 0.1)
    image = torch.randn(2, 3, 33, 35)
    with torch.no_grad():
        assert torch.equal(again(image), backbone(image))
        plain = create_vector("test_efficientnet", weights="none").eval()
        plain.load_state_dict(backbone.state_dict())
        assert not torch.allclose(plain(image), backbone(image))  # else pad_type would not have mattered


@pytest.mark.parametrize(("name", "in_chans"), [("test_efficientnet", 3), ("vgg11", 3), ("zfnet", 3), ("lenet5", 1)])
def test_the_config_of_a_pyramid_builds_the_same_pyramid(name: str, in_chans: int, tmp_path: Path) -> None:
    backbone = create_pyramid(name, weights="none", in_chans=in_chans).eval()
    save_config(backbone, tmp_path)
    again = create_pyramid(f"local-dir:{tmp_path}", weights="none", in_chans=in_chans).eval()
    again.load_state_dict(backbone.state_dict())
    image = torch.randn(1, in_chans, 131, 129)
    with torch.no_grad():
        for found, expected in zip(again(image), backbone(image), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.slow
def test_a_saved_pyramid_with_channels_last_loads_with_channels_second(tmp_path: Path) -> None:
    backbone = create_pyramid("swin_s3_tiny_224", weights="none", out_indices=(2, 0)).eval()
    save_pyramid(backbone, tmp_path)
    assert pyramid_arguments(backbone) == {"features_only": True, "feature_cls": "getter"}
    view = pyramid_arguments(backbone)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, out_indices=(0, 2), **view).eval()
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        maps, expected = again(image), backbone(image)
    assert [m.shape[1] for m in maps] == [96, 384]
    assert all(torch.equal(found, right) for found, right in zip(maps, expected, strict=True))


def test_the_arguments_of_a_pyramids_weights_are_stored(tmp_path: Path) -> None:
    own = {"mean": (0.5, 0.4, 0.3), "std": (0.3, 0.2, 0.1)}
    model = timm.create_model("test_efficientnet", num_classes=4, pad_type="same", pretrained_cfg_overlay=own)
    save_local_dir(model, tmp_path / "weights")
    backbone = create_pyramid(f"local-dir:{tmp_path / 'weights'}", weights="hub").eval()
    save_config(backbone, tmp_path / "run")
    again = create_pyramid(f"local-dir:{tmp_path / 'run'}", weights="none").eval()
    again.load_state_dict(backbone.state_dict())
    assert normalization(again).mean == (0.5, 0.4, 0.3)
    image = torch.randn(1, 3, 33, 35)
    with torch.no_grad():
        assert torch.equal(again(image)[-1], backbone(image)[-1])
