import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from visiontasks.backbones import create_pyramid, create_vector
from visiontasks.errors import InputError
from visiontasks.tasks import parameter_groups, scale_learning_rates
from visiontasks.tasks.groups import fuse


class Module(nn.Module):
    """A head and a backbone of two stages, the stem belonging to the first, with an outer parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.temperature = nn.Parameter(torch.ones(()))
        self.backbone = nn.Module()
        self.backbone.stem = nn.Linear(3, 4)
        self.backbone.stage1 = nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4))
        self.backbone.stage2 = nn.Sequential(nn.Linear(4, 4, bias=False))
        self.backbone.feature_info = [{"module": "stage1"}, {"module": "stage2"}]


def names_in(groups: Sequence[dict[str, object]], module: nn.Module) -> dict[str, list[str]]:
    name_of = {id(p): name for name, p in module.named_parameters()}
    return {str(group["name"]): [name_of[id(p)] for p in group["params"]] for group in groups}


@pytest.mark.parametrize("compiled", [False, True])
def test_groups_by_hand(compiled: bool) -> None:
    module = Module()
    net = module.backbone
    if compiled:
        module.backbone = torch.compile(net, backend="eager")
    groups = parameter_groups(module)
    module.backbone = net
    assert names_in(groups, module) == {
        "head": ["head.weight"],
        "head.no_decay": ["temperature", "head.bias"],
        "backbone.stage1": ["backbone.stem.weight", "backbone.stage1.0.weight"],
        "backbone.stage1.no_decay": ["backbone.stem.bias", "backbone.stage1.1.weight", "backbone.stage1.1.bias"],
        "backbone.stage2": ["backbone.stage2.0.weight"],
    }


@pytest.mark.parametrize("name", ["resnet20_cifar", "lenet5", "vit_tiny_patch16_224", "convnext_atto"])
def test_every_parameter_is_in_exactly_one_group_frozen_or_not(name: str) -> None:
    with torch.device("meta"):
        module = nn.ModuleDict({"head": nn.Linear(2, 2), "backbone": create_vector(name, weights="none")})
    list(module.parameters())[3].requires_grad_(False)
    groups = parameter_groups(module)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in module.parameters())
    assert len({group["name"] for group in groups}) == len(groups)


def test_norms_and_biases_get_no_weight_decay() -> None:
    optimizer = SGD(parameter_groups(Module()), lr=0.1, weight_decay=0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0, 0.5, 0, 0.5]
    assert all(p.ndim > 1 for group in optimizer.param_groups for p in group["params"] if group["weight_decay"])


def undecayed_matrices(name: str, create: Callable[..., nn.Module]) -> set[str]:
    """Parameters without weight decay that have several dimensions, with one name for all layers of a kind."""
    with torch.device("meta"):
        module = nn.ModuleDict({"backbone": create(name, weights="none")})
    name_of = {id(p): name.removeprefix("backbone.") for name, p in module.named_parameters()}
    undecayed = [p for g in parameter_groups(module) if g["name"].endswith(".no_decay") for p in g["params"]]
    return {re.sub(r"\d+", "N", name_of[id(p)]) for p in undecayed if p.ndim > 1}


TABLE = "attn.relative_position_bias_table"
MAXVIT = [f"stages.N.blocks.N.{part}.attn.rel_pos.relative_position_bias_table" for part in ("attn_block", "attn_grid")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_tiny_patch16_224", ["cls_token", "pos_embed"]),
        ("deit_tiny_distilled_patch16_224", ["cls_token", "dist_token", "pos_embed"]),
        ("vit_small_patch14_reg4_dinov2", ["cls_token", "pos_embed", "reg_token"]),
        ("vit_small_patch16_dinov3", ["cls_token", "reg_token"]),
        ("beit_base_patch16_224", ["cls_token", f"blocks.N.{TABLE}"]),
        ("swin_tiny_patch4_window7_224", [f"layers.N.blocks.N.{TABLE}"]),
        ("swinv2_tiny_window8_256", [f"layers.N.blocks.N.attn.{p}" for p in ("cpb_mlp.N.weight", "logit_scale")]),
        ("maxvit_tiny_tf_224", MAXVIT),
        ("hiera_tiny_224", ["pos_embed"]),
        ("samvit_base_patch16", ["blocks.N.attn.rel_pos_h", "blocks.N.attn.rel_pos_w", "pos_embed"]),
        ("twins_svt_small", ["pos_block.N.proj.N.weight"]),  # by its no_weight_decay()
        ("tnt_s_patch16_224", ["cls_token", "patch_pos", "pixel_pos"]),
        ("fastvit_t8", [f"stages.N.blocks.N.{p}layer_scale.gamma" for p in ("", "token_mixer.")]),
        ("resnet18", []),
        ("convnext_atto", []),
    ],
)
def test_tokens_position_embeddings_and_scales_get_no_weight_decay(name: str, expected: list[str]) -> None:
    assert undecayed_matrices(name, create_vector) == set(expected)


@pytest.mark.parametrize(
    "name",
    [
        *("vit_tiny_patch16_224", "beit_base_patch16_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
        *("maxvit_tiny_tf_224", "hiera_tiny_224", "gcvit_tiny", "nest_tiny", "tiny_vit_5m_224", "pit_s_224"),
    ],
)
def test_a_pyramid_has_no_weight_decay_where_the_vector_has_none(name: str) -> None:
    of_vector = undecayed_matrices(name, create_vector)
    of_pyramid = {n.removeprefix("model.").removeprefix("body.") for n in undecayed_matrices(name, create_pyramid)}
    # wrappers of timm flatten a name's first level, "layers.0" to "layers_0", and drop what is behind the last map
    assert {n.replace("_N", ".N") for n in of_pyramid} == of_vector


def test_weight_decay_is_as_nested_networks_list_it() -> None:
    module = Module()
    module.backbone.stage1.no_weight_decay = lambda: {"0.weight"}
    module.backbone.no_weight_decay = lambda: ["stem.*"]
    names = names_in(parameter_groups(module), module)
    assert names["backbone.stage1.no_decay"][:2] == ["backbone.stem.weight", "backbone.stem.bias"]
    assert "backbone.stage1" not in names
    assert names["backbone.stage2"] == ["backbone.stage2.0.weight"]


def test_a_layer_with_one_output_keeps_its_weight_decay() -> None:
    module = Module()
    module.head = nn.Linear(4, 1)
    module.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
    names = names_in(parameter_groups(module), module)
    assert names["head"] == ["head.weight"]
    assert names["head.no_decay"] == ["temperature", "scale", "head.bias"]


@pytest.mark.parametrize(
    ("lr_scale", "rates"),
    [
        (1.0, [0.1, 0.1, 0.1, 0.1, 0.1]),
        (0.5, [0.1, 0.1, 0.05, 0.05, 0.05]),
        (0, [0.1, 0.1, 0.0, 0.0, 0.0]),
        ([0.2, 0.4], [0.1, 0.1, 0.02, 0.02, 0.04]),
    ],
)
def test_learning_rates_are_scaled_by_stage(lr_scale: float | list[float], rates: list[float]) -> None:
    optimizer = SGD(parameter_groups(Module(), lr_scale=lr_scale), lr=0.1)
    scale_learning_rates(optimizer.param_groups)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates)


def test_another_attribute_names_its_groups() -> None:
    module = nn.ModuleDict({"net": nn.ModuleDict({"encoder": Module().backbone}), "head": nn.Linear(4, 2)})
    names = [group["name"] for group in parameter_groups(module, backbone="net.encoder")]
    assert names == ["head", "head.no_decay", *(f"net.encoder.{n}" for n in ("stage1", "stage1.no_decay", "stage2"))]


@pytest.mark.parametrize(
    ("lr_scale", "message"),
    [
        ([1.0], r"has 1 values, but the backbone has 2 stages \(stage1, stage2\).*model.init_args.backbone_lr_scale"),
        ([1.0, 1.0, 1.0], "has 3 values, but the backbone has 2 stages"),
        ([1.0, -0.1], "backbone_lr_scale must be finite and 0 or more, got"),
        (float("nan"), "backbone_lr_scale must be finite and 0 or more, got nan"),
    ],
)
def test_scales_that_do_not_fit_are_refused(lr_scale: float | list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parameter_groups(Module(), lr_scale=lr_scale)


class OnGpu(nn.Parameter):
    is_cuda = True


def optimizer_on_gpu(kind: type[Optimizer], **options: Any) -> Optimizer:
    parameters = [OnGpu(torch.ones(2, 2)), OnGpu(torch.ones(2))]
    return kind([{"params": [parameter]} for parameter in parameters], lr=0.5, **options)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_on_a_gpu_groups_are_updated_by_one_kernel(kind: type[Optimizer]) -> None:
    optimizer = optimizer_on_gpu(kind)
    fuse(optimizer)
    assert [group["fused"] for group in optimizer.param_groups] == [True, True]


@pytest.mark.parametrize("chosen", [{"fused": False}, {"fused": True}, {"foreach": True}, {"foreach": False}])
def test_fused_and_foreach_stay_as_a_recipe_sets_them(chosen: dict[str, bool]) -> None:
    optimizer = optimizer_on_gpu(AdamW, **chosen)
    fuse(optimizer)
    assert [group["fused"] for group in optimizer.param_groups] == 2 * [chosen.get("fused")]


def test_optimizers_without_a_fused_kernel_stay() -> None:
    optimizer = optimizer_on_gpu(RMSprop)
    fuse(optimizer)
    assert all("fused" not in group for group in optimizer.param_groups)


def test_on_a_cpu_the_order_of_rounding_stays() -> None:
    optimizer = AdamW([torch.nn.Parameter(torch.ones(2))])
    fuse(optimizer)
    assert optimizer.param_groups[0]["fused"] is None


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_a_fused_optimizer_does_what_any_does_with_frozen_groups(kind: type[Optimizer]) -> None:
    parameters = {}
    for fused in (False, True):
        torch.manual_seed(0)
        parameters[fused] = [nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(4))]
        groups = [{"params": [parameter]} for parameter in parameters[fused]]
        optimizer = kind(groups, lr=0.1, weight_decay=0.5, fused=fused)
        for step in range(4):
            for parameter in parameters[fused][step < 2 :]:  # the first is frozen in two steps
                parameter.grad = parameter.detach().sin()
            optimizer.step()
            optimizer.zero_grad()
    for one, other in zip(parameters[False], parameters[True], strict=True):
        torch.testing.assert_close(one, other)
