"""Depthwise convolutions in bfloat16 on a CPU, whose gradients torch computes many times slower than it could.

torch 2.15.0 (oneDNN) has slow kernels for the gradient of the image where there is a stride, and for that of a 5x5 or
7x7 weight: a training step of MobileNetV2 takes 1.6 times as long with them as with these, one of MobileNetV3 2.1 times
(`python bench/run.py depthwise`).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from visiontasks.library_internals import cpu_has_bfloat16

Pair = tuple[int, int]
QUICK_KERNEL = 3  # the largest whose weight has a quick gradient in torch


def conv2d(
    input: Tensor,  # torch's name of it
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """As `torch.nn.functional.conv2d`; slow convolutions get another backward pass.

    Slow are depthwise ones, with a stride or a kernel larger than 3, of bfloat16 (by autocast or as it is), on a CPU
    with AVX512_BF16; on others torch's own take less time. What comes out is the same but for the order of the sums,
    which are in float32 as in torch.
    """
    is_depthwise = input.ndim == 4 and 1 < groups == input.shape[1] == len(weight)
    if is_depthwise and _is_bfloat16_on_cpu(input) and not isinstance(padding, str) and _pair(dilation) == (1, 1):
        strides, paddings, kernel = _pair(stride), _pair(padding), weight.shape[2:]
        is_slow = max(strides) > 1 or max(kernel) > QUICK_KERNEL
        if is_slow and all(p < k for p, k in zip(paddings, kernel, strict=True)):
            out: Tensor = _Depthwise.apply(input.bfloat16(), weight, bias, strides, paddings)
            return out
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def image_gradient(gradient: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Gradient of the image of a depthwise convolution: that of the output, spread by the stride, convolved in turn.

    Args:
        gradient: Of the output, (B, C, h, w).
        weight: (C, 1, k, l).
        size: Height and width of the image.
        stride: Of the convolution.
        padding: Of the convolution, less than the kernel.

    Returns:
        (B, C, *size), channels last.
    """
    channels, kernel = len(weight), weight.shape[2:]
    shape = len(gradient), channels, size[0] + kernel[0] - 1, size[1] + kernel[1] - 1
    spread = torch.empty(shape, dtype=gradient.dtype, memory_format=torch.channels_last).zero_()
    rows, columns = (
        slice(k - 1 - p, k - 1 - p + (n - 1) * s + 1, s)
        for k, p, s, n in zip(kernel, padding, stride, gradient.shape[2:], strict=True)
    )
    spread[:, :, rows, columns] = gradient
    return F.conv2d(spread, weight.flip(2, 3), groups=channels)


def weight_gradient(gradient: Tensor, image: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Gradient of the weight of a depthwise convolution; with a large kernel, or a tiny image, computed in float32.

    Args:
        gradient: Of the output, (B, C, h, w).
        image: (B, C, H, W).
        weight: (C, 1, k, l).
        stride: Of the convolution.
        padding: Of the convolution.

    Returns:
        (C, 1, k, l).
    """
    given = (gradient, image, weight)
    # oneDNN leaves gradients of weights that meet no pixel of a tiny image unwritten in bfloat16
    if max(weight.shape[2:]) > QUICK_KERNEL or min(image.shape[2:]) < max(weight.shape[2:]):
        given = (gradient.float(), image.float(), weight.float())
    options = (None, stride, padding, (1, 1), False, (0, 0), len(weight), (False, True, False))
    found: Tensor = torch.ops.aten.convolution_backward(*given, *options)[1]
    return found


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of bfloat16; its weight and bias may be float32."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        rounded = weight.bfloat16()
        ctx.save_for_backward(image, rounded)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(image, rounded, None if bias is None else bias.bfloat16(), stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, weight = ctx.saved_tensors
        needs_image, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        height, width = image.shape[2:]
        return (
            image_gradient(gradient, weight, (height, width), ctx.stride, ctx.padding) if needs_image else None,
            weight_gradient(gradient, image, weight, ctx.stride, ctx.padding) if needs_weight else None,
            gradient.sum((0, 2, 3), dtype=torch.float32) if needs_bias else None,
            None,
            None,
        )


def _is_bfloat16_on_cpu(image: Tensor) -> bool:
    if image.device.type != "cpu":
        return False
    is_cast = torch.is_autocast_enabled("cpu") and image.dtype == torch.float32
    dtype = torch.get_autocast_dtype("cpu") if is_cast else image.dtype
    return dtype == torch.bfloat16 and cpu_has_bfloat16()


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
