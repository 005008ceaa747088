"""From a decoded image to the network's input: seeded augmentation, then the resize policy; all uint8."""

import random
from collections.abc import Iterator, Sequence
from typing import Literal

import albumentations as A
import cv2
import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from visiontasks.data.reader import UInt8Array
from visiontasks.errors import InputError

Resize = Literal["crop", "squash", "letterbox"]

LETTERBOX_GREY = 114
"""What `letterbox` pads with: near the mean of photographs, so near 0 once normalized."""

_NORMALIZING = ("Normalize", "ToTensorV2", "ToTensor3D", "ToFloat", "FromFloat")


class Augmentation:
    """A list of albumentations transforms whose outcome depends on (seed, epoch, index) and on nothing else.

    albumentations 2.0.8 repeats one random stream in every worker and epoch, and `Compose.set_random_seed`
    starts the same stream in each transform of a pipeline, so that two flips with p=0.5 always fall together.
    Here all transforms of a sample, nested ones too, draw one after the other from one stream.

    Args:
        transforms: Applied in this order to uint8 RGB images.
        seed: With epoch and index, the seed of a sample's stream.

    Raises:
        InputError: If an entry is no albumentations transform, or one (nested ones too) normalizes or makes
            tensors.
    """

    def __init__(self, transforms: Sequence[BasicTransform | BaseCompose], *, seed: int) -> None:
        for transform in _walk(transforms):
            if type(transform).__name__ in _NORMALIZING:
                raise InputError(
                    f"data.init_args.augment: {type(transform).__name__} is refused; batches stay uint8 "
                    "0..255 and the task normalizes on the device with the backbone's own mean and std; "
                    "remove it"
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
            InputError: If a transform fails, or returns another type or number of channels.
        """
        sample_seed = (self.seed << 64) + (epoch << 32) + index
        self.pipeline.set_random_state(np.random.default_rng(sample_seed), random.Random(sample_seed))
        try:
            augmented = self.pipeline(image=image)["image"]
        except Exception as error:  # a transform may raise anything when the image does not suit it
            raise InputError(
                f"data.init_args.augment: failed on sample {index}, {image.shape[1]}x{image.shape[0]} pixels ({error})"
            ) from error
        if augmented.dtype != np.uint8 or augmented.ndim != 3 or augmented.shape[2] != 3:
            raise InputError(
                f"data.init_args.augment: gave {augmented.dtype} of shape {augmented.shape}, expected uint8 "
                "(H, W, 3); remove the transform that changes type or channels"
            )
        return np.asarray(augmented)


def resize_image(image: UInt8Array, size_px: int, policy: Resize) -> UInt8Array:
    """Bring an image to a square, averaging over areas where it shrinks, linearly where it only grows.

    Args:
        image: (H, W, 3), uint8.
        size_px: Side of the square in pixels.
        policy: `crop`: the shorter side becomes size_px, and the middle is taken. `squash`: both sides become
            size_px. `letterbox`: the longer side becomes size_px, the rest is padded evenly with
            `LETTERBOX_GREY`.

    Returns:
        (size_px, size_px, 3), uint8; the same array if it had that size.
    """
    height, width = image.shape[:2]
    if height == width == size_px:
        return image
    new_height, new_width = scaled_size(height, width, size_px, policy)
    shrinks = new_height < height or new_width < width
    filtered = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(image, (new_width, new_height), interpolation=filtered), dtype=np.uint8)
    if policy == "crop":
        top, left = (new_height - size_px) // 2, (new_width - size_px) // 2
        return scaled[top : top + size_px, left : left + size_px]
    if policy == "letterbox":
        top, left = (size_px - new_height) // 2, (size_px - new_width) // 2
        canvas = np.full((size_px, size_px, 3), LETTERBOX_GREY, dtype=np.uint8)
        canvas[top : top + new_height, left : left + new_width] = scaled
        return canvas
    return scaled


def scaled_size(height: int, width: int, size_px: int, policy: Resize) -> tuple[int, int]:
    """Height and width after a policy's scaling, before crop or padding; halves are rounded up."""
    if policy == "squash":
        return size_px, size_px
    side = min(height, width) if policy == "crop" else max(height, width)
    scaled_height, scaled_width = ((2 * length * size_px + side) // (2 * side) for length in (height, width))
    return max(1, scaled_height), max(1, scaled_width)


def _walk(transforms: Sequence[object]) -> Iterator[BasicTransform | BaseCompose]:
    for transform in transforms:
        if not isinstance(transform, BasicTransform | BaseCompose):
            raise InputError(f"data.init_args.augment: {transform!r} is no albumentations transform")
        yield transform
        if isinstance(transform, BaseCompose):
            yield from _walk(transform.transforms)


def transform_names() -> list[str]:
    """Names that a recipe's `augment` may use."""
    return [name for name in dir(A) if name[0].isupper()]
