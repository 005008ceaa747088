from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from visiontasks.backbones import Stage, create_pyramid, create_vector, split_stages

NETWORKS = [
    "resnet18",
    "vgg11",
    "mobilenetv2_100",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "resnet20_cifar",
    "googlenet",
    "alexnet",
    "lenet5",
]
both_views = pytest.mark.parametrize("create", [create_vector, create_pyramid], ids=["vector", "pyramid"])


def make(create: Callable[..., nn.Module], name: str) -> nn.Module:
    with torch.device("meta"):
        return create(name, weights="none")


def names_in(stage: Stage, backbone: nn.Module) -> list[str]:
    name_of = {id(module): name for name, module in backbone.named_modules()}
    return [name_of[id(module)] for module in stage.modules]


@both_views
@pytest.mark.parametrize("name", NETWORKS)
def test_every_module_is_in_exactly_one_stage_in_order(create: Callable[..., nn.Module], name: str) -> None:
    backbone = make(create, name)
    in_stages = [module for stage in split_stages(backbone) for module in stage.modules]
    assert [id(m) for m in in_stages] == [id(m) for m in backbone.modules()]


@both_views
@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_in_exactly_one_stage(create: Callable[..., nn.Module], name: str) -> None:
    backbone = make(create, name)
    in_stages = [id(p) for stage in split_stages(backbone) for p in stage.parameters()]
    assert len(in_stages) == len(set(in_stages))
    assert set(in_stages) == {id(p) for p in backbone.parameters()}


@both_views
@pytest.mark.parametrize("name", NETWORKS)
def test_no_stage_is_without_parameters(create: Callable[..., nn.Module], name: str) -> None:
    assert all(stage.num_parameters > 0 for stage in split_stages(make(create, name)))


def test_resnet18_by_hand() -> None:
    backbone = make(create_vector, "resnet18")
    stages = split_stages(backbone)
    assert [stage.name for stage in stages] == ["act1", "layer1", "layer2", "layer3", "layer4"]
    assert names_in(stages[0], backbone) == ["", "conv1", "bn1", "act1"]
    assert names_in(stages[1], backbone)[:4] == ["maxpool", "layer1", "layer1.0", "layer1.0.conv1"]
    assert names_in(stages[1], backbone)[-1] == "layer1.1.act2"
    # The pool and the absent classifier have no parameters, so they end the last stage.
    assert names_in(stages[4], backbone)[-2:] == ["global_pool.flatten", "fc"]
    # conv1 7*7*3*64 and bn1 2*64; a 3x3 convolution 9*in*out and 2*out; a downsampling in*out and 2*out.
    by_hand = [9408 + 128, 4 * (36_864 + 128), 73_728 + 3 * 147_456 + 8192 + 5 * 256]
    assert [stage.num_parameters for stage in stages[:3]] == by_hand


def test_pyramid_of_resnet18_has_the_stages_of_the_vector() -> None:
    of_vector = split_stages(make(create_vector, "resnet18"))
    of_pyramid = split_stages(make(create_pyramid, "resnet18"))
    assert [(s.name, s.num_parameters) for s in of_pyramid] == [(s.name, s.num_parameters) for s in of_vector]


def test_flattened_pyramid_keeps_the_names_of_the_network() -> None:
    stages = split_stages(make(create_pyramid, "vgg11"))
    assert [s.name for s in stages] == [
        "features.1",
        "features.4",
        "features.9",
        "features.14",
        "features.19",
    ]


def test_hidden_layers_of_vgg_are_the_tail() -> None:
    stages = split_stages(make(create_vector, "vgg11"))
    assert stages[-1].name == "tail"
    assert stages[-1].num_parameters == 512 * 49 * 4096 + 4096 + 4096 * 4096 + 4096


def test_direct_parameters_of_the_root_are_in_the_first_stage() -> None:
    backbone = make(create_vector, "vit_tiny_patch16_224")
    first = {id(p) for p in split_stages(backbone)[0].parameters()}
    assert {id(backbone.cls_token), id(backbone.pos_embed)} <= first


def test_vit_has_a_stage_for_each_block_and_the_last_norm_joins_the_last_block() -> None:
    stages = split_stages(make(create_vector, "vit_tiny_patch16_224"))
    assert [s.name for s in stages] == [f"blocks.{i}" for i in range(12)]
    assert stages[-1].num_parameters == stages[-2].num_parameters + 2 * 192


@pytest.mark.parametrize(
    "name",
    [
        *("vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "deit_tiny_patch16_224"),
        *("beit_base_patch16_224", "eva02_tiny_patch14_224", "vit_base_patch16_clip_224", "samvit_base_patch16"),
        *("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "maxvit_tiny_tf_224", "hiera_tiny_224"),
        *("convnext_atto", "coat_tiny", "davit_tiny", "focalnet_tiny_lrf", "edgenext_small", "pit_s_224", "dpn68"),
        *("resnetv2_18", "efficientformer_l1", "crossvit_tiny_240", "tiny_vit_5m_224", "starnet_s1", "nextvit_small"),
    ],
)
def test_the_deepest_stage_is_more_than_a_norm(name: str) -> None:
    stages = split_stages(make(create_vector, name))
    total = sum(stage.num_parameters for stage in stages)
    assert stages[-1].name != "tail"
    assert stages[-1].num_parameters > 0.01 * total
    assert any(parameter.ndim > 1 for parameter in stages[-1].parameters())


@pytest.mark.parametrize(("width", "joined"), [(9, True), (10, False)])
def test_a_tail_below_one_percent_joins_the_stage_before_it(width: int, joined: bool) -> None:
    backbone = nn.Sequential(nn.Linear(99, 10, bias=False), nn.Linear(width, 1, bias=False))
    backbone.feature_info = [{"module": "0"}]  # 990 parameters, and 9 or 10: 0.9 % or 1 %
    assert [stage.name for stage in split_stages(backbone)] == (["0"] if joined else ["0", "tail"])


def test_a_large_tail_of_norms_joins_the_stage_before_it() -> None:
    backbone = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(50))
    backbone.feature_info = [{"module": "0"}]
    (stage,) = split_stages(backbone)
    assert (stage.name, stage.num_parameters) == ("0", 6 + 100)


def test_small_first_stages_stay() -> None:
    """The stem of a ResNet-18 has 0.09 % of its parameters; only the end is joined."""
    assert len(split_stages(make(create_vector, "resnet18"))) == 5


def test_a_name_that_begins_like_another_is_distinguished() -> None:
    """blocks.1 must not take blocks.10 and blocks.11 along."""
    stages = split_stages(make(create_vector, "vit_tiny_patch16_224"))
    assert stages[1].num_parameters == stages[10].num_parameters


def test_pyramid_of_the_first_maps_ends_there() -> None:
    with torch.device("meta"):
        backbone = create_pyramid("resnet18", weights="none", out_indices=(1, 2))
    assert [stage.name for stage in split_stages(backbone)] == ["act1", "layer1", "layer2"]


def test_network_without_feature_info_is_one_tail() -> None:
    backbone = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    (stage,) = split_stages(backbone)
    assert stage.name == "tail"
    assert stage.num_parameters == 2 * 3 + 3 + 3 * 4 + 4


def test_first_boundary_without_parameters_is_joined_to_the_next() -> None:
    backbone = nn.Sequential(nn.Identity(), nn.Linear(1, 1), nn.Identity())
    backbone.feature_info = [{"module": "0"}, {"module": "1"}]
    (stage,) = split_stages(backbone)
    assert stage.name == "1"
    assert len(stage.modules) == 4


def test_stage_counts_a_shared_parameter_once() -> None:
    a, b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    b.weight = a.weight
    assert Stage("shared", (a, b)).num_parameters == 4


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_plain_classifier_can_be_cut_too(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    stages = split_stages(model)
    assert stages[-1].name == "tail"
    assert sum(stage.num_parameters for stage in stages) == sum(p.numel() for p in model.parameters())
