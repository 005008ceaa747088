"""Runs a network once and records, for each module, the cost of the operators that it calls.

Operators are intercepted where PyTorch dispatches them, below modules and functions alike: a functional convolution, a
matrix product of attention or a sum without a module counts for the module whose forward calls it. On the "meta" device
nothing is computed and no memory is allocated, whatever the network's size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, is_dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.library_internals import TorchDispatchMode, operators, storage_id, tree_leaves
from visiontasks.ops.arithmetic import conv_multiply_adds, conv_output_size
from visiontasks.summary.costs import Layer, Summary
from visiontasks.summary.positions import ReceptiveField
from visiontasks.summary.receptive_field import ReceptiveFields

aten = torch.ops.aten

ATTENTIONS = operators("attention")
# position of the two matrices (or batches of them) among the arguments
MATRIX_PRODUCTS = {aten.mm: 0, aten.addmm: 1, aten.bmm: 0, aten.baddbmm: 1, aten.mv: 0, aten.addmv: 1}


@dataclass
class _Call:
    """A module's forward: what it calls itself, and the modules that it calls."""

    name: str
    module: nn.Module
    storages: frozenset[int] = frozenset()  # of its inputs
    calls: "list[_Call]" = field(default_factory=list)
    output: tuple[int, ...] = ()
    receptive_field: ReceptiveField | None = None
    activations: int = 0
    weights: int = 0
    biases: int = 0
    multiply_adds: int = 0
    misfit: str = ""

    @property
    def is_leaf(self) -> bool:
        """Has no submodules: one layer, whose intermediate values are not counted."""
        return next(self.module.children(), None) is None

    def walk(self) -> "Iterator[_Call]":
        """The calls inside, then this one."""
        for call in self.calls:
            yield from call.walk()
        yield self


def summarize(network: nn.Module, image: Sequence[int], *, depth: int | None = None) -> Summary:
    """Run a network on one image, in eval mode and without gradients, and sum up what it costs.

    Args:
        network: Maps (1, C, H, W) to anything; on "meta", where nothing is computed, or any other device. Its modes
            and its gradients are not changed.
        image: C, H, W.
        depth: Levels of modules with rows of their own; deeper ones are summed into the last level. None for all.

    Raises:
        InputError: If the network cannot take such an image.
    """
    channels, height, width = image
    parameter = next(network.parameters(), torch.empty(0))
    shown = torch.zeros(1, channels, height, width, device=parameter.device, dtype=parameter.dtype)
    trace = _Trace(network, shown)
    with _evaluating(network), trace.hooks(), torch.no_grad(), trace:
        try:
            network(shown)
        except (AssertionError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"an image of {channels}x{height}x{width}: {_reason(error)}") from error
    trace.add_uncalled()
    layers = tuple(_rows(trace.root, depth))
    return Summary((channels, height, width), layers, trace.product_outputs)


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.root = _Call("", network)
        self.product_outputs = 0
        self._names = {module: name for name, module in network.named_modules()}
        self._stack: list[_Call] = []
        self._counted: set[int] = set()
        self._fields = ReceptiveFields(image)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        self._fields.follow(func, args, kwargs or {}, output)
        call = self._stack[-1] if self._stack else self.root
        cost = multiply_adds(func.overloadpacket, args, output)
        first = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
        if first is not None and self._fields.of(first) is not None:
            call.multiply_adds += cost
            self.product_outputs += first.numel() if cost else 0
            if not call.is_leaf:
                call.activations += _new_values(first, _storages((args, kwargs)))
        call.misfit = call.misfit or _misfit(func.overloadpacket, args)
        return output

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Track which module's forward is running."""
        with ExitStack() as stack:
            for module in self._names:
                stack.callback(module.register_forward_pre_hook(self._enter, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(self._leave).remove)
            yield

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        call = self.root
        if self._stack:
            call = _Call(self._names[module], module)
            self._stack[-1].calls.append(call)
        call.storages = _storages((args, kwargs))
        self._stack.append(call)
        self._count_parameters(call, module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        call = self._stack.pop()
        parts = vars(output) if is_dataclass(output) else output
        tensors = [leaf for leaf in tree_leaves(parts) if isinstance(leaf, Tensor)]
        if tensors:
            shape = tuple(tensors[0].shape)
            call.output = shape[1:] if shape[:1] == (1,) else shape
            call.receptive_field = self._fields.of(tensors[0])
        if call.is_leaf:
            call.activations = sum(_new_values(tensor, call.storages) for tensor in tensors)

    def add_uncalled(self) -> None:
        """Count the parameters of modules whose forward did not run for the innermost module around them that did."""
        called = {call.name: call for call in reversed([*self.root.walk()])}
        for module, name in self._names.items():
            while name not in called:
                name = name.rpartition(".")[0]
            self._count_parameters(called[name], module)

    def _count_parameters(self, call: _Call, module: nn.Module) -> None:
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in self._counted:
                continue
            self._counted.add(id(parameter))
            if name.endswith("bias"):
                call.biases += parameter.numel()
            else:
                call.weights += parameter.numel()


def multiply_adds(packet: Any, args: Sequence[Any], output: Any) -> int:
    """Multiply-adds of one operator.

    Args:
        packet: Of torch.ops.aten, without its overload.
        args: Its arguments, tensors first.
        output: Its output.

    Returns:
        Those of convolutions, matrix products and attention; 0 for everything else (biases, sums, normalization,
        activation functions, pools).
    """
    if packet is aten.convolution:
        image, weight, transposed = args[0], args[1], args[6]
        counted = image if transposed else output
        return conv_multiply_adds(weight.shape, counted.shape[0] * prod(counted.shape[2:]))
    if packet in MATRIX_PRODUCTS:
        first, second = args[MATRIX_PRODUCTS[packet] :][:2]
        return int(first.numel()) * (second.shape[-1] if second.ndim > 1 else 1)
    if packet in ATTENTIONS:
        query, key, value = args[:3]
        pairs = prod(query.shape[:-1]) * key.shape[-2]
        return int(pairs * (query.shape[-1] + value.shape[-1]))
    return 0


def _misfit(packet: Any, args: Sequence[Any]) -> str:
    """Why a convolution's filter does not fit its input; "" where it does, and for other operators."""
    if packet is not aten.convolution or args[6]:
        return ""
    image, weight, _, strides, paddings, dilations = args[:6]
    try:
        for i, (stride, padding, dilation) in enumerate(zip(strides, paddings, dilations, strict=True), 2):
            conv_output_size(image.shape[i], dilation * (weight.shape[i] - 1) + 1, stride, padding)
    except ValueError as error:
        return str(error)
    return ""


def _storages(values: Any) -> frozenset[int]:
    return frozenset(storage_id(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _new_values(tensor: Tensor, known: frozenset[int]) -> int:
    """Number of values of a floating-point tensor that has its own memory."""
    return tensor.numel() if tensor.is_floating_point() and not _storages(tensor) & known else 0


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _rows(call: _Call, depth: int | None) -> Iterator[Layer]:
    """Rows of a call down to a depth: of its submodules, then of its own operators."""
    if depth == 0 or not call.calls:
        rows: Sequence[_Call] = [*call.walk()]
    else:
        for inner in call.calls:
            yield from _rows(inner, None if depth is None else depth - 1)
        rows = [call]
    layer = _layer(call, rows)
    if layer.activations or layer.parameters or layer.multiply_adds:
        yield layer


def _layer(call: _Call, parts: Sequence[_Call]) -> Layer:
    def total(figure: Callable[[_Call], int]) -> int:
        return sum(figure(part) for part in parts)

    spans = call.receptive_field.spans if call.receptive_field is not None else None
    steps = [span.step for span in spans] if spans else [None, None]
    return Layer(
        name=call.name,
        type=type(call.module).__name__,
        output=call.output,
        activations=total(lambda part: part.activations),
        weights=total(lambda part: part.weights),
        biases=total(lambda part: part.biases),
        multiply_adds=total(lambda part: part.multiply_adds),
        receptive_field=(spans[0].size, spans[1].size) if spans else None,
        stride=(steps[0], steps[1]) if steps[0] is not None and steps[1] is not None else None,
        misfit=next((part.misfit for part in parts if part.misfit), ""),
    )


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300].rstrip('.')}" if lines else type(error).__name__
