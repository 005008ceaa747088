"""Training steps on a CPU without the detours that torch takes for some layers."""

from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from visiontasks.ops.depthwise import conv2d
from visiontasks.ops.folding import Norms, folded, folds
from visiontasks.ops.hardtanh import hardtanh

NEED_THEIR_INPUT = frozenset({F.relu6, F.silu, F.hardswish, F.hardsigmoid, F.mish, F.threshold})
"""Activations whose gradient is computed from their input, of which torch (2.14.1) therefore makes a copy where they
change it in place: it is read and written twice as often, and takes as much memory, as with a result of its own."""


class QuickGradients(TorchFunctionMode):
    """Where it is entered and gradients are wanted, layers take the quicker of two ways to the same values.

    Depthwise convolutions in bfloat16 get another backward pass, see `visiontasks.ops.depthwise.conv2d`; ReLU6 stores
    its output, see `visiontasks.ops.hardtanh`; other activations do not work in place where that makes a copy.
    Everything else, and frozen layers, stay as they are.

    Args:
        norms: BatchNorm layers to fold into the convolution before them where they keep their statistics, see
            `visiontasks.ops.folding`; that rounds otherwise.
    """

    def __init__(self, norms: Norms = MappingProxyType({})) -> None:
        super().__init__()
        self.norms = norms
        self.done: dict[int, Tensor] = {}
        """Outputs whose layer is computed already, by the id of its mean."""

    def __exit__(self, *raised: Any) -> None:
        """Leave, with all layers applied."""
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        if self.done and raised[0] is None:
            raise RuntimeError("a BatchNorm layer did not follow its convolution as it did when the network was tested")

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or its replacement."""
        kwargs = kwargs or {}
        if func is F.conv2d and torch.is_grad_enabled():
            return self._convolve(*args, **kwargs)
        if func is F.batch_norm and len(args) > 1 and self.done.get(id(args[1])) is args[0]:
            return self.done.pop(id(args[1]))
        if func is F.hardtanh and torch.is_grad_enabled() and args and args[0].requires_grad:
            return hardtanh(*args, **kwargs)
        if kwargs.get("inplace") and func in NEED_THEIR_INPUT and torch.is_grad_enabled():
            kwargs = {**kwargs, "inplace": not args[0].requires_grad}
        return func(*args, **kwargs)

    def _convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """Convolve, with the layer behind it if that is known."""
        known, norm = self.norms.get(id(weight), (None, None))
        if norm is None or known is not weight or not folds(norm, input, weight):
            return conv2d(input, weight, bias, *args, **kwargs)
        out = self.done[id(norm.running_mean)] = conv2d(input, *folded(norm, weight, bias), *args, **kwargs)
        return out
