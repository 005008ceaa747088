"""Optimizer parameter groups: the head and each stage of the backbone, norms and biases without weight decay."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from math import inf
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, Optimizer

from visiontasks.backbones import split_stages
from visiontasks.errors import InputError

# Tokens and position embeddings by the names that timm's networks give them: its pyramids lose `no_weight_decay`.
_TOKENS_AND_POSITIONS = re.compile(
    r"_token|pos_embed|position_embed|rel_pos|relative_position|attention_biases|cpb_mlp|logit_scale"
)


def parameter_groups(
    module: nn.Module, *, backbone: str = "backbone", lr_scale: float | Sequence[float] = 1.0
) -> list[dict[str, Any]]:
    """Put every parameter of a module into exactly one named group, whether it is frozen at the moment or not.

    A schedule that is built over these groups stays right when stages are unfrozen later, because no group is ever
    added behind its back. Norms, biases, layer scales, class and register tokens, position embeddings, relative
    position tables, and what a network's own `no_weight_decay()` lists get weight decay 0 in a group of their own.

    Args:
        module: Holds the backbone as an attribute; everything else of it is called the head.
        backbone: Name of that attribute.
        lr_scale: Factor on the learning rate of the backbone's stages: one for all, or one for each from shallow to
            deep.

    Returns:
        Groups with `params`, `name` ("head", "backbone.layer1", "backbone.layer1.no_decay", ...) and `lr_scale`,
        head first, then shallow to deep. `scale_learning_rates` applies the scale once the optimizer is made.

    Raises:
        InputError: If the number of scales is not the number of stages, or one is negative or not finite.
    """
    net = module.get_submodule(backbone)
    stages = split_stages(net)
    scales = [float(lr_scale)] * len(stages) if isinstance(lr_scale, int | float) else [float(s) for s in lr_scale]
    if len(scales) != len(stages):
        names = ", ".join(stage.name for stage in stages)
        raise InputError(
            f"backbone_lr_scale has {len(scales)} values, but the backbone has {len(stages)} stages ({names}): "
            "give model.init_args.backbone_lr_scale one value, or one for each stage"
        )
    if not all(0 <= scale < inf for scale in scales):
        raise InputError(f"model.init_args.backbone_lr_scale must be finite and 0 or more, got {lr_scale}")
    in_backbone = {id(parameter) for parameter in net.parameters()}
    head = [parameter for parameter in module.parameters() if id(parameter) not in in_backbone]
    undecayed = _undecayed(module)
    groups = _split_by_decay("head", head, 1.0, undecayed)
    for stage, scale in zip(stages, scales, strict=True):
        groups += _split_by_decay(f"{backbone}.{stage.name}", stage.parameters(), scale, undecayed)
    return groups


def scale_learning_rates(groups: Iterable[dict[str, Any]]) -> None:
    """Multiply each group's learning rate by its `lr_scale`, in place.

    Args:
        groups: `optimizer.param_groups` of an optimizer made from `parameter_groups`.
    """
    for group in groups:
        group["lr"] *= group["lr_scale"]


def fuse(optimizer: Optimizer) -> None:
    """Let each group on a GPU be updated by one kernel, unless the optimizer was made with `fused` or `foreach`.

    torch itself takes `foreach` there, several kernels for a group. On a CPU nothing changes: a fused
    AdamW is faster there too, but rounds differently, so a recipe has to ask for it.

    Args:
        optimizer: Its parameters are on the device where they are trained.
    """
    if not isinstance(optimizer, SGD | Adam):  # AdamW is an Adam
        return
    for group in optimizer.param_groups:
        is_chosen = group["fused"] is not None or group["foreach"] is not None or group["differentiable"]
        if not is_chosen and all(_can_be_fused(parameter) for parameter in group["params"]):
            group["fused"] = True


def _can_be_fused(parameter: nn.Parameter) -> bool:
    return parameter.is_cuda and parameter.is_floating_point()


def _undecayed(module: nn.Module) -> set[int]:
    """Ids of the parameters that get no weight decay."""
    listed = [
        f"{prefix}.{name}".removeprefix(".")
        for prefix, part in module.named_modules()
        if callable(getattr(part, "no_weight_decay", None))
        for name in part.no_weight_decay()
    ]
    return {
        id(parameter)
        for name, parameter in module.named_parameters()
        if _is_vector(name, parameter)
        or _TOKENS_AND_POSITIONS.search(name)
        or any(fnmatchcase(name, pattern) for pattern in listed)
    }


def _is_vector(name: str, parameter: nn.Parameter) -> bool:
    """Whether it is a norm, a bias, or a scale or token with further dimensions of 1, but no weight of a layer."""
    if name.rpartition(".")[2].startswith("weight"):
        return parameter.ndim <= 1
    return parameter.ndim <= 1 or parameter.numel() == max(parameter.shape)


def _split_by_decay(
    name: str, parameters: Sequence[nn.Parameter], lr_scale: float, undecayed_ids: set[int]
) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in parameters if id(parameter) not in undecayed_ids]
    undecayed = [parameter for parameter in parameters if id(parameter) in undecayed_ids]
    groups: list[dict[str, Any]] = []
    if decayed:
        groups.append({"params": decayed, "name": name, "lr_scale": lr_scale})
    if undecayed:
        groups.append({"params": undecayed, "name": f"{name}.no_decay", "lr_scale": lr_scale, "weight_decay": 0.0})
    return groups
