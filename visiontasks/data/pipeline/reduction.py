"""How much smaller than it is an image may be decoded, so that what the network sees stays the same."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from albumentations.core.composition import BaseCompose

from visiontasks.data.pipeline.transforms import Augmentation
from visiontasks.outputs.geometry import Resize, Size, scaled_size

LEAST_TIMES = 2.0
"""At twice the size that an image is resized to, its pixels are still averaged: what libjpeg has averaged before hardly
shows (1 grey level of 255 on average, on photographs)."""

_SCALE_FREE = frozenset(
    {
        *("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry", "RandomRotate90", "NoOp"),
        *("ColorJitter", "RandomBrightnessContrast", "HueSaturationValue", "RGBShift", "RandomGamma"),
        *("ToGray", "ChannelShuffle", "InvertImg", "Solarize", "Posterize"),
    }
)
"""Transforms that do the same to an image at any scale. Others may count pixels: a blur, noise, a crop of a size."""


@dataclass(frozen=True)
class Reduction:
    """What must be left of an image: so many times the size that the resize scales it to.

    Args:
        target: Height and width of the images in a batch.
        policy: The resize policy, not `keep`.
        times: At least 1.
    """

    target: Size
    policy: Resize
    times: float

    def __call__(self, size: Size) -> Size:
        """The least height and width of an image of a size."""
        height, width = scaled_size(size, self.target, self.policy)
        return ceil(self.times * height), ceil(self.times * width)


def reduction(target: Size, policy: Resize, augmentation: Augmentation | None) -> Reduction | None:
    """How small images may be decoded that are augmented and then resized; None if they must not be.

    At least twice the size that they are resized to; where the augmentation enlarges parts of them, at least as
    much as it can enlarge, so that no part is blurred.

    Args:
        target: Height and width of the images in a batch.
        policy: The resize policy.
        augmentation: What comes before the resize. With a transform that is not known to do the same at any scale,
            images are not reduced.
    """
    zoom = 1.0 if augmentation is None else _zoom(augmentation.pipeline.transforms)
    if policy == "keep" or zoom is None:
        return None
    return Reduction(target, policy, max(LEAST_TIMES, zoom))


def _zoom(transforms: Iterable[Any]) -> float | None:
    """How many times transforms enlarge at most, one after the other; None where it is not known."""
    zoom = 1.0
    for transform in transforms:
        name = type(transform).__name__
        if isinstance(transform, BaseCompose):
            found = _zoom(transform.transforms)
        elif name == "RandomResizedCrop":
            longest = max(*transform.ratio, *(1 / ratio for ratio in transform.ratio))
            found = sqrt(longest / min(transform.scale))
        elif name == "Affine" and not any(map(any, (transform.translate_px or {}).values())):
            found = max(1.0, *(high for _, high in transform.scale.values()))
        else:
            found = 1.0 if name in _SCALE_FREE else None
        if found is None:
            return None
        zoom *= found
    return zoom
