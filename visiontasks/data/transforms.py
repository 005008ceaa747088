"""From a decoded image to the network's input size: seeded augmentation, then the resize policy. All in uint8."""

import os
import random
from collections.abc import Iterator, Sequence
from typing import Literal

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks a server for its newest version at import

import albumentations as A
import cv2
import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from visiontasks.data.reader import UInt8Array
from visiontasks.errors import InputError

Resize = Literal["crop", "squash", "letterbox"]
Transform = BasicTransform | BaseCompose

LETTERBOX_GREY = 114
"""The constant that `letterbox` pads with: close to the mean of photographs, so close to 0 after normalization."""

_NORMALIZING = ("Normalize", "ToTensorV2", "ToTensor3D", "ToFloat", "FromFloat")


class Augmentation:
    """A list of albumentations transforms whose outcome depends on (seed, epoch, index) and on nothing else.

    albumentations 2.0.8 repeats one random stream in every worker and epoch, and its own `set_random_seed` gives each
    transform of a pipeline a generator with the same seed, so that two flips with p=0.5 always fall together. Here all
    transforms of a sample, nested ones too, draw one after the other from one stream.
    """

    def __init__(self, transforms: Sequence[Transform], *, seed: int) -> None:
        """Take the transforms.

        Args:
            transforms: Applied in this order to uint8 RGB images.
            seed: With epoch and index, the seed of a sample's stream.

        Raises:
            InputError: If a transform, also a nested one, normalizes or makes tensors.
        """
        for transform in _walk(transforms):
            if type(transform).__name__ in _NORMALIZING:
                raise InputError(
                    f"data.init_args.augment: {type(transform).__name__} is refused. Batches stay uint8 0..255: the task "
                    "normalizes on the device with the backbone's own mean and std. Take it out of the list."
                )
        self.pipeline = A.Compose(list(transforms))
        self.seed = seed

    def __call__(self, image: UInt8Array, *, epoch: int, index: int) -> UInt8Array:
        """Augment one image.

        Args:
            image: RGB, (H, W, 3), uint8.
            epoch: Epoch, from 0.
            index: Row of the sample in its split.

        Returns:
            RGB, (H', W', 3), uint8.

        Raises:
            InputError: If a transform returned another type or number of channels.
        """
        sample_seed = (self.seed << 64) + (epoch << 32) + index
        self.pipeline.set_random_state(np.random.default_rng(sample_seed), random.Random(sample_seed))
        cv2.setRNGSeed(sample_seed % 0x7FFFFFFF)  # some noise transforms draw from OpenCV's own generator
        augmented = self.pipeline(image=image)["image"]
        if augmented.dtype != np.uint8 or augmented.ndim != 3 or augmented.shape[2] != 3:
            raise InputError(
                f"data.init_args.augment: the transforms returned {augmented.dtype} of shape {augmented.shape}, expected "
                "uint8 (H, W, 3); take out the one that changes the type or the channels"
            )
        return np.asarray(augmented)


def resize_image(image: UInt8Array, size_px: int, policy: Resize) -> UInt8Array:
    """Bring an image to a square, by averaging over areas where it shrinks and linearly where it grows.

    Args:
        image: (H, W, 3), uint8.
        size_px: Side of the square in pixels.
        policy: `crop`: the shorter side becomes size_px, the middle is taken. `squash`: both sides become size_px, whatever
            the shape. `letterbox`: the longer side becomes size_px, the rest is padded evenly with `LETTERBOX_GREY`.

    Returns:
        (size_px, size_px, 3), uint8; the same array if it had that size.
    """
    height, width = image.shape[:2]
    if height == width == size_px:
        return image
    new_height, new_width = scaled_size(height, width, size_px, policy)
    shrinks = new_height < height or new_width < width
    image = np.asarray(
        cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
        dtype=np.uint8,
    )
    if policy == "crop":
        top, left = (new_height - size_px) // 2, (new_width - size_px) // 2
        return image[top : top + size_px, left : left + size_px]
    if policy == "letterbox":
        top, left = (size_px - new_height) // 2, (size_px - new_width) // 2
        canvas = np.full((size_px, size_px, 3), LETTERBOX_GREY, dtype=np.uint8)
        canvas[top : top + new_height, left : left + new_width] = image
        return canvas
    return image


def scaled_size(height: int, width: int, size_px: int, policy: Resize) -> tuple[int, int]:
    """Height and width after scaling by a policy, before its crop or padding; sides are rounded to the nearest pixel."""
    if policy == "squash":
        return size_px, size_px
    side = min(height, width) if policy == "crop" else max(height, width)
    # Integer arithmetic, halves up: floats give 223 or 224 for the same picture on different machines.
    return max(1, (2 * height * size_px + side) // (2 * side)), max(1, (2 * width * size_px + side) // (2 * side))


def _walk(transforms: Sequence[Transform]) -> Iterator[Transform]:
    for transform in transforms:
        yield transform
        if isinstance(transform, BaseCompose):
            yield from _walk(transform.transforms)
