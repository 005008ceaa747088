from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from visiontasks.backbones import create_vector
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
        module = nn.ModuleDict({"head": nn.Linear(2, 2), "backbone": create_vector(name)})
    list(module.parameters())[3].requires_grad_(False)
    groups = parameter_groups(module)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in module.parameters())
    assert len({group["name"] for group in groups}) == len(groups)


def test_norms_and_biases_get_no_weight_decay() -> None:
    optimizer = SGD(parameter_groups(Module()), lr=0.1, weight_decay=0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0, 0.5, 0, 0.5]
    assert all(p.ndim > 1 for group in optimizer.param_groups for p in group["params"] if group["weight_decay"])


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
def test_what_a_recipe_says_of_fused_and_foreach_stays(chosen: dict[str, bool]) -> None:
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
