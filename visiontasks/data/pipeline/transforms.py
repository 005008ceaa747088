"""Augmentation: albumentations transforms of images and what belongs to them, seeded by (seed, epoch, index)."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
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

    A Mosaic comes first. It lays the sample and others of its split, as they are on disk, into one image (Bochkovskiy
    et al. 2020, "YOLOv4: Optimal Speed and Accuracy of Object Detection"); the others are drawn from the same stream.

    Args:
        transforms: Applied in this order to uint8 RGB images.
        seed: With epoch and index, the seed of a sample's stream.
        target: What the samples have beside the image.

    Raises:
        InputError: If an entry is not an albumentations transform, or one (nested ones too) normalizes, makes tensors,
            or cannot be aligned with the target, or a Mosaic is not the first.
    """

    def __init__(self, transforms: Sequence[BasicTransform | BaseCompose], *, seed: int, target: Target) -> None:
        mosaics = [transform for transform in _walk(transforms) if isinstance(transform, A.Mosaic)]
        if target.can_be_combined and mosaics not in ([], list(transforms[:1])):
            raise InputError("data.init_args.augment: Mosaic has to be the first transform, once and not inside others")
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
        self.mosaic: A.Mosaic | None = mosaics[0] if mosaics else None
        if self.mosaic is not None:
            always = deepcopy(self.mosaic)
            always.p = 1.0  # drawn by `_tiles`, before other images are decoded
            self._mosaic_pipeline = A.Compose([always], **target.compose_options())
        rest = list(transforms[len(mosaics) :]) or [A.NoOp()]  # an empty pipeline warns of boxes that it does not move
        self.pipeline = A.Compose(rest, **target.compose_options())
        self.seed = seed
        self.target = target

    def __repr__(self) -> str:
        """All that decides the outcome."""
        first = f"{self.mosaic!r}, " if self.mosaic else ""
        rest = f"seed={self.seed}, target={self.target!r}, aligned=True"
        return f"Augmentation({first}{self.pipeline.transforms!r}, {rest})"

    @property
    def images_per_sample(self) -> int:
        """Images of the split that one image may be made of."""
        return int(np.prod(self.mosaic.grid_yx)) if self.mosaic else 1

    def __call__(
        self, sample: dict[str, Any], *, epoch: int, index: int, others: "Others | None" = None
    ) -> dict[str, Any]:
        """Augment one sample.

        Args:
            sample: `image` (H, W, 3) uint8 RGB, and the target's annotation.
            epoch: Epoch, from 0.
            index: Row of the sample in its split.
            others: The samples of the split, which a Mosaic needs.

        Returns:
            The sample with image and annotation transformed.

        Raises:
            InputError: If a transform fails, or returns another type or number of channels.
        """
        image = sample["image"]
        sample_seed = (self.seed << 64) + (epoch << 32) + index
        streams = np.random.default_rng(sample_seed), random.Random(sample_seed)
        self.pipeline.set_random_state(*streams)
        tiles = self._tiles(sample, others, *streams)
        try:
            if tiles:
                self._mosaic_pipeline.set_random_state(*streams)
                sample = {**sample, **self.target.combine(self._mosaic_pipeline, tiles)}
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

    def _tiles(
        self, sample: dict[str, Any], others: "Others | None", rng: np.random.Generator, stream: random.Random
    ) -> list[Mapping[str, Any]]:
        """A sample and as many others as a mosaic has room for; none where it is not made."""
        if self.mosaic is None or stream.random() >= self.mosaic.p:
            return []
        if others is None:
            raise ValueError("a Mosaic needs the other samples of the split")
        rows = rng.integers(others.count, size=self.images_per_sample - 1)
        return [sample, *(others.read(int(row)) for row in rows)]


@dataclass(frozen=True)
class Others:
    """The samples of a split before their augmentation.

    Args:
        count: How many there are.
        read: Gives one by its row.
    """

    count: int
    read: Callable[[int], Mapping[str, Any]]


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
