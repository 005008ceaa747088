"""Turns a classifier's fully connected layers into convolutions, so that a larger image gives a map of logits.

Fully Convolutional Networks for Semantic Segmentation. Jonathan Long, Evan Shelhamer, Trevor Darrell, 2015.
https://arxiv.org/abs/1411.4038 (section 3.1)

A global average pool becomes a moving average over as many pixels as it covered at the training size; the paper removes
GoogLeNet's instead, which gives other logits than the classifier's.
"""

import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import Tensor, nn

from visiontasks.backbones.views import image_size
from visiontasks.errors import InputError

AVERAGES = ("avg", "fast", "fastavg")  # timm's names of global average pooling


class MovingAverage(nn.Module):
    """Average over each window of a map; over the whole of a map that is not larger.

    Args:
        size: Height and width of the window.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H - h + 1, W - w + 1)."""
        height, width = x.shape[-2:]
        return F.avg_pool2d(x, (min(self.size[0], height), min(self.size[1], width)), stride=1)


class AtLeast(nn.Module):
    """Stretches a map that is too small for the next layer, as the classifier's own pool does.

    Args:
        size: Smallest height and width.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, max(H, h), max(W, w))."""
        height, width = x.shape[-2:]
        return F.adaptive_avg_pool2d(x, (max(self.size[0], height), max(self.size[1], width)))


def convolutionize(model: nn.Module, *, size_px: int | None = None) -> nn.Module:
    """Make a classifier fully convolutional, with the same weights.

    Each logit of the map is the classifier's for a window of the training size, at steps of the network's stride.
    (Exactly so in networks without padding. With padding, a window inside the image has its surroundings where the
    classifier's input has zeros.) An image of the training size, or smaller, gives a map of 1 x 1 with the classifier's
    own logits.

    Args:
        model: A timm classifier that ends in a pool over the map and linear layers: VGG, AlexNet, ResNet, GoogLeNet,
            MobileNet, ... Of a vector view and a linear head, `to_classifier` makes one. Left as it is.
        size_px: Height and width of the training images; by default those of the pretrained_cfg.

    Returns:
        The same network, (B, C, H, W) -> (B, K, h, w), in the same mode and on the same device.

    Raises:
        InputError: If the network does not have this form, or its logits at size_px would not be the same.
    """
    size_px = image_size(model) if size_px is None else size_px
    convolutional = copy.deepcopy(model)
    name, pool = _last_pool(convolutional)
    window = _output_size(pool)
    if window == (1, 1):
        replacement: nn.Module = MovingAverage(_size_before(convolutional, pool, size_px))
    else:
        replacement = AtLeast(window)
    after = _modules_after(convolutional, name)
    _replace(convolutional, name, replacement)
    for name, layer in after.items():
        if isinstance(layer, nn.Flatten):
            _replace(convolutional, name, nn.Identity())
        elif isinstance(layer, nn.Linear):
            _replace(convolutional, name, _as_convolution(layer, window))
            window = (1, 1)
    _check_same_logits(convolutional, model, size_px)
    return convolutional


def _last_pool(model: nn.Module) -> tuple[str, nn.Module]:
    """The pool over the whole map with its name; the outer one where timm's pool holds another."""
    pools = [(n, m) for n, m in model.named_modules() if isinstance(m, SelectAdaptivePool2d | nn.AdaptiveAvgPool2d)]
    outer = [(n, m) for n, m in pools if not any(n.startswith(f"{other}.") for other, _ in pools)]
    if not outer:
        raise _not_convolutional(model, "it has no pool over the whole map")
    return outer[-1]


def _output_size(pool: nn.Module) -> tuple[int, int]:
    if isinstance(pool, SelectAdaptivePool2d):
        if pool.pool_type not in AVERAGES:
            raise InputError(f"convolutionize needs an average pool, got global_pool={pool.pool_type!r}")
        return 1, 1
    size: Any = pool.output_size
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


@torch.no_grad()
def _size_before(model: nn.Module, pool: nn.Module, size_px: int) -> tuple[int, int]:
    """Size of the map that reaches the pool from an image of size_px."""
    sizes: list[tuple[int, int]] = []
    handle = pool.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
    _evaluate(model, _image(model, size_px))
    handle.remove()
    return sizes[-1]


def _modules_after(model: nn.Module, name: str) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    names = [*modules]
    later = names[names.index(name) + 1 :]
    return {n: modules[n] for n in later if not n.startswith(f"{name}.")}


def _as_convolution(layer: nn.Linear, kernel_size: tuple[int, int]) -> nn.Conv2d:
    """The convolution whose window at each position is the linear layer's flattened map."""
    height, width = kernel_size
    in_channels = layer.in_features // (height * width)
    # "meta": no memory and no random numbers for weights that are replaced at once
    convolution = nn.Conv2d(in_channels, layer.out_features, kernel_size, bias=layer.bias is not None, device="meta")
    weight = layer.weight.detach().view(-1, in_channels, height, width)
    convolution.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    convolution.bias = layer.bias
    return convolution


def _replace(model: nn.Module, name: str, replacement: nn.Module) -> None:
    replacement.train(model.get_submodule(name).training)
    model.set_submodule(name, replacement)


def _check_same_logits(convolutional: nn.Module, model: nn.Module, size_px: int) -> None:
    image = _image(model, size_px)
    expected = _evaluate(model, image)
    try:
        logits = _evaluate(convolutional, image)
    except RuntimeError as error:
        raise _not_convolutional(model, str(error).splitlines()[0]) from error
    expected = expected.view(*expected.shape, 1, 1) if expected.ndim == 2 else expected
    tolerance = torch.finfo(expected.dtype).eps ** 0.5 * float(expected.abs().max())
    if logits.shape != expected.shape or not torch.allclose(logits, expected, rtol=0, atol=tolerance):
        raise _not_convolutional(model, f"its logits at {size_px} x {size_px} would differ")


def _image(model: nn.Module, size_px: int) -> Tensor:
    first_layer = next(parameter for parameter in model.parameters() if parameter.ndim == 4)
    shape = (1, int(getattr(model, "in_chans", first_layer.shape[1])), size_px, size_px)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(first_layer)


@torch.no_grad()
def _evaluate(model: nn.Module, image: Tensor) -> Tensor:
    """Output in eval mode; the model's mode is restored."""
    training = {module: module.training for module in model.modules()}
    try:
        return cast(Tensor, model.eval()(image))
    finally:
        for module, mode in training.items():
            module.training = mode


def _not_convolutional(model: nn.Module, why: str) -> InputError:
    return InputError(f"{type(model).__name__} cannot be made fully convolutional: {why}")
