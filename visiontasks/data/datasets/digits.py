"""scikit-learn's 1,797 scanned digits (8x8 grey): real images that are there without a network."""

import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform
from sklearn.datasets import load_digits

from visiontasks.data.base import DataModule
from visiontasks.data.pipeline.geometry import Resize
from visiontasks.data.pipeline.sources import ArraySource, Source, divided

_LARGEST_VALUE = 16


class Digits(DataModule):
    """Handwritten digits as RGB, 0..16 scaled to 0..255; 1,078 train, 360 val, 359 test, stratified.

    Args:
        split_seed: Decides what is for validation and test; apart from `seed`, so that runs share their test
            set.
        image_size: Height and width in pixels of the images in a batch, or the side of square ones.
        batch_size: Images per batch and process.
        resize: How an image gets that size, as in `DataModule`.
        augment: albumentations transforms of the training images.
        num_workers: Loading processes; chosen by default.
        seed: Seed of order and augmentation; by default that of `seed_everything`.
    """

    def __init__(
        self,
        *,
        split_seed: int = 0,
        image_size: int | tuple[int, int] = 32,
        batch_size: int = 32,
        resize: Resize = "crop",
        augment: list[BasicTransform | BaseCompose] | None = None,
        num_workers: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            image_size=image_size,
            batch_size=batch_size,
            resize=resize,
            augment=augment,
            num_workers=num_workers,
            seed=seed,
        )
        self.split_seed = split_seed

    @property
    def class_names(self) -> list[str]:
        """0 to 9."""
        return [str(digit) for digit in range(10)]

    def load_sources(self) -> dict[str, Source]:
        """Split the digits 60/20/20."""
        digits = load_digits()
        images = np.floor(digits.images * (255 / _LARGEST_VALUE) + 0.5).astype(np.uint8)
        whole = ArraySource(images, digits.target)
        return divided(whole, val_fraction=0.2, test_fraction=0.2, split_seed=self.split_seed)
