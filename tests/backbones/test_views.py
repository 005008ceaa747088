from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from visiontasks.backbones import (
    create_pyramid,
    create_vector,
    image_size,
    normalization,
)
from visiontasks.errors import InputError


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 512),
        ("vgg16", 4096),
        ("mobilenetv2_100", 1280),
        ("mobilenetv3_small_100", 1024),
        ("mobilenetv3_large_100", 1280),
        ("vit_tiny_patch16_224", 192),
        ("swin_tiny_patch4_window7_224", 768),
        ("convnext_atto", 320),
        ("densenet121", 1024),
        ("alexnet", 4096),
        ("alexnet_tv", 4096),
        ("zfnet", 4096),
        ("googlenet", 1024),
        ("lenet5", 84),
        ("resnet20_cifar", 64),
    ],
)
def test_vector_is_head_hidden_size_long(name: str, width: int) -> None:
    with torch.device("meta"):
        backbone = create_vector(name, weights="none").eval()
        size = image_size(backbone)
        vector = backbone(torch.zeros(2, 3, size, size))
    assert vector.shape == (2, width)
    assert backbone.head_hidden_size == width


def test_width_is_measured_where_the_network_has_no_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_attribute(*_: object, **__: object) -> nn.Module:
        backbone = timm.create_model("resnet20_cifar", num_classes=0)
        del backbone.head_hidden_size
        return backbone

    monkeypatch.setattr("visiontasks.backbones.views.build", without_attribute)
    backbone = create_vector("any", weights="none")
    assert backbone.head_hidden_size == 64
    assert backbone.training
    assert backbone.bn1.num_batches_tracked == 0  # measuring left no trace


def test_pyramid_gives_the_maps_that_feature_info_describes() -> None:
    backbone = create_pyramid("resnet18", weights="none")
    maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 32, 48),
        (64, 16, 24),
        (128, 8, 12),
        (256, 4, 6),
        (512, 2, 3),
    ]
    assert backbone.feature_info.channels() == [64, 64, 128, 256, 512]


def test_pyramid_returns_the_maps_that_are_asked_for() -> None:
    backbone = create_pyramid("lenet5", weights="none", out_indices=(1,), in_chans=1)
    (only,) = backbone(torch.zeros(1, 1, 32, 32))
    assert only.shape == (1, 16, 10, 10)


@pytest.mark.parametrize("out_indices", [(4, 2), (2, 4, 4), (-1, 2), (-1, -3, 4)])
def test_maps_are_each_returned_once_and_finest_first(out_indices: tuple[int, ...]) -> None:
    backbone = create_pyramid("resnet18", weights="none", out_indices=out_indices)
    assert [tuple(m.shape[1:]) for m in backbone(torch.zeros(1, 3, 64, 64))] == [(128, 8, 8), (512, 2, 2)]
    assert backbone.feature_info.channels() == [128, 512]
    assert backbone.feature_info.reduction() == [8, 32]


def test_pyramid_without_maps_is_refused() -> None:
    with pytest.raises(InputError, match="out_indices is empty"):
        create_pyramid("resnet18", weights="none", out_indices=())


@pytest.mark.parametrize(
    "name",
    ["swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "mambaout_femto", "hiera_tiny_224", "gcvit_xxtiny"],
)
def test_maps_have_their_channels_second_also_where_the_network_has_them_last(name: str) -> None:
    with torch.device("meta"):
        backbone = create_pyramid(name, weights="none", out_indices=(3, 1)).eval()
        maps = backbone(torch.zeros(2, 3, 224, 224))
    expected = [
        (2, channels, 224 // stride, 224 // stride)
        for channels, stride in zip(backbone.feature_info.channels(), backbone.feature_info.reduction(), strict=True)
    ]
    assert [tuple(m.shape) for m in maps] == expected


def test_index_beyond_the_maps_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot build lenet5 with .*out_indices=\(0, 9\)"):
        create_pyramid("lenet5", weights="none", out_indices=(0, 9))


def test_grey_images_are_normalized_by_the_mean_over_the_colours() -> None:
    norm = normalization(create_vector("resnet20_cifar", weights="none", in_chans=1))
    assert norm.mean == pytest.approx(((0.4914 + 0.4822 + 0.4465) / 3,))
    assert norm.std == pytest.approx(((0.2470 + 0.2435 + 0.2616) / 3,))


def test_colour_images_into_a_network_for_grey_ones_share_its_normalization() -> None:
    assert normalization(create_vector("lenet5", weights="none", in_chans=3)).mean == (0.1307, 0.1307, 0.1307)


@pytest.mark.parametrize("create", [create_vector, create_pyramid])
def test_normalization_is_as_long_as_in_chans_in_both_views(create: type) -> None:
    assert len(normalization(create("resnet20_cifar", weights="none", in_chans=4)).std) == 4


def test_normalization_is_that_of_the_tag() -> None:
    with torch.device("meta"):
        assert normalization(create_vector("vit_tiny_patch16_224", weights="none")).mean == (0.5, 0.5, 0.5)
        assert normalization(create_pyramid("resnet18.a1_in1k", weights="none")).mean == (0.485, 0.456, 0.406)


def test_image_size_comes_from_the_cfg() -> None:
    with torch.device("meta"):
        assert image_size(create_vector("alexnet", weights="none")) == 227
        assert image_size(create_vector("vit_tiny_patch16_224", weights="none")) == 224


def test_module_without_cfg_is_refused() -> None:
    with pytest.raises(InputError, match="Linear has no pretrained_cfg"):
        normalization(nn.Linear(1, 1))


@pytest.mark.parametrize("create", [create_vector, create_pyramid])
def test_random_weights_have_to_be_asked_for(create: Callable[..., nn.Module]) -> None:
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'weights'"):
        create("lenet5")
