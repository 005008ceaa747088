"""The arithmetic of layers: output sizes, multiply-adds and receptive fields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod


def conv_output_size(size: int, kernel_size: int, stride: int = 1, padding: int = 0) -> int:
    """Positions of a filter along an axis: (W - F + 2P) / S + 1.

    Args:
        size: W, the length of the input in pixels.
        kernel_size: F, that of the filter; of a dilated one what it spans.
        stride: S.
        padding: P, on each side.

    Raises:
        ValueError: If the filter does not fit: the formula gives no whole number above 0. PyTorch's layers round down
            instead, or up with ceil_mode.
    """
    steps = size - kernel_size + 2 * padding
    if steps < 0 or steps % stride:
        formula = f"({size} - {kernel_size} + 2*{padding}) / {stride} + 1 = {steps / stride + 1:.4g}"
        raise ValueError(
            f"a filter of {kernel_size} with stride {stride} and padding {padding} does not fit {size}: {formula}"
        )
    return steps // stride + 1


def conv_multiply_adds(weight_shape: Sequence[int], positions: int) -> int:
    """Multiply-adds of a convolution without its bias, whatever its groups.

    Args:
        weight_shape: (C_out, C_in / groups, *kernel); a dense layer's (D_out, D_in) too.
        positions: Of the output over the batch (of a transposed convolution those of the input); each uses every
            weight once.
    """
    return prod(weight_shape) * positions


@dataclass(frozen=True)
class Span:
    """Receptive fields of a map's positions along one axis: position i's is first + i * step to last + i * step.

    The default is the image's own: pixel i has pixel i.

    Args:
        first: The first pixel of position 0's field; negative in the padding.
        last: The last one.
        step: The stride: pixels between the fields of two neighbours; None where a map has no positions on this axis.
    """

    first: float = 0
    last: float = 0
    step: float | None = 1

    @property
    def size(self) -> float:
        """The receptive field in pixels, padding included; infinite where it is the whole image for every position."""
        return self.last - self.first + 1

    def slide(self, kernel_size: int, stride: float = 1, padding: int = 0, dilation: int = 1) -> "Span":
        """The fields after a convolution or pool of this map."""
        if self.step is None:
            return self
        first = self.first - padding * self.step
        last = self.last + (dilation * (kernel_size - 1) - padding) * self.step
        return Span(first, last, self.step * stride)

    def join(self, other: "Span") -> "Span":
        """The fields of the sum or concatenation of two maps: the union of both.

        Raises:
            ValueError: If the strides differ, so that the union differs from position to position.
        """
        if None not in (self.step, other.step) and self.step != other.step:
            raise ValueError(f"maps of strides {self.step} and {other.step} have no positions in common")
        step = other.step if self.step is None else self.step
        return Span(min(self.first, other.first), max(self.last, other.last), step)

    def everything(self) -> "Span":
        """The same positions, each with the whole image as its field."""
        return replace(self, first=-inf, last=inf)


WHOLE = Span(-inf, inf, None)  # of values without positions that depend on the whole image
