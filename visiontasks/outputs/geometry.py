"""The resize policy: how images, masks and boxes of any size get the size of a batch, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

from visiontasks.outputs.base import Float32Array as Float32Array
from visiontasks.outputs.base import Size as Size
from visiontasks.outputs.base import UInt8Array

Resize = Literal["crop", "squash", "letterbox", "keep"]

LETTERBOX_GREY = 114
"""What `letterbox` pads with: near the mean of photographs, so near 0 once normalized."""


@dataclass(frozen=True)
class Geometry:
    """How an image came to the network's size: scaled, then cropped or padded; and the way back for boxes and maps.

    In a batch it is a row of `geometry`, int64 (B, 8): the arguments in this order.

    Args:
        size: The original's height and width.
        scaled: Its height and width after scaling.
        target: Height and width of the resized image.
        top: Row of the resized image at which the scaled one begins; below 0 where it is cropped.
        left: The same for columns.
    """

    size: Size
    scaled: Size
    target: Size
    top: int
    left: int

    @classmethod
    def of(cls, row: Sequence[int] | Tensor) -> "Geometry":
        """The geometry of a batch's row, (8,)."""
        height, width, *scaled, target_height, target_width, top, left = (int(value) for value in row)
        return cls((height, width), (scaled[0], scaled[1]), (target_height, target_width), top, left)

    def row(self) -> npt.NDArray[np.int64]:
        """A batch's row, int64 (8,)."""
        return np.array([*self.size, *self.scaled, *self.target, self.top, self.left], dtype=np.int64)

    def mirrored(self) -> "Geometry":
        """The geometry where left and right of the resized image are exchanged."""
        return replace(self, left=self.target[1] - self.left - self.scaled[1])

    def image(self, image: UInt8Array) -> UInt8Array:
        """Resize an image (H, W, 3), averaging over areas where it shrinks, linearly where it only grows."""
        shrinks = self.scaled[0] < self.size[0] or self.scaled[1] < self.size[1]
        return self._fit(image, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR, LETTERBOX_GREY)

    def mask(self, mask: UInt8Array, *, padding: int) -> UInt8Array:
        """Resize a mask (H, W) by taking the nearest pixel; `padding` stands beside it."""
        return self._fit(mask, cv2.INTER_NEAREST_EXACT, padding)

    def boxes(self, boxes: Float32Array) -> Float32Array:
        """Move boxes (..., 4), xyxy, from pixels of the original to pixels of the resized image; they are not cut."""
        scale, offset = self._box_steps()
        return np.asarray(boxes * scale + offset, dtype=np.float32)

    def original_boxes(self, boxes: npt.NDArray[np.floating[Any]]) -> Float32Array:
        """Move boxes (..., 4), xyxy, from pixels of the resized image to pixels of the original; they are not cut."""
        scale, offset = self._box_steps()
        return np.asarray((boxes - offset) / scale, dtype=np.float32)

    def original_map(self, values: Tensor) -> Tensor:
        """Interpolate a map of the resized image, such as logits, (K, h, w), to the original's size, (K, H, W)."""
        left, top, right, bottom = self.content
        part = values[None, :, top:bottom, left:right]
        return F.interpolate(part, self.size, mode="bilinear", align_corners=False)[0]

    def original_heat(self, heat: Float32Array) -> Float32Array:
        """Bring a map over the resized image to the original's size, linearly.

        Args:
            heat: (h, w), of any size.

        Returns:
            float32, (H, W) of the original; NaN where the resized image does not show it.
        """
        (height, width), (left, top, right, bottom) = self.target, self.content
        content = cv2.resize(heat.astype(np.float32), (width, height))[top:bottom, left:right]
        above, beside = max(0, -self.top), max(0, -self.left)
        below, behind = self.scaled[0] - above - (bottom - top), self.scaled[1] - beside - (right - left)
        borders, size = (above, below, beside, behind), (self.size[1], self.size[0])
        whole = cv2.resize(cv2.copyMakeBorder(content, *borders, cv2.BORDER_REPLICATE), size)
        inside = cv2.copyMakeBorder(np.ones_like(content), *borders, cv2.BORDER_CONSTANT, value=0)
        return np.where(cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST) > 0, whole, np.float32(np.nan))

    @property
    def unit(self) -> npt.NDArray[np.int64]:
        """Width, height, width, height of the resized image: by these, boxes in 0..1 of it become pixels, (4,)."""
        return np.array([self.target[1], self.target[0]] * 2, dtype=np.int64)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """The part of the resized image that shows the image: xyxy in pixels."""
        (height, width), (scaled_height, scaled_width) = self.target, self.scaled
        right, bottom = min(width, self.left + scaled_width), min(height, self.top + scaled_height)
        return max(0, self.left), max(0, self.top), right, bottom

    def _box_steps(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """What boxes are multiplied by, and what is added then, (4,)."""
        scale = np.array([self.scaled[1] / self.size[1], self.scaled[0] / self.size[0]] * 2)
        return scale, np.array([self.left, self.top] * 2)

    def _fit(self, pixels: UInt8Array, interpolation: int, padding: int) -> UInt8Array:
        if self.size == self.target and self.scaled == self.target:
            return pixels
        height, width = self.scaled
        scaled = np.asarray(cv2.resize(pixels, (width, height), interpolation=interpolation), dtype=np.uint8)
        if self.scaled == self.target:
            return scaled
        if height >= self.target[0] and width >= self.target[1]:
            return scaled[-self.top : self.target[0] - self.top, -self.left : self.target[1] - self.left]
        canvas = np.full((*self.target, *pixels.shape[2:]), padding, dtype=np.uint8)
        canvas[self.top : self.top + height, self.left : self.left + width] = scaled
        return canvas


def box_units(geometry: Tensor) -> Tensor:
    """Width, height, width, height of each image of a batch by its `geometry` (B, 8): int64 (B, 4)."""
    return geometry[:, 4:6].flip(1).repeat(1, 2)  # an index list would be sent to a GPU, and wait for it


def place(size: Size, target: Size, policy: Resize) -> Geometry:
    """How an image of a size gets another one.

    Args:
        size: Height and width of the image.
        target: Height and width that it gets.
        policy: `crop`: scaled until it just covers the target, and the middle taken. `squash`: both sides scaled by
            themselves. `letterbox`: scaled until it just fits into the target, the rest is padded evenly. `keep`: left
            as it is, whatever the target.
    """
    if policy == "keep":
        return Geometry(size, size, size, 0, 0)
    height, width = scaled_size(size, target, policy)
    if policy == "crop":
        return Geometry(size, (height, width), target, -((height - target[0]) // 2), -((width - target[1]) // 2))
    return Geometry(size, (height, width), target, (target[0] - height) // 2, (target[1] - width) // 2)


def scaled_size(size: Size, target: Size, policy: Resize) -> Size:
    """Height and width after a policy's scaling, before crop or padding; halves are rounded up."""
    if policy == "squash":
        return target
    height, width = size
    by_height = target[0] * width >= target[1] * height  # scaling to the target's height covers its width
    if policy == "letterbox":
        by_height = target[0] * width <= target[1] * height
    if by_height:
        return target[0], max(1, (2 * width * target[0] + height) // (2 * height))
    return max(1, (2 * height * target[1] + width) // (2 * width)), target[1]


def resize_image(image: UInt8Array, size: int | Size, policy: Resize) -> UInt8Array:
    """Bring an image (H, W, 3) to a size: height and width, or the side of a square; see `place`.

    Returns:
        (*size, 3), uint8; the same array if it had that size.
    """
    target = (size, size) if isinstance(size, int) else size
    return place((image.shape[0], image.shape[1]), target, policy).image(image)
