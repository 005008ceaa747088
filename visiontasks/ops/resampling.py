"""The resize of images, in whole as tensor operations, so that an exported graph takes images of any size.

The same pixels as from OpenCV's `resize` of 8-bit images, which the data pipeline calls: averages over areas where
both sides shrink (INTER_AREA), bilinear interpolation where neither does (INTER_LINEAR), and what INTER_AREA does where
one side shrinks and the other grows. Each is linear along either side, so it is matrix products, whose weights are
computed from the image's size in whole numbers, and roundings in between that are OpenCV's.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Size = tuple[int, int]  # height, width
Policy = Literal["crop", "squash", "letterbox"]

SLIVER = 1000
"""OpenCV ignores a pixel if an area covers 1 / 1000 of it or less."""
FIXED_POINT = 2048
"""OpenCV interpolates with weights that are multiples of 1 / 2048."""
STEPS = 4096
"""Averages are rounded to 1 / 4096 first, so that halves round alike in whatever order a runtime sums."""
KEPT_PARTS = 128
"""OpenCV truncates values interpolated along rows to multiples of 1 / 128, then each of two rows' share to quarters."""


@dataclass(frozen=True)
class Side:
    """How one side of an image, its height or width, is resized.

    Args:
        length: Of the image, in pixels; int64 without dimensions.
        scaled: What it is scaled to.
        start: Which pixel of the scaled image is the first of the resized one: above 0 where it is cropped, below 0
            where it is padded.
        target: Length of the resized one.
    """

    length: Tensor
    scaled: Tensor
    start: Tensor
    target: int

    def original(self, position: Tensor) -> Tensor:
        """Move positions, 0..1 of the resized image, to pixels of the image; those beside it to its border."""
        pixels = (position * self.target + self.start) * (self.length / self.scaled)
        return torch.minimum(pixels.clamp_min(0), self.length)

    def shows_image(self) -> Tensor:
        """Which pixels of the resized image are not padding, bool (target,)."""
        index = torch.arange(self.target, device=self.length.device) + self.start
        return (index >= 0) & (index < self.scaled)


@dataclass(frozen=True)
class TensorGeometry:
    """How images got their size inside a graph, and the way back; `visiontasks.outputs.geometry` in tensors.

    Args:
        rows: Of the height.
        columns: Of the width.
        size: Height and width of the original images.
        is_resized: Whether the images were resized at all.
    """

    rows: Side
    columns: Side
    size: Size
    is_resized: bool

    def original_boxes(self, boxes: Tensor) -> Tensor:
        """Move boxes (..., 4), xyxy in 0..1 of the resized image, to pixels of the original, and cut them to it."""
        x1, y1, x2, y2 = boxes.unbind(-1)
        move = (self.columns.original, self.rows.original)
        return torch.stack([move[0](x1), move[1](y1), move[0](x2), move[1](y2)], -1)

    def original_map(self, scores: Tensor) -> Tensor:
        """Interpolate scores (B, K, h, w) of the resized images' pixels to the originals, (B, K, H, W)."""
        return restore(scores, self.rows, self.columns, self.size) if self.is_resized else scores


def sides(image: Tensor, target: Size, policy: Policy) -> tuple[Side, Side]:
    """How images are resized; the placement is that of `visiontasks.outputs.geometry.place`.

    Args:
        image: (B, H, W, C).
        target: Height and width that they get.
        policy: `crop`: scaled until it just covers the target, and the middle taken. `squash`: both sides scaled by
            themselves. `letterbox`: scaled until it just fits into the target, and padded evenly.

    Returns:
        Rows and columns.
    """
    height, width = (torch.full((), n, dtype=torch.int64, device=image.device) for n in image.shape[1:3])
    wanted_height, wanted_width = (torch.full_like(height, n) for n in target)
    by_width = _rounded_ratio(height * wanted_width, width)  # the height where the width is scaled to the target's
    by_height = _rounded_ratio(width * wanted_height, height)
    zero = torch.zeros_like(height)
    if policy == "squash":
        scaled, start = (wanted_height, wanted_width), (zero, zero)
    elif policy == "crop":
        scaled = torch.maximum(wanted_height, by_width), torch.maximum(wanted_width, by_height)
        start = _half(scaled[0] - wanted_height), _half(scaled[1] - wanted_width)
    else:
        fitting = torch.minimum(wanted_height, by_width), torch.minimum(wanted_width, by_height)
        scaled = fitting[0].clamp_min(1), fitting[1].clamp_min(1)
        start = -_half(wanted_height - scaled[0]), -_half(wanted_width - scaled[1])
    return Side(height, scaled[0], start[0], target[0]), Side(width, scaled[1], start[1], target[1])


def resize(image: Tensor, rows: Side, columns: Side, *, padding: int) -> Tensor:
    """Resize images.

    Args:
        image: uint8 (B, H, W, C).
        rows: From `sides`.
        columns: From `sides`.
        padding: Value of the pixels beside a letterboxed image.

    Returns:
        uint8 (B, C, *target).
    """
    both_shrink = (rows.scaled <= rows.length) & (columns.scaled <= columns.length)
    none_shrinks = (rows.scaled >= rows.length) & (columns.scaled >= columns.length)
    first_row, next_row = _weights(rows, image.shape[1], both_shrink, none_shrinks)
    first_column, next_column = _weights(columns, image.shape[2], both_shrink, none_shrinks)
    narrowed = image.permute(0, 3, 1, 2).float() @ (first_column + next_column).T
    narrowed = torch.where(both_shrink, narrowed, (narrowed * KEPT_PARTS).floor() / KEPT_PARTS)
    first, following = first_row @ narrowed, next_row @ narrowed
    halves = (rows.length == 2 * rows.scaled) & (columns.length == 2 * columns.scaled)
    steady = (first * STEPS).round() / STEPS
    averaged = torch.where(halves, (steady + 0.5).floor(), steady.round())
    interpolated = (((first * 4).floor() + (following * 4).floor() + 2) / 4).floor()
    shown = rows.shows_image()[:, None] & columns.shows_image()
    pixels = torch.where(both_shrink, averaged, interpolated)
    return torch.where(shown, pixels, padding).clamp(0, 255).to(torch.uint8)


def restore(scores: Tensor, rows: Side, columns: Side, size: Size) -> Tensor:
    """Interpolate a network's scores for resized images to the images' own size.

    The padding is left out, as if the rest were cropped and passed to `F.interpolate` (bilinear, align_corners False).

    Args:
        scores: (B, K, *target).
        rows: From `sides`.
        columns: From `sides`.
        size: Height and width of the images.

    Returns:
        (B, K, *size).
    """
    of_rows, of_columns = (_back(side, n) for side, n in ((rows, size[0]), (columns, size[1])))
    return of_rows @ scores @ of_columns.T


def _rounded_ratio(dividend: Tensor, divisor: Tensor) -> Tensor:
    """Of positive whole numbers; halves are rounded up."""
    return torch.div(2 * dividend + divisor, 2 * divisor, rounding_mode="floor")


def _half(number: Tensor) -> Tensor:
    return torch.div(number, 2, rounding_mode="floor")


def _indices(side: Side, length: int) -> tuple[Tensor, Tensor]:
    """Of the scaled image's pixels that are wanted (target, 1), and of the image's own (1, length)."""
    device = side.length.device
    wanted = torch.arange(side.target, device=device) + side.start
    return wanted[:, None], torch.arange(length, device=device)[None]


def _weights(side: Side, length: int, both_shrink: Tensor, none_shrinks: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (target, length) of areas, and zeros; or of the first and the second of two pixels."""
    wanted, own = _indices(side, length)
    bilinear, of_two = _bilinear(side, wanted), _area_of_two(side, wanted)
    first, share = (torch.where(none_shrinks, *each) for each in zip(bilinear, of_two, strict=True))
    one, other = (_fixed_point(each) for each in (1 - share, share))
    return (
        torch.where(both_shrink, _area(side, wanted, own), torch.where(own == first, one, 0.0)),
        torch.where(both_shrink, 0.0, torch.where(own == first + 1, other, 0.0)),
    )


def _area(side: Side, wanted: Tensor, own: Tensor) -> Tensor:
    """The part of each scaled pixel's area that a pixel covers.

    Measured in 1 / scaled of a pixel, all borders of pixels are whole numbers.
    """
    end = torch.minimum((wanted + 1) * side.length, (own + 1) * side.scaled)
    covered = end - torch.maximum(wanted * side.length, own * side.scaled)
    counts = covered * SLIVER > side.scaled
    return torch.where(counts, covered, 0).float() / side.length


def _bilinear(side: Side, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The first of the two pixels whose middles are nearest to that of a scaled one, and the share of the second."""
    unit = 2 * side.scaled
    position = ((2 * wanted + 1) * side.length - side.scaled).clamp_min(0)
    position = torch.minimum(position, unit * (side.length - 1))
    return torch.div(position, unit, rounding_mode="floor"), (position % unit).float() / unit


def _area_of_two(side: Side, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The same of what OpenCV takes for areas where one side of the image shrinks and the other grows.

    A scaled pixel gets the pixel that its first border lies in and the next one, and for a side that shrinks no more.
    """
    inverse = side.scaled.double() / side.length
    first = (wanted * (1 / inverse)).floor()  # as OpenCV computes it, also where that is not quite a whole number
    beyond = ((wanted + 1) - (first + 1) * inverse).float()
    share = torch.where((beyond > 0) & (first < side.length - 1), beyond - beyond.floor(), 0.0)
    return first.long(), share


def _back(side: Side, length: int) -> Tensor:
    """Weights (length, target) of bilinear interpolation from the part of the resized image that shows the image."""
    own, shown = torch.arange(length, device=side.length.device), torch.arange(side.target, device=side.length.device)
    return _tent((2 * own[:, None] + 1) * side.scaled - side.length, 2 * side.length, shown + side.start, side.scaled)


def _tent(position: Tensor, unit: Tensor, index: Tensor, count: Tensor) -> Tensor:
    """Weights that fall linearly from 1 at a position to 0 one pixel away.

    Args:
        position: Where between the middles of the pixels, in 1 / unit of a pixel, (n, 1).
        unit: int64 without dimensions.
        index: Of the pixels, (m,); those outside of 0..count - 1 get nothing.
        count: Number of pixels.

    Returns:
        (n, m), float32.
    """
    inside = torch.minimum(position.clamp_min(0), unit * (count - 1))
    return 1 - ((inside - unit * index).abs().float() / unit).clamp_max(1)


def _fixed_point(weight: Tensor) -> Tensor:
    return (weight * FIXED_POINT).round() / FIXED_POINT
