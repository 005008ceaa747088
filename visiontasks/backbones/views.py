"""The two views of a backbone, both plain timm modules: a vector per image, or a pyramid of feature maps."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

import torch
from timm.layers.format import Format
from torch import nn

from visiontasks.backbones.input_size import Size, input_size, refuse_other_sizes
from visiontasks.backbones.weights import build
from visiontasks.errors import InputError


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of each input channel, for images scaled to 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def create_vector(name: str, *, weights: str, in_chans: int = 3, image_size: int | Size | None = None) -> nn.Module:
    """Build a backbone that maps images (B, C, H, W) to vectors (B, D), with D = module.head_hidden_size.

    Pretrained layers after the convolutions remain (VGG's and AlexNet's fc6 and fc7), only the classifier is
    dropped. `weights` has no default, so that nobody trains on random weights unawares.

    Args:
        name: A name of timm.list_models, with or without a tag ("resnet18.a1_in1k"), or "local-dir:FOLDER".
        weights: "hub" (the tag's own download, or its file inside this package), "none" (random), or a path:
            .safetensors, .pth, .ckpt of an earlier run, or a timm local-dir folder. A folder brings its
            architecture arguments, mean and std along.
        in_chans: Channels of the input; the first convolution of pretrained weights is adapted as timm does
            it.
        image_size: Height and width, or side, of the images in pixels. Most vision
            transformers are built for one size: position embeddings of pretrained weights are resampled. By
            default the size that the weights were trained with.

    Raises:
        InputError: If the name is unknown, the network cannot take such images, or the weights do not fill
            the backbone.
        MissingFileError: If the weights are not there and cannot be downloaded.
    """
    backbone = build(
        name, weights=weights, model_args={"in_chans": in_chans, "num_classes": 0}, image_size=_size(image_size)
    )
    _set_in_chans(backbone, in_chans)
    refuse_other_sizes(backbone)
    hidden_size = getattr(backbone, "head_hidden_size", None)
    if not isinstance(hidden_size, int):
        setattr(backbone, "head_hidden_size", _measure_width(backbone))  # noqa: B010
    return backbone


def create_pyramid(
    name: str,
    *,
    weights: str,
    in_chans: int = 3,
    out_indices: Sequence[int] | None = None,
    image_size: int | Size | None = None,
) -> nn.Module:
    """Build a backbone that maps images to a list of feature maps, finest first.

    `module.feature_info` gives the channels and the reduction (stride) of each map.

    Args:
        name: See create_vector.
        weights: See create_vector; only what the pyramid uses has to be in the file.
        in_chans: See create_vector.
        out_indices: Which maps to return, all of timm's default if None; -1 is the last one. Each is returned once and
            finest first, whatever their order here.
        image_size: See create_vector.

    Returns:
        A timm module whose maps are (B, C, h, w). Where timm's default wrapper gives (B, h, w, C), as for Swin, it is
        timm's FeatureGetterNet.

    Raises:
        InputError: If the name or an index is unknown, the network has no feature maps, or the weights do not
            fill it.
        MissingFileError: If the weights are not there and cannot be downloaded.
    """
    model_args: dict[str, Any] = {"in_chans": in_chans, "features_only": True}
    if out_indices is not None:
        model_args["out_indices"] = _finest_first(name, out_indices)
    size = _size(image_size)
    backbone = build(name, weights=weights, model_args=model_args, image_size=size)
    if getattr(backbone, "output_fmt", Format.NCHW) != Format.NCHW:
        backbone = build(name, weights=weights, model_args={**model_args, "feature_cls": "getter"}, image_size=size)
    _set_in_chans(backbone, in_chans)
    refuse_other_sizes(backbone)
    return backbone


def normalization(backbone: nn.Module) -> Normalization:
    """Mean and std that the backbone's weights were trained with, from its pretrained_cfg.

    Their length is the backbone's in_chans; where that differs from what the cfg lists (grey images into a
    network for RGB), each channel gets the average over the listed ones.

    Raises:
        InputError: If they are not finite numbers, or std is not above 0.
    """
    cfg = _pretrained_cfg(backbone)
    channels = int(getattr(backbone, "in_chans", len(cfg["mean"])))
    mean, std = (_fit(_numbers(backbone, key, cfg[key]), channels) for key in ("mean", "std"))
    if not min(std) > 0:
        raise InputError(f"the std of {_source(backbone)} is {list(std)}: expected numbers above 0 in its config.json")
    return Normalization(mean, std)


def image_size(backbone: nn.Module) -> int:
    """Width in pixels, mostly the height too, of the images that the backbone was built for; see `input_size`."""
    _pretrained_cfg(backbone)
    return input_size(backbone)[1]


@torch.no_grad()
def map_channels(backbone: nn.Module) -> int:
    """Channels C of the last feature map of a vector view, `forward_features(image)`, (B, C, h, w).

    Raises:
        InputError: If it gives tokens or another order of dimensions, as vision transformers do.
    """
    image = torch.zeros(1, int(getattr(backbone, "in_chans", 3)), *input_size(backbone))
    features = cast(Any, copy.deepcopy(backbone).eval()).forward_features(image)
    if features.ndim != 4 or features.shape[1] != getattr(backbone, "num_features", None):
        raise InputError(
            f"{type(backbone).__name__} ends in features of shape {tuple(features.shape)}, not in a map of "
            "(B, C, h, w): set model.init_args.box_grid to 0, or take a convolutional backbone"
        )
    return int(features.shape[1])


def _finest_first(name: str, out_indices: Sequence[int]) -> tuple[int, ...]:
    """Indices in the order of the maps, each once.

    timm orders feature_info as the indices are given, but the maps as the network computes them, and a map that is
    named twice is returned once.
    """
    indices = sorted(set(out_indices))
    if not indices:
        raise InputError("out_indices is empty: name at least one map, or None for all of them")
    if indices[0] < 0 <= indices[-1]:  # from both ends: which comes first depends on how many maps there are
        with torch.device("meta"):
            backbone: Any = build(name, weights="none", model_args={"features_only": True})
        count = len(backbone.feature_info.info)
        indices = sorted({index + count if -count <= index < 0 else index for index in indices})
    return tuple(indices)


def _pretrained_cfg(backbone: nn.Module) -> dict[str, Any]:
    cfg = getattr(backbone, "pretrained_cfg", None)
    if not isinstance(cfg, dict):
        raise InputError(
            f"{type(backbone).__name__} has no pretrained_cfg, so its mean, std and image size are unknown: "
            "make it with create_vector, create_pyramid or timm.create_model"
        )
    return cfg


def _source(backbone: nn.Module) -> str:
    return str(_pretrained_cfg(backbone).get("file") or type(backbone).__name__)


def _numbers(backbone: nn.Module, key: str, values: Any) -> list[float]:
    """Numbers of a config.json, which in a local-dir folder may hold anything."""
    known = isinstance(values, list | tuple) and all(isinstance(v, int | float) and isfinite(v) for v in values)
    if not known or not values:
        raise InputError(f"the {key} of {_source(backbone)} is {values!r:.60}: expected numbers in its config.json")
    return [float(value) for value in values]


def _fit(values: Sequence[float], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return tuple(values)
    return (sum(values) / len(values),) * channels


def _size(image_size: int | Size | None) -> Size | None:
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def _set_in_chans(backbone: nn.Module, in_chans: int) -> None:
    """Set in_chans, which some timm networks and wrappers do not have."""
    setattr(backbone, "in_chans", in_chans)  # noqa: B010


@torch.no_grad()
def _measure_width(backbone: nn.Module) -> int:
    """Length of the vector that a network without head_hidden_size gives."""
    image = torch.zeros(1, int(getattr(backbone, "in_chans", 3)), *input_size(backbone))
    return int(copy.deepcopy(backbone).eval()(image).shape[-1])
