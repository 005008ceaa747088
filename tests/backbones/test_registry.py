"""What every network that we add to timm has to do; the networks come from timm's registry."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, model_entrypoint
from torch import nn

import visiontasks.backbones
from visiontasks.backbones import save_weights

PACKAGE = visiontasks.backbones.__name__
OURS = [name for name in timm.list_models() if model_entrypoint(name).__module__.startswith(PACKAGE)]
LARGE = 10_000_000
COARSEST_STRIDE = 32

Built = Callable[[str], nn.Module]


def meta_model(name: str, **model_args: object) -> nn.Module:
    """A network without memory for its tensors: shapes can be computed, values cannot."""
    with torch.device("meta"):
        return timm.create_model(name, **model_args).eval()


def meta_image(channels: int, height: int, width: int | None = None, batch: int = 2) -> torch.Tensor:
    return torch.zeros(batch, channels, height, width or height, device="meta")


def input_size(name: str) -> tuple[int, int]:
    channels, size, _ = get_pretrained_cfg(name).input_size
    return channels, size


def smallest_size(name: str) -> int:
    cfg = get_pretrained_cfg(name)
    return cfg.min_input_size[-1] if cfg.min_input_size else 9


def is_large(name: str) -> bool:
    return sum(p.numel() for p in meta_model(name).parameters()) > LARGE


each = pytest.mark.parametrize("name", OURS)


def test_every_network_of_the_design_is_registered() -> None:
    assert OURS == [
        "alexnet",
        "alexnet_tv",
        "googlenet",
        "lenet5",
        "plain20_cifar",
        "plain56_cifar",
        "resnet20_cifar",
        "resnet32_cifar",
        "resnet44_cifar",
        "resnet56_cifar",
        "resnet110_cifar",
        "zfnet",
    ]


@each
def test_takes_two_sizes_and_gives_a_logit_for_each_class(name: str) -> None:
    channels, size = input_size(name)
    model = meta_model(name, num_classes=7)
    assert model(meta_image(channels, size)).shape == (2, 7)
    assert model(meta_image(channels, size + 13, size - 5, batch=1)).shape == (1, 7)


@each
def test_smallest_size_works(name: str) -> None:
    channels, _ = input_size(name)
    assert meta_model(name, num_classes=7)(meta_image(channels, smallest_size(name))).shape == (2, 7)


@pytest.mark.parametrize("name", [n for n in OURS if get_pretrained_cfg(n).min_input_size])
def test_one_pixel_less_than_the_smallest_size_fails(name: str) -> None:
    channels, _ = input_size(name)
    with pytest.raises(RuntimeError, match=r"too small|non-zero size"):
        meta_model(name)(meta_image(channels, smallest_size(name) - 1))


@each
def test_default_classes_are_those_of_the_cfg(name: str, built: Built) -> None:
    channels, _ = input_size(name)
    model = built(name)
    with torch.no_grad():
        logits = model(torch.rand(1, channels, smallest_size(name), smallest_size(name)))
    assert logits.shape == (1, get_pretrained_cfg(name).num_classes)
    assert logits.isfinite().all()


@each
def test_feature_maps_have_the_channels_and_strides_of_feature_info(name: str) -> None:
    channels, size = input_size(name)
    model = meta_model(name, features_only=True)
    maps = model(meta_image(channels, size))
    larger = model(meta_image(channels, size + COARSEST_STRIDE))
    assert [m.shape[1] for m in maps] == model.feature_info.channels()
    growth = [b.shape[-1] - a.shape[-1] for a, b in zip(maps, larger, strict=True)]
    assert growth == [COARSEST_STRIDE // stride for stride in model.feature_info.reduction()]


@each
def test_feature_maps_are_returned_finest_first_and_by_index(name: str) -> None:
    channels, size = input_size(name)
    every = meta_model(name, features_only=True)(meta_image(channels, size))
    last_two = meta_model(name, features_only=True, out_indices=(-2, -1))(meta_image(channels, size))
    heights = [m.shape[-2] for m in every]
    assert heights == sorted(heights, reverse=True)
    assert [m.shape for m in last_two] == [m.shape for m in every[-2:]]


@each
def test_takes_grey_images_in_both_views(name: str) -> None:
    _, size = input_size(name)
    assert meta_model(name, in_chans=1, num_classes=7)(meta_image(1, size)).shape == (2, 7)
    maps = meta_model(name, in_chans=1, features_only=True)(meta_image(1, size + 9))
    assert len(maps) == len(meta_model(name).feature_info)


@each
def test_without_classes_gives_a_vector_of_head_hidden_size(name: str) -> None:
    channels, size = input_size(name)
    model = meta_model(name, num_classes=0)
    assert model(meta_image(channels, size)).shape == (2, model.head_hidden_size)
    assert isinstance(model.get_classifier(), nn.Identity)


@each
def test_reset_classifier_changes_the_number_of_classes(name: str) -> None:
    channels, size = input_size(name)
    model = meta_model(name)
    model.reset_classifier(5)
    assert model.num_classes == model.get_classifier().out_features == 5
    assert model(meta_image(channels, size)).shape == (2, 5)
    model.reset_classifier(0)
    assert model(meta_image(channels, size)).shape == (2, model.head_hidden_size)


@each
def test_reset_classifier_keeps_device_and_dtype(name: str) -> None:
    model = meta_model(name).to(torch.float64)
    model.reset_classifier(5)
    assert model.get_classifier().weight.device.type == "meta"
    assert model.get_classifier().weight.dtype == torch.float64


@each
def test_forward_is_features_then_head(name: str, built: Built) -> None:
    channels, _ = input_size(name)
    model = built(name)
    image = torch.rand(2, channels, smallest_size(name), smallest_size(name))
    with torch.no_grad():
        features = model.forward_features(image)
        vector = model.forward_head(features, pre_logits=True)
        assert features.shape[1] == model.num_features
        assert vector.shape == (2, model.head_hidden_size)
        torch.testing.assert_close(model.get_classifier()(vector), model(image))


@each
def test_gradients_reach_every_parameter(name: str, built: Built) -> None:
    channels, size = input_size(name)
    model = built(name)
    model.zero_grad(set_to_none=True)
    model(torch.rand(2, channels, size, size)).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    model.zero_grad(set_to_none=True)
    assert without == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if is_large(name) else ()) for name in OURS]
)
def test_a_saved_network_gives_the_same_output(name: str, tmp_path: Path, built: Built) -> None:
    channels, _ = input_size(name)
    path = tmp_path / "weights.safetensors"
    save_weights(built(name), path)
    again = timm.create_model(name).eval()
    again.load_state_dict(load_file(path))
    image = torch.rand(1, channels, smallest_size(name), smallest_size(name))
    with torch.no_grad():
        assert torch.equal(again(image), built(name)(image))


@each
def test_cfg_names_the_first_convolution_and_the_classifier(name: str) -> None:
    model = meta_model(name)
    cfg = model.pretrained_cfg
    assert isinstance(model.get_submodule(cfg["first_conv"]), nn.Conv2d)
    assert model.get_submodule(cfg["classifier"]) is model.get_classifier()
    assert len(cfg["mean"]) == len(cfg["std"]) == cfg["input_size"][0]


@each
def test_pool_size_of_the_cfg_is_the_last_map(name: str) -> None:
    channels, size = input_size(name)
    features = meta_model(name).forward_features(meta_image(channels, size))
    assert features.shape[-2:] == get_pretrained_cfg(name).pool_size


@each
def test_pretrained_cfg_can_be_overlaid(name: str) -> None:
    model = meta_model(name, pretrained_cfg_overlay={"mean": (0.25,)})
    assert model.pretrained_cfg["mean"] == (0.25,)


@each
def test_without_pool_and_classifier_gives_the_last_map(name: str) -> None:
    channels, size = input_size(name)
    expected = (2, meta_model(name).num_features, *get_pretrained_cfg(name).pool_size)
    assert meta_model(name, num_classes=0, global_pool="")(meta_image(channels, size)).shape == expected
    model = meta_model(name)
    model.reset_classifier(0, "")
    assert model(meta_image(channels, size)).shape == expected


@each
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")  # deprecated, with a category that depends on the version
def test_torchscript_gives_the_same_logits(name: str, built: Built) -> None:
    channels, _ = input_size(name)
    image = torch.rand(1, channels, smallest_size(name), smallest_size(name))
    with torch.no_grad():
        assert torch.equal(torch.jit.script(built(name))(image), built(name)(image))


@each
def test_gradient_checkpointing_is_refused_not_ignored(name: str) -> None:
    model = meta_model(name)
    model.set_grad_checkpointing(False)
    with pytest.raises(NotImplementedError, match="gradient checkpointing"):
        model.set_grad_checkpointing()


@each
def test_every_tag_can_be_built(name: str) -> None:
    for tagged in get_arch_pretrained_cfgs(name):
        assert meta_model(tagged).pretrained_cfg["architecture"] == name
