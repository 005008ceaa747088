"""The resize policy: how images, masks and boxes of any size get the size of a batch."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.reader import UInt8Array

Resize = Literal["crop", "squash", "letterbox", "keep"]
Size = tuple[int, int]  # height, width
Float32Array = npt.NDArray[np.float32]

LETTERBOX_GREY = 114
"""What `letterbox` pads with: near the mean of photographs, so near 0 once normalized."""


@dataclass(frozen=True)
class Placement:
    """Where an image comes to lie in the resized one.

    Args:
        size: The image's own height and width.
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

    def image(self, image: UInt8Array) -> UInt8Array:
        """Resize an image (H, W, 3), averaging over areas where it shrinks, linearly where it only grows."""
        shrinks = self.scaled[0] < self.size[0] or self.scaled[1] < self.size[1]
        return self._fit(image, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR, LETTERBOX_GREY)

    def mask(self, mask: UInt8Array, *, padding: int) -> UInt8Array:
        """Resize a mask (H, W) by taking the nearest pixel; `padding` stands beside it."""
        return self._fit(mask, cv2.INTER_NEAREST_EXACT, padding)

    def boxes(self, boxes: Float32Array) -> Float32Array:
        """Move boxes (..., 4), xyxy in pixels, along; the result is divided by the resized image's width and height.

        They are not cut: what lies beyond a crop is outside of 0..1.
        """
        scale = np.array([self.scaled[1] / self.size[1], self.scaled[0] / self.size[0]] * 2)
        offset = np.array([self.left, self.top] * 2)
        unit = np.array([self.target[1], self.target[0]] * 2)
        return np.asarray((boxes * scale + offset) / unit, dtype=np.float32)

    def original_boxes(self, boxes: Float32Array) -> Float32Array:
        """The way back from `boxes`: from (..., 4), xyxy in 0..1 of the resized image, to pixels of the image itself.

        They are not cut to the image.
        """
        scale = np.array([self.scaled[1] / self.size[1], self.scaled[0] / self.size[0]] * 2)
        offset = np.array([self.left, self.top] * 2)
        unit = np.array([self.target[1], self.target[0]] * 2)
        return np.asarray((boxes * unit - offset) / scale, dtype=np.float32)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """The part of the resized image that shows the image: xyxy in pixels."""
        (height, width), (scaled_height, scaled_width) = self.target, self.scaled
        right, bottom = min(width, self.left + scaled_width), min(height, self.top + scaled_height)
        return max(0, self.left), max(0, self.top), right, bottom

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


def place(size: Size, target: Size, policy: Resize) -> Placement:
    """How an image of a size gets another one.

    Args:
        size: Height and width of the image.
        target: Height and width that it gets.
        policy: `crop`: scaled until it just covers the target, and the middle taken. `squash`: both sides scaled by
            themselves. `letterbox`: scaled until it just fits into the target, the rest is padded evenly. `keep`: left
            as it is, whatever the target.
    """
    if policy == "keep":
        return Placement(size, size, size, 0, 0)
    height, width = scaled_size(size, target, policy)
    if policy == "crop":
        return Placement(size, (height, width), target, -((height - target[0]) // 2), -((width - target[1]) // 2))
    return Placement(size, (height, width), target, (target[0] - height) // 2, (target[1] - width) // 2)


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
