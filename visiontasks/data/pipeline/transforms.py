"""Augmentation: albumentations transforms of images and what belongs to them, seeded by (seed, epoch, index)."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import albumentations as A
import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from visiontasks.data.pipeline.alignment import align
from visiontasks.data.pipeline.target import Target
from visiontasks.errors import InputError

TRANSFORM_TYPES = (BasicTransform, BaseCompose)
"""What a recipe's `augment` may be made of."""

_NORMALIZING = ("Normalize", "ToTensorV2", "ToTensor3D", "ToFloat", "FromFloat")


class Augmentation:
    """A list of albumentations transforms whose outcome depends on (seed, epoch, index) and on nothing else.

    albumentations 2.0.8 repeats one random stream in every worker and epoch, and `Compose.set_random_seed`
    starts the same stream in each transform of a pipeline, so that two flips with p=0.5 always fall together.
    Here all transforms of a sample, nested ones too, draw one after the other from one stream.

    Boxes and masks go through the same transforms and stay aligned with the image, see
    `visiontasks.data.pipeline.alignment`.
    Pixels that come in from beyond the image have no known class and are ignored in the mask, whatever `fill_mask`.

    Args:
        transforms: Applied in this order to uint8 RGB images.
        seed: With epoch and index, the seed of a sample's stream.
        target: What the samples have beside the image.

    Raises:
        InputError: If an entry is not an albumentations transform, or one (nested ones too) normalizes, makes tensors,
            or cannot be aligned with the target.
    """

    def __init__(self, transforms: Sequence[BasicTransform | BaseCompose], *, seed: int, target: Target) -> None:
        for transform in _walk(transforms):
            if type(transform).__name__ in _NORMALIZING:
                raise InputError(
                    f"data.init_args.augment: {type(transform).__name__} is refused; batches stay uint8 "
                    "0..255 and the task normalizes on the device with the backbone's own mean and std; "
                    "remove it"
                )
            if not 0 <= transform.p <= 1:  # which albumentations checks of transforms, but not of OneOf and the like
                raise InputError(
                    f"data.init_args.augment: {type(transform).__name__} has p: {transform.p}, expected 0 to 1"
                )
            align(transform, target)
        self.pipeline = A.Compose(list(transforms), **target.compose_options())
        self.seed = seed
        self.target = target

    def __repr__(self) -> str:
        """All that decides the outcome."""
        return f"Augmentation({self.pipeline.transforms!r}, seed={self.seed}, target={self.target!r}, aligned=True)"

    def __call__(self, sample: dict[str, Any], *, epoch: int, index: int) -> dict[str, Any]:
        """Augment one sample.

        Args:
            sample: `image` (H, W, 3) uint8 RGB, and the target's annotation.
            epoch: Epoch, from 0.
            index: Row of the sample in its split.

        Returns:
            The sample with image and annotation transformed.

        Raises:
            InputError: If a transform fails, or returns another type or number of channels.
        """
        image = sample["image"]
        sample_seed = (self.seed << 64) + (epoch << 32) + index
        self.pipeline.set_random_state(np.random.default_rng(sample_seed), random.Random(sample_seed))
        try:
            augmented = self.target.augment(self.pipeline, sample)
        except Exception as error:  # a transform may raise anything when the image does not suit it
            raise InputError(
                f"data.init_args.augment: failed on sample {index}, {image.shape[1]}x{image.shape[0]} pixels ({error})"
            ) from error
        image = augmented["image"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(
                f"data.init_args.augment: gave {image.dtype} of shape {image.shape}, expected uint8 "
                "(H, W, 3); remove the transform that changes type or channels"
            )
        return {**sample, **augmented}


def _walk(transforms: Sequence[object]) -> Iterator[BasicTransform | BaseCompose]:
    for transform in transforms:
        if not isinstance(transform, BasicTransform | BaseCompose):
            raise InputError(f"data.init_args.augment: {transform!r} is not an albumentations transform")
        yield transform
        if isinstance(transform, BaseCompose):
            yield from _walk(transform.transforms)


def transform_names() -> list[str]:
    """Names that a recipe's `augment` may use."""
    return [name for name in dir(A) if name[0].isupper()]
