"""ReLU6 with two thirds of the memory: torch stores a copy of its input, though its output has the same gradient."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


class LeanHardtanh(TorchFunctionMode):
    """Where it is entered, `torch.nn.functional.hardtanh`, which ReLU6 calls, stores its output for the gradient.

    The next layer stores that anyway. torch 2.14.1 stores the input, and copies it where it works in place. Where the
    output is neither bound, so was the input: outputs and gradients are equal to the last bit.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or its replacement."""
        if func is F.hardtanh and torch.is_grad_enabled() and args and args[0].requires_grad:
            return _hardtanh(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


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


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """As `torch.nn.functional.hardtanh`."""
    out: Tensor = _Hardtanh.apply(input, min_val, max_val, inplace)
    return out
