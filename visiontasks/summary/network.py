"""Builds the network that a summary is made of: as published, its vector or pyramid, or one of these with a head."""

import difflib
import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from visiontasks import heads
from visiontasks.backbones import create_pyramid, create_vector
from visiontasks.backbones.weights import build
from visiontasks.errors import InputError
from visiontasks.heads import DenseHead, DetectionHead
from visiontasks.summary.costs import Summary
from visiontasks.summary.trace import summarize

HEADS = tuple(name for name in heads.__all__ if name not in ("DenseHead", "DetectionHead"))
Size = tuple[int, int]  # height, width


def summarize_backbone(
    name: str,
    *,
    image_size: Size | None = None,
    in_chans: int | None = None,
    head: str | None = None,
    num_classes: int | None = None,
    classifier: bool = True,
    depth: int | None = None,
) -> Summary:
    """Sum up what a network costs, see `summarize`; nothing is downloaded or computed.

    Args:
        name: See `build_network`.
        image_size: Height and width in pixels; by default those that its weights were trained with.
        in_chans: See `build_network`.
        head: See `build_network`.
        num_classes: See `build_network`.
        classifier: See `build_network`.
        depth: See `summarize`.

    Raises:
        InputError: If the name is unknown, the parts do not fit, or the network takes no such image.
        MissingFileError: If a local-dir folder is not there.
    """
    network = build_network(name, in_chans=in_chans, head=head, num_classes=num_classes, classifier=classifier)
    channels, height, width = _input_size(network)
    try:
        return summarize(network, (in_chans or channels, *(image_size or (height, width))), depth=depth)
    except InputError as error:
        advice = f"--image-size {height}x{width} is its own" if image_size else "this is its own size"
        raise InputError(f"{name} does not run on {error} ({advice})") from error


def build_network(
    name: str,
    *,
    in_chans: int | None = None,
    head: str | None = None,
    num_classes: int | None = None,
    classifier: bool = True,
) -> nn.Module:
    """Build a network without weights and without memory: its tensors are on "meta".

    Args:
        name: A name of timm.list_models, with or without a tag, or "local-dir:FOLDER".
        in_chans: Channels of the image; the network's own by default.
        head: Class in visiontasks.heads, put on the backbone's vector or pyramid, as in a recipe.
        num_classes: K of the head (boxes of a BoxHead), or of the network's classifier, which has its own by default.
        classifier: Without a head: whether to keep the network's own one, else its vector view.

    Raises:
        InputError: If the name or the head is unknown, or the parts do not fit.
        MissingFileError: If a local-dir folder is not there.
    """
    if head is None and not classifier and num_classes is not None:
        raise InputError("--num-classes needs a classifier or a head: leave out --no-classifier, or add --head")
    with torch.device("meta"):
        if head is not None:
            return _with_head(name, in_chans, head, num_classes)
        options = {"in_chans": in_chans, "num_classes": num_classes if classifier else 0}
        return build(name, weights="none", model_args={k: v for k, v in options.items() if v is not None})


class OnPyramid(nn.Module):
    """A head on a pyramid, as a task of masks or of objects has it.

    Args:
        backbone: From create_pyramid.
        head: Takes its maps and the image's size; a detector those of them that it names.
    """

    def __init__(self, backbone: nn.Module, head: DenseHead | DetectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H, W), or to scores of candidates (B, A, K)."""
        maps, size = self.backbone(image), (image.shape[-2], image.shape[-1])
        if isinstance(self.head, DetectionHead):
            return cast(Tensor, self.head([maps[i] for i in self.head.maps], size).scores)
        return cast(Tensor, self.head(maps, size))


def _with_head(name: str, in_chans: int | None, head: str, num_classes: int | None) -> nn.Module:
    made = _head_class(head)
    if num_classes is None:
        raise InputError(f"--head {head} needs --num-classes")
    channels = in_chans or _input_size(build(name, weights="none", model_args={}))[0]
    on_maps = inspect.isclass(made) and issubclass(made, (DenseHead, DetectionHead))
    backbone: Any = (create_pyramid if on_maps else create_vector)(name, weights="none", in_chans=channels)
    info = backbone.feature_info if on_maps else None
    sizes = (info.channels(), info.reduction()) if info is not None else (backbone.head_hidden_size,)
    try:
        top: Any = made(*sizes, num_classes)
    except InputError as error:
        raise InputError(f"--head {head} does not fit {name}: {error}") from error
    return OnPyramid(backbone, top) if on_maps else nn.Sequential(OrderedDict(backbone=backbone, head=top))


def _head_class(name: str) -> Callable[..., nn.Module]:
    if name not in HEADS:
        near = difflib.get_close_matches(name, HEADS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"--head {name} is unknown{meant} The heads are {', '.join(HEADS)}")
    return cast(Callable[..., nn.Module], getattr(heads, name))


def _input_size(network: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the images that a network's weights were trained with."""
    named: Any = getattr(network, "backbone", network)
    channels, height, width = named.pretrained_cfg["input_size"]
    own = getattr(named, "in_chans", None)
    return (own if isinstance(own, int) else channels), height, width
