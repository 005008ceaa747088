"""Training steps in which a BatchNorm layer that keeps its statistics is a part of the convolution before it.

conv(x, w) * s + t, with s = weight / sqrt(var + eps) and t = bias - mean * s, is conv(x, w * s) + t, and autograd
derives the gradients of all three parameters from those of w * s and t. That saves the layer's passes over its map, and
the memory of the map between the two. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, fold so too (section 3.2); nothing is quantized here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Norms = Mapping[int, tuple[Tensor, nn.BatchNorm2d]]
"""The layer behind each convolution, and the convolution's weight, by the weight's id."""

FACTS = frozenset(
    [Tensor.dim, Tensor.size, *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device"))]
)
"""What may be asked of a convolution's output before the layer without using its values."""


@torch.no_grad()
def find_norms(network: nn.Module, compute: Callable[[Tensor], Any], image: Tensor) -> Norms:
    """Find the BatchNorm layers that alone take the output of a convolution.

    The network is run once, in eval mode, since which layer follows which is not to be seen in its modules.

    Args:
        network: With all of the layers; gets the modes back that its modules have.
        compute: Runs it.
        image: A batch for it; one image is enough.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and module.affine]
    recorder = _Recorder({id(norm.running_mean): norm for norm in norms if norm.running_mean is not None})
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with recorder:
            compute(image)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return recorder.norms()


def trains_kept_norms(network: nn.Module) -> bool:
    """Whether a network in a training step has layers that are trained and keep their statistics."""
    return (
        network.training
        and torch.is_grad_enabled()
        and any(
            isinstance(module, nn.BatchNorm2d) and not module.training and module.affine and module.weight.requires_grad
            for module in network.modules()
        )
    )


def folds(norm: nn.BatchNorm2d, input: Tensor, weight: Tensor) -> bool:
    """Whether a layer keeps its statistics in a step in which a gradient goes through it or its convolution."""
    wanted = any(tensor.requires_grad for tensor in (input, weight, norm.weight, norm.bias))
    return wanted and not norm.training and torch.is_grad_enabled()


def folded(norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the layer behind it, of the convolution's own precision."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    precision = torch.promote_types(weight.dtype, torch.float32)
    scale = norm.weight.to(precision) * torch.rsqrt(norm.running_var.to(precision) + norm.eps)
    mean = norm.running_mean.to(precision) if bias is None else norm.running_mean.to(precision) - bias.to(precision)
    shift = norm.bias.to(precision) - mean * scale
    return (weight.to(precision) * scale.view(-1, 1, 1, 1)).to(weight.dtype), shift.to(weight.dtype)


class _Recorder(TorchFunctionMode):
    """Notes what becomes of the outputs of convolutions."""

    def __init__(self, known: Mapping[int, nn.BatchNorm2d]) -> None:
        super().__init__()
        self.known = known
        """Layers by the id of their mean."""
        self.outputs: dict[int, tuple[Tensor, Tensor]] = {}
        """Outputs and the weights of their convolutions, by id; tensors are kept, or an id would be used again."""
        self.found: dict[int, list[nn.BatchNorm2d | None]] = {}
        """By a weight's id, the layer for each use of an output of its convolution, None for another use."""

    def norms(self) -> Norms:
        """Pairs of which both are run once in a step."""
        weights = {id(weight): weight for _, weight in self.outputs.values()}
        uses = [norm for norms in self.found.values() for norm in norms]
        runs = [id(weight) for _, weight in self.outputs.values()]
        return {
            key: (weights[key], norms[0])
            for key, norms in self.found.items()
            if len(norms) == 1 and norms[0] is not None and uses.count(norms[0]) == 1 == runs.count(key)
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in FACTS:
            for tensor in _tensors((args, tuple(kwargs.values()))):
                if id(tensor) in self.outputs:
                    norm = self.known.get(id(args[1])) if func is F.batch_norm and tensor is args[0] else None
                    self.found.setdefault(id(self.outputs[id(tensor)][1]), []).append(norm)
        result = func(*args, **kwargs)
        if func is F.conv2d and len(args) > 1:
            self.outputs[id(result)] = (result, args[1])
        return result


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, Tensor) else []
