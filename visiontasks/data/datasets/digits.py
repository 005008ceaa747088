"""scikit-learn's 1,797 scanned digits (8x8 grey): real images that are there without a network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from visiontasks.data.base import DataModule
from visiontasks.data.pipeline.sources import ArraySource, Source, divided
from visiontasks.data.targets import LabelTarget
from visiontasks.library_internals import digits_file

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
        values, labels = scanned_digits()
        whole = ArraySource(np.floor(values * (255 / _LARGEST_VALUE) + 0.5).astype(np.uint8), labels)
        return divided(whole, val_fraction=0.2, test_fraction=0.2, split_seed=self.split_seed)


def scanned_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What `sklearn.datasets.load_digits` gives, without importing scikit-learn, which takes as long as lightning.

    Returns:
        Values 0..16, (1797, 8, 8), and the digit of each, (1797,).
    """
    path = digits_file()
    if path is None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        values: NDArray[np.float64] = digits.images
        return values, np.asarray(digits.target, np.int64)
    rows = np.loadtxt(path, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
