"""How each operator changes receptive fields.

Computing Receptive Fields of Convolutional Neural Networks. Andre Araujo, Wade Norris, Jack Sim, 2019.
https://distill.pub/2019/computing-receptive-fields/

A field holds which dimensions of a tensor run along the image's height and width, and the interval of pixels that each
position depends on (`Span`). Where paths meet (sums, joined channels) it is the union. Convolutions,
pools, padding and slices move and widen the interval; a mean over positions, a dense layer on the flattened map,
normalization over positions and attention make it the whole image.
"""

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

from visiontasks.library_internals import operators
from visiontasks.ops.arithmetic import WHOLE
from visiontasks.summary.positions import (
    Factor,
    Operands,
    ReceptiveField,
    UnknownField,
    only_axis,
    plain,
    plain_dims,
    resized,
)

aten = torch.ops.aten

Rule = Callable[[Operands, Tensor], ReceptiveField]


def rule_of(func: Any) -> Rule | None:
    """The function that computes the field of (each tensor of) an operator's output; None without a rule.

    The rules raise UnknownField, or ValueError where paths of different strides meet.

    Args:
        func: An overload of torch.ops.aten.
    """
    rule = RULES.get(func.overloadpacket)
    return _pointwise if rule is None and torch.Tag.pointwise in func.tags else rule


def _slide(operands: Operands, output: Tensor, windows: Sequence[tuple[int, float, int, int]]) -> ReceptiveField:
    """Windows of (length, stride, padding, dilation) over the last dimensions."""
    _, field, spans = operands.image()
    dims, moved = list(field.dims), list(spans)
    for i, (length, stride, padding, dilation) in enumerate(windows, len(dims) - len(windows)):
        axis = only_axis(dims[i])
        if axis is not None:
            moved[axis] = moved[axis].slide(length, stride, padding, dilation)
        dims[i] = resized(dims[i], output.shape[i])
    return ReceptiveField(tuple(dims), (moved[0], moved[1]))


def _convolution(operands: Operands, output: Tensor) -> ReceptiveField:
    _, weight, _, strides, paddings, dilations, transposed = operands.args[:7]
    if transposed:
        raise UnknownField
    _, field, _ = operands.image()
    if field.axes([0, 1]):
        raise UnknownField
    after = _slide(operands, output, [*zip(weight.shape[2:], strides, paddings, dilations, strict=True)])
    return ReceptiveField((after.dims[0], plain(output.shape[1]), *after.dims[2:]), after.spans)


def _pool(operands: Operands, output: Tensor, *, dilated: bool) -> ReceptiveField:
    lengths = operands.args[1]
    axes = len(lengths)
    strides = operands.option(2, lengths)
    paddings = operands.option(3, [0] * axes)
    dilations = operands.option(4, [1] * axes) if dilated else [1] * axes
    return _slide(operands, output, [*zip(lengths, strides, paddings, dilations, strict=True)])


def _max_pool(operands: Operands, output: Tensor) -> ReceptiveField:
    return _pool(operands, output, dilated=True)


def _average_pool(operands: Operands, output: Tensor) -> ReceptiveField:
    return _pool(operands, output, dilated=False)


def _adaptive_pool(operands: Operands, output: Tensor) -> ReceptiveField:
    """Windows that divide the map evenly; their largest length, and the mean distance."""
    tensor, field, _ = operands.image()
    sizes = operands.args[1]
    if all(size == 1 for size in sizes):
        return _reduced(field, range(tensor.ndim - len(sizes), tensor.ndim), output)
    windows = []
    for before, after in zip(tensor.shape[-len(sizes) :], sizes, strict=True):
        length = max(ceil((i + 1) * before / after) - i * before // after for i in range(after))
        windows.append((length, before / after, 0, 1))
    return _slide(operands, output, windows)


def _reduction(operands: Operands, output: Tensor, dims_at: int = 1) -> ReceptiveField:
    """Mean, sum, maximum or the like over some dimensions, or all."""
    tensor, field, _ = operands.image()
    dims = operands.option(dims_at, None)
    dims = dims if isinstance(dims, list | tuple) else range(tensor.ndim)
    return _reduced(field, dims, output)


def _norm(operands: Operands, output: Tensor) -> ReceptiveField:
    return _reduction(operands, output, dims_at=2)


def _reduced(field: ReceptiveField, dims: Sequence[int], output: Tensor) -> ReceptiveField:
    reduced = {dim % len(field.dims) for dim in dims}
    axes = field.axes(reduced)
    spans = [WHOLE if axis in axes else span for axis, span in enumerate(field.known())]
    keeps = output.ndim == len(field.dims)
    remaining = [() if i in reduced else dim for i, dim in enumerate(field.dims) if keeps or i not in reduced]
    return ReceptiveField(tuple(remaining), (spans[0], spans[1]))


def _mixed(field: ReceptiveField, dims: Iterable[int]) -> ReceptiveField:
    """Every value along some dimensions depends on all of them."""
    axes = field.axes(dims)
    spans = [span.everything() if axis in axes else span for axis, span in enumerate(field.known())]
    return ReceptiveField(field.dims, (spans[0], spans[1]))


def _softmax(operands: Operands, output: Tensor) -> ReceptiveField:
    _, field, _ = operands.image()
    return _mixed(field, [operands.args[1]])


def _layer_norm(operands: Operands, output: Tensor) -> ReceptiveField:
    _, field, _ = operands.image()
    return _shaped(_mixed(field, range(-len(operands.args[1]), 0)), output)


def _group_norm(operands: Operands, output: Tensor) -> ReceptiveField:
    tensor, field, _ = operands.image()
    return _shaped(_mixed(field, range(tensor.ndim)), output)


def _batch_norm(operands: Operands, output: Tensor) -> ReceptiveField:
    return _shaped(operands.image()[1], output)


def _shaped(field: ReceptiveField, output: Tensor) -> ReceptiveField:
    """For operators that also return statistics, which are ignored."""
    if len(field.dims) != output.ndim:
        raise UnknownField
    return field


def _pointwise(operands: Operands, output: Tensor) -> ReceptiveField:
    """Position by position, with broadcasting."""
    return _joined(operands.known, output)


def _joined(
    known: "Sequence[tuple[Tensor, ReceptiveField]]", output: Tensor, along: int | None = None
) -> ReceptiveField:
    """Tensors combined by position; concatenated along the dimension `along`."""
    dims = []
    for i in range(output.ndim):
        found = set()
        for tensor, field in known:
            own = i - output.ndim + tensor.ndim
            if own >= 0 and (tensor.shape[own] == output.shape[i] or i == along) and field.axes([own]):
                found.add(field.dims[own])
        if len(found) > 1 or (found and i == along):
            raise UnknownField
        dims.append(found.pop() if found else plain(output.shape[i]))
    spans = None
    for _, field in known:
        own_spans = field.known()
        spans = own_spans if spans is None else (spans[0].join(own_spans[0]), spans[1].join(own_spans[1]))
    return ReceptiveField(tuple(dims), spans)


def _cat(operands: Operands, output: Tensor) -> ReceptiveField:
    return _joined(operands.known, output, operands.option(1, 0) % output.ndim)


def _stack(operands: Operands, output: Tensor) -> ReceptiveField:
    """Tensors of one shape side by side along a new dimension."""
    i = operands.option(1, 0) % output.ndim
    tensor, _ = operands.known[0]
    joined = _joined(operands.known, tensor)
    return ReceptiveField((*joined.dims[:i], plain(output.shape[i]), *joined.dims[i:]), joined.spans)


def _view(operands: Operands, output: Tensor) -> ReceptiveField:
    """The same values in the same order: dimensions flattened or split again."""
    _, field, spans = operands.image()
    factors = [factor for dim in field.dims for factor in dim if factor[1] != 1]
    dims = []
    for length in output.shape:
        dim: list[Factor] = []
        while length > 1:
            axis, n = factors.pop(0)
            if n > length and axis is None and n % length == 0:
                factors.insert(0, (None, n // length))
                n = length
            if length % n:
                raise UnknownField
            dim.append((axis, n))
            length //= n
        dims.append(tuple(dim))
    return ReceptiveField(tuple(dims), spans)


def _permuted(operands: Operands, output: Tensor) -> ReceptiveField:
    _, field, spans = operands.image()
    return ReceptiveField(tuple(field.dims[i] for i in operands.args[1]), spans)


def _transposed(operands: Operands, output: Tensor) -> ReceptiveField:
    _, field, spans = operands.image()
    dims = list(field.dims)
    i, j = operands.option(1, 0), operands.option(2, 1)
    dims[i], dims[j] = dims[j], dims[i]
    return ReceptiveField(tuple(dims), spans)


def _slice(operands: Operands, output: Tensor) -> ReceptiveField:
    tensor, field, spans = operands.image()
    i, start, step = operands.option(1, 0) % tensor.ndim, operands.option(2, None) or 0, operands.option(4, 1)
    start = max(0, start + tensor.shape[i]) if start < 0 else start
    moved, axis = list(spans), only_axis(field.dims[i])
    if axis is not None:
        moved[axis] = moved[axis].slide(1, step, -start)
    dims = [*field.dims[:i], resized(field.dims[i], output.shape[i]), *field.dims[i + 1 :]]
    return ReceptiveField(tuple(dims), (moved[0], moved[1]))


def _split(operands: Operands, output: Tensor) -> ReceptiveField:
    tensor, field, spans = operands.image()
    i = operands.option(2, 0) % tensor.ndim
    if field.axes([i]):
        raise UnknownField
    return ReceptiveField((*field.dims[:i], plain(output.shape[i]), *field.dims[i + 1 :]), spans)


def _select(operands: Operands, output: Tensor) -> ReceptiveField:
    """One index of a dimension; of unbind all of them."""
    tensor, field, spans = operands.image()
    i = operands.option(1, 0) % tensor.ndim
    if field.axes([i]):
        raise UnknownField
    return ReceptiveField((*field.dims[:i], *field.dims[i + 1 :]), spans)


def _pad(operands: Operands, output: Tensor) -> ReceptiveField:
    _, field, spans = operands.image()
    dims, moved = list(field.dims), list(spans)
    for i, before in enumerate(operands.args[1][::2], 1):
        axis = only_axis(dims[-i])
        if axis is not None:
            moved[axis] = moved[axis].slide(1, 1, before)
        dims[-i] = resized(dims[-i], output.shape[-i])
    return ReceptiveField(tuple(dims), (moved[0], moved[1]))


def _product(operands: Operands, output: Tensor) -> ReceptiveField:
    """A product of features and weights, or of attention and its values."""
    first, second = (operands.field_of(tensor) for tensor in operands.args[-2:])
    if second is not None and second.spans is not None and second.axes([-2]) == {0, 1}:
        return ReceptiveField(plain_dims(output), (WHOLE, WHOLE))
    if first is None or second is not None:
        raise UnknownField
    after = _reduced(first, [-1], output)
    return ReceptiveField((*first.dims[:-1], plain(output.shape[-1])), after.spans)


def _sum_and_product(operands: Operands, output: Tensor) -> ReceptiveField:
    if operands.field_of(operands.args[0]) is not None:
        raise UnknownField
    return _product(operands, output)


# depend on the shape of their argument, not on its values
CONSTANTS = frozenset(
    (aten.zeros_like, aten.ones_like, aten.empty_like, aten.full_like, aten.new_zeros, aten.new_ones, aten.new_empty)
)

RULES: dict[Any, Rule] = {
    aten.convolution: _convolution,
    **dict.fromkeys((aten.max_pool2d_with_indices, aten.max_pool3d_with_indices), _max_pool),
    **dict.fromkeys((aten.avg_pool2d, aten.avg_pool3d), _average_pool),
    **dict.fromkeys((*operators("adaptive average pool"), aten.adaptive_max_pool2d), _adaptive_pool),
    **dict.fromkeys((aten.mean, aten.sum, aten.amax, aten.amin, aten.var, aten.var_mean, aten.std), _reduction),
    aten.linalg_vector_norm: _norm,
    **dict.fromkeys(operators("softmax"), _softmax),
    **dict.fromkeys((aten.native_layer_norm, *operators("rms norm")), _layer_norm),
    aten.native_group_norm: _group_norm,
    **dict.fromkeys(
        (aten.native_batch_norm, *operators("batch norm in eval mode"), aten.cudnn_batch_norm), _batch_norm
    ),
    **dict.fromkeys((aten.clone, aten.copy_, *operators("copy"), aten.contiguous, aten.detach, aten.alias), _pointwise),
    **dict.fromkeys((aten.expand, aten.hardswish, aten.hardswish_, aten.mish_, *operators("prelu")), _pointwise),
    **dict.fromkeys((aten.view, *operators("view"), aten.unsqueeze, aten.squeeze), _view),
    aten.permute: _permuted,
    **dict.fromkeys((aten.transpose, aten.t), _transposed),
    aten.slice: _slice,
    **dict.fromkeys((aten.split, aten.split_with_sizes), _split),
    **dict.fromkeys((aten.select, aten.unbind), _select),
    aten.cat: _cat,
    aten.stack: _stack,
    **dict.fromkeys((aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d), _pad),
    **dict.fromkeys((aten.mm, aten.bmm), _product),
    **dict.fromkeys((aten.addmm, aten.baddbmm), _sum_and_product),
}
