"""Training steps on a CPU without the detours that torch takes for some layers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from visiontasks.ops.depthwise import conv2d
from visiontasks.ops.hardtanh import hardtanh

NEED_THEIR_INPUT = frozenset({F.relu6, F.silu, F.hardswish, F.hardsigmoid, F.mish, F.threshold})
"""Activations whose gradient is computed from their input, of which torch (2.14.1) therefore makes a copy where they
change it in place: it is read and written twice as often, and takes as much memory, as with a result of its own."""


class QuickGradients(TorchFunctionMode):
    """Where it is entered and gradients are wanted, layers take the quicker of two ways to the same values.

    Depthwise convolutions in bfloat16 get another backward pass, see `visiontasks.ops.depthwise.conv2d`; ReLU6 stores
    its output, see `visiontasks.ops.hardtanh`; other activations do not work in place where that makes a copy.
    Everything else, and frozen layers, stay as they are.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or its replacement."""
        kwargs = kwargs or {}
        if func is F.conv2d and torch.is_grad_enabled():
            return conv2d(*args, **kwargs)
        if func is F.hardtanh and torch.is_grad_enabled() and args and args[0].requires_grad:
            return hardtanh(*args, **kwargs)
        if kwargs.get("inplace") and func in NEED_THEIR_INPUT and torch.is_grad_enabled():
            kwargs = {**kwargs, "inplace": not args[0].requires_grad}
        return func(*args, **kwargs)
