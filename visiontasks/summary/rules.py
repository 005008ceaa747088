"""What each operator does to what a position sees of the image.

Computing Receptive Fields of Convolutional Neural Networks. Andre Araujo, Wade Norris, Jack Sim, 2019.
https://distill.pub/2019/computing-receptive-fields/

For a tensor it is known which dimensions run along the image's height and width, and what interval of pixels each
position sees on them (`Span`). Where paths meet (sums, joined channels) it is all that any path sees. Convolutions,
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
from visiontasks.summary.positions import Factor, Operands, Seen, UnknownSight, only_axis, plain, plain_dims, resized

aten = torch.ops.aten

Rule = Callable[[Operands, Tensor], Seen]


def rule_of(func: Any) -> Rule | None:
    """What tells from an operator's arguments what (each tensor of) its output sees; None if there is no such rule.

    The rules raise UnknownSight, or ValueError where paths of different strides meet.

    Args:
        func: An overload of torch.ops.aten.
    """
    rule = RULES.get(func.overloadpacket)
    return _pointwise if rule is None and torch.Tag.pointwise in func.tags else rule


def _slide(operands: Operands, output: Tensor, windows: Sequence[tuple[int, float, int, int]]) -> Seen:
    """Windows of (length, stride, padding, dilation) over the last dimensions."""
    _, seen, spans = operands.image()
    dims, moved = list(seen.dims), list(spans)
    for i, (length, stride, padding, dilation) in enumerate(windows, len(dims) - len(windows)):
        axis = only_axis(dims[i])
        if axis is not None:
            moved[axis] = moved[axis].slide(length, stride, padding, dilation)
        dims[i] = resized(dims[i], output.shape[i])
    return Seen(tuple(dims), (moved[0], moved[1]))


def _convolution(operands: Operands, output: Tensor) -> Seen:
    _, weight, _, strides, paddings, dilations, transposed = operands.args[:7]
    if transposed:
        raise UnknownSight
    _, seen, _ = operands.image()
    if seen.axes([0, 1]):
        raise UnknownSight
    after = _slide(operands, output, [*zip(weight.shape[2:], strides, paddings, dilations, strict=True)])
    return Seen((after.dims[0], plain(output.shape[1]), *after.dims[2:]), after.spans)


def _pool(operands: Operands, output: Tensor, *, dilated: bool) -> Seen:
    lengths = operands.args[1]
    axes = len(lengths)
    strides = operands.option(2, lengths)
    paddings = operands.option(3, [0] * axes)
    dilations = operands.option(4, [1] * axes) if dilated else [1] * axes
    return _slide(operands, output, [*zip(lengths, strides, paddings, dilations, strict=True)])


def _max_pool(operands: Operands, output: Tensor) -> Seen:
    return _pool(operands, output, dilated=True)


def _average_pool(operands: Operands, output: Tensor) -> Seen:
    return _pool(operands, output, dilated=False)


def _adaptive_pool(operands: Operands, output: Tensor) -> Seen:
    """Windows that divide the map evenly; their largest length, and the mean distance."""
    tensor, seen, _ = operands.image()
    sizes = operands.args[1]
    if all(size == 1 for size in sizes):
        return _reduced(seen, range(tensor.ndim - len(sizes), tensor.ndim), output)
    windows = []
    for before, after in zip(tensor.shape[-len(sizes) :], sizes, strict=True):
        length = max(ceil((i + 1) * before / after) - i * before // after for i in range(after))
        windows.append((length, before / after, 0, 1))
    return _slide(operands, output, windows)


def _reduction(operands: Operands, output: Tensor, dims_at: int = 1) -> Seen:
    """Mean, sum, maximum or the like over some dimensions, or all."""
    tensor, seen, _ = operands.image()
    dims = operands.option(dims_at, None)
    dims = dims if isinstance(dims, list | tuple) else range(tensor.ndim)
    return _reduced(seen, dims, output)


def _norm(operands: Operands, output: Tensor) -> Seen:
    return _reduction(operands, output, dims_at=2)


def _reduced(seen: Seen, dims: Sequence[int], output: Tensor) -> Seen:
    gone = {dim % len(seen.dims) for dim in dims}
    axes = seen.axes(gone)
    spans = [WHOLE if axis in axes else span for axis, span in enumerate(seen.known())]
    keeps = output.ndim == len(seen.dims)
    kept = [() if i in gone else dim for i, dim in enumerate(seen.dims) if keeps or i not in gone]
    return Seen(tuple(kept), (spans[0], spans[1]))


def _mixed(seen: Seen, dims: Iterable[int]) -> Seen:
    """Every value of some dimensions is made of all of them."""
    axes = seen.axes(dims)
    spans = [span.everything() if axis in axes else span for axis, span in enumerate(seen.known())]
    return Seen(seen.dims, (spans[0], spans[1]))


def _softmax(operands: Operands, output: Tensor) -> Seen:
    _, seen, _ = operands.image()
    return _mixed(seen, [operands.args[1]])


def _layer_norm(operands: Operands, output: Tensor) -> Seen:
    _, seen, _ = operands.image()
    return _shaped(_mixed(seen, range(-len(operands.args[1]), 0)), output)


def _group_norm(operands: Operands, output: Tensor) -> Seen:
    tensor, seen, _ = operands.image()
    return _shaped(_mixed(seen, range(tensor.ndim)), output)


def _batch_norm(operands: Operands, output: Tensor) -> Seen:
    return _shaped(operands.image()[1], output)


def _shaped(seen: Seen, output: Tensor) -> Seen:
    """For operators that also give statistics, which nobody here reads."""
    if len(seen.dims) != output.ndim:
        raise UnknownSight
    return seen


def _pointwise(operands: Operands, output: Tensor) -> Seen:
    """Position by position, what is shorter repeated."""
    return _joined(operands.known, output)


def _joined(known: "Sequence[tuple[Tensor, Seen]]", output: Tensor, apart: int | None = None) -> Seen:
    """Tensors on top of each other; side by side along the dimension `apart`."""
    dims = []
    for i in range(output.ndim):
        found = set()
        for tensor, seen in known:
            own = i - output.ndim + tensor.ndim
            if own >= 0 and (tensor.shape[own] == output.shape[i] or i == apart) and seen.axes([own]):
                found.add(seen.dims[own])
        if len(found) > 1 or (found and i == apart):
            raise UnknownSight
        dims.append(found.pop() if found else plain(output.shape[i]))
    spans = None
    for _, seen in known:
        own_spans = seen.known()
        spans = own_spans if spans is None else (spans[0].join(own_spans[0]), spans[1].join(own_spans[1]))
    return Seen(tuple(dims), spans)


def _cat(operands: Operands, output: Tensor) -> Seen:
    return _joined(operands.known, output, operands.option(1, 0) % output.ndim)


def _stack(operands: Operands, output: Tensor) -> Seen:
    """Tensors of one shape side by side along a new dimension."""
    i = operands.option(1, 0) % output.ndim
    tensor, _ = operands.known[0]
    joined = _joined(operands.known, tensor)
    return Seen((*joined.dims[:i], plain(output.shape[i]), *joined.dims[i:]), joined.spans)


def _view(operands: Operands, output: Tensor) -> Seen:
    """The same values in the same order: dimensions flattened or taken apart again."""
    _, seen, spans = operands.image()
    factors = [factor for dim in seen.dims for factor in dim if factor[1] != 1]
    dims = []
    for length in output.shape:
        dim: list[Factor] = []
        while length > 1:
            axis, n = factors.pop(0)
            if n > length and axis is None and n % length == 0:
                factors.insert(0, (None, n // length))
                n = length
            if length % n:
                raise UnknownSight
            dim.append((axis, n))
            length //= n
        dims.append(tuple(dim))
    return Seen(tuple(dims), spans)


def _permuted(operands: Operands, output: Tensor) -> Seen:
    _, seen, spans = operands.image()
    return Seen(tuple(seen.dims[i] for i in operands.args[1]), spans)


def _transposed(operands: Operands, output: Tensor) -> Seen:
    _, seen, spans = operands.image()
    dims = list(seen.dims)
    i, j = operands.option(1, 0), operands.option(2, 1)
    dims[i], dims[j] = dims[j], dims[i]
    return Seen(tuple(dims), spans)


def _slice(operands: Operands, output: Tensor) -> Seen:
    tensor, seen, spans = operands.image()
    i, start, step = operands.option(1, 0) % tensor.ndim, operands.option(2, None) or 0, operands.option(4, 1)
    start = max(0, start + tensor.shape[i]) if start < 0 else start
    moved, axis = list(spans), only_axis(seen.dims[i])
    if axis is not None:
        moved[axis] = moved[axis].slide(1, step, -start)
    dims = [*seen.dims[:i], resized(seen.dims[i], output.shape[i]), *seen.dims[i + 1 :]]
    return Seen(tuple(dims), (moved[0], moved[1]))


def _split(operands: Operands, output: Tensor) -> Seen:
    tensor, seen, spans = operands.image()
    i = operands.option(2, 0) % tensor.ndim
    if seen.axes([i]):
        raise UnknownSight
    return Seen((*seen.dims[:i], plain(output.shape[i]), *seen.dims[i + 1 :]), spans)


def _select(operands: Operands, output: Tensor) -> Seen:
    """One index of a dimension; of unbind all of them."""
    tensor, seen, spans = operands.image()
    i = operands.option(1, 0) % tensor.ndim
    if seen.axes([i]):
        raise UnknownSight
    return Seen((*seen.dims[:i], *seen.dims[i + 1 :]), spans)


def _pad(operands: Operands, output: Tensor) -> Seen:
    _, seen, spans = operands.image()
    dims, moved = list(seen.dims), list(spans)
    for i, before in enumerate(operands.args[1][::2], 1):
        axis = only_axis(dims[-i])
        if axis is not None:
            moved[axis] = moved[axis].slide(1, 1, before)
        dims[-i] = resized(dims[-i], output.shape[-i])
    return Seen(tuple(dims), (moved[0], moved[1]))


def _product(operands: Operands, output: Tensor) -> Seen:
    """Of a matrix that sees the image with weights, or of attention with what it attends to."""
    first, second = (operands.sight(tensor) for tensor in operands.args[-2:])
    if second is not None and second.spans is not None and second.axes([-2]) == {0, 1}:
        return Seen(plain_dims(output), (WHOLE, WHOLE))
    if first is None or second is not None:
        raise UnknownSight
    after = _reduced(first, [-1], output)
    return Seen((*first.dims[:-1], plain(output.shape[-1])), after.spans)


def _sum_and_product(operands: Operands, output: Tensor) -> Seen:
    if operands.sight(operands.args[0]) is not None:
        raise UnknownSight
    return _product(operands, output)


# made with the shape of their argument, not of its values
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
