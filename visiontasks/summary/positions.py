"""Receptive fields of a tensor's positions, and which of its dimensions they run along."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from visiontasks.ops.arithmetic import Span

Factor = tuple[int | None, int]  # the image's axis (0 vertical, 1 horizontal) or None, and the length
Dim = tuple[Factor, ...]  # the axes flattened into a dimension, outermost first; () for a length of 1
Spans = tuple[Span, Span]  # vertical, horizontal


class UnknownField(Exception):
    """The field after an operator differs between positions, or is not followed."""


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a tensor's positions.

    Args:
        dims: Where the image's axes are among the tensor's dimensions.
        spans: A position's field along each axis; None where it is unknown.
    """

    dims: tuple[Dim, ...]
    spans: Spans | None

    def axes(self, dims: Iterable[int]) -> set[int]:
        """The image's axes that run along some of the dimensions."""
        return {axis for dim in dims for axis, _ in self.dims[dim] if axis is not None}

    def known(self) -> Spans:
        """The spans.

        Raises:
            UnknownField: If they are not known.
        """
        if self.spans is None:
            raise UnknownField
        return self.spans


class Operands:
    """The arguments of an operator, with the fields of its tensors.

    Args:
        args: Its positional arguments.
        known: The tensors that depend on the image, in their order, with their fields.
        field_of: A tensor's field; None if it does not depend on the image.
    """

    def __init__(
        self,
        args: Sequence[Any],
        known: Sequence[tuple[Tensor, ReceptiveField]],
        field_of: Callable[[Tensor], ReceptiveField | None],
    ) -> None:
        self.args = args
        self.known = known
        self.field_of = field_of

    def image(self) -> tuple[Tensor, ReceptiveField, Spans]:
        """The first argument.

        Raises:
            UnknownField: If it does not depend on the image, or another one does, or its field is unknown.
        """
        tensor, field = self.known[0]
        if tensor is not self.args[0] or any(other is not tensor for other, _ in self.known):
            raise UnknownField
        return tensor, field, field.known()

    def option(self, index: int, default: Any) -> Any:
        """An argument that may be left out."""
        return self.args[index] if index < len(self.args) and self.args[index] not in ([], (), None) else default


def plain_dims(tensor: Tensor) -> tuple[Dim, ...]:
    """The dimensions of a tensor without the image's axes."""
    return tuple(plain(length) for length in tensor.shape)


def plain(length: int) -> Dim:
    """A dimension without the image's axes."""
    return () if length == 1 else ((None, length),)


def only_axis(dim: Dim) -> int | None:
    """The axis that a dimension is; None if it has nothing to do with the image's axes."""
    axes = [axis for axis, _ in dim if axis is not None]
    if axes and len(dim) > 1:
        raise UnknownField
    return axes[0] if axes else None


def resized(dim: Dim, length: int) -> Dim:
    """The same axis, or none, with another length."""
    axis = only_axis(dim)
    return plain(length) if axis is None else ((axis, length),)
