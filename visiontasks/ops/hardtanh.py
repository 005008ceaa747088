"""ReLU6 with two thirds of the memory: torch stores a copy of its input, though its output has the same gradient."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """As `torch.nn.functional.hardtanh`, which ReLU6 calls, but its output is stored for the gradient.

    The next layer stores that anyway. torch 2.14.1 stores the input, and copies it where it works in place. Where the
    output is neither bound, so was the input: outputs and gradients are equal to the last bit.
    """
    out: Tensor = _Hardtanh.apply(input, min_val, max_val, inplace)
    return out


class _Hardtanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, low: float, high: float, inplace: bool) -> Tensor:
        bounded = F.hardtanh(image, low, high, inplace)
        if inplace:
            ctx.mark_dirty(image)
        ctx.save_for_backward(bounded)
        ctx.bounds = low, high
        return bounded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (bounded,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, bounded, *ctx.bounds), None, None, None
