"""scikit-learn's 1,797 scanned digits (8x8 grey): real images that are there without a network."""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from visiontasks.data.base import DataModule
from visiontasks.data.pipeline.sources import ArraySource, Source, divided
from visiontasks.data.targets import LabelTarget

_LARGEST_VALUE = 16


class Digits(DataModule):
    """Handwritten digits as RGB, 0..16 scaled to 0..255; 1,078 train, 360 val, 359 test, stratified.

    Args:
        split_seed: Decides what is for validation and test; apart from `seed`, so that runs share their test
            set.
        **kwargs: Arguments of `DataModule`.
    """

    def __init__(self, *, split_seed: int = 0, image_size: int | tuple[int, int] = 32, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, cache_images_gb=0, max_16bit=None, target=LabelTarget(), **kwargs)
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
