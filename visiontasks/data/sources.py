"""Where the samples of a split lie before they are transformed, and how a source is split."""

from collections.abc import Sequence
from typing import Protocol, TypedDict

import cv2
import numpy as np
import numpy.typing as npt

from visiontasks.data.reader import UInt8Array, read_image
from visiontasks.errors import InputError

Labels = npt.NDArray[np.int64]


class Sample(TypedDict):
    """One sample as a source gives it."""

    image: UInt8Array
    """RGB, (H, W, 3), 0..255, of any size."""
    label: int
    """Class index."""


class Source(Protocol):
    """The samples of one split."""

    labels: Labels
    """Class index of each sample, (n,)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class ArraySource:
    """Decoded images of one size, held in memory."""

    def __init__(self, images: UInt8Array, labels: npt.NDArray[np.integer]) -> None:
        """Hold the arrays.

        Args:
            images: RGB (n, H, W, 3) or grey (n, H, W).
            labels: Class indices, (n,).
        """
        self.images = images
        self.labels = labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Sample:
        image = self.images[index]
        # A copy in both cases, so that a transform that works in place cannot change the source.
        rgb = image.copy() if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        return {"image": rgb, "label": int(self.labels[index])}


class FileSource:
    """Image files, decoded when they are asked for."""

    def __init__(self, paths: Sequence[str], labels: npt.NDArray[np.integer]) -> None:
        """Remember where the images are.

        Args:
            paths: Image files.
            labels: Class indices, (n,).
        """
        self.paths = np.array(paths, dtype=np.str_)  # one block of memory: a list of str is copied by every forked worker
        self.labels = labels.astype(np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Sample:
        return {"image": read_image(str(self.paths[index])), "label": int(self.labels[index])}


class Subset:
    """Some rows of another source, in the given order."""

    def __init__(self, source: Source, rows: npt.NDArray[np.int64]) -> None:
        """Remember the rows.

        Args:
            source: The whole.
            rows: Which of its samples, (m,).
        """
        self.source = source
        self.rows = rows
        self.labels = source.labels[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sample:
        return self.source[int(self.rows[index])]


def stratified_split(labels: Labels, fraction: float, seed: int) -> tuple[Labels, Labels]:
    """Divide rows in two so that each class is divided in the same proportion.

    The smaller part gets round(fraction * n) rows in all. Each class first gives the whole part of its share; what is
    missing to the total comes from the classes with the largest remainders (the lower class first where they are equal).

    Args:
        labels: Class index of each row, (n,).
        fraction: Share of the second part, 0..1.
        seed: Decides which rows of a class go where.

    Returns:
        Rows of the first and of the second part, each ascending.

    Raises:
        InputError: If a class is too small to be in both parts.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    shares = fraction * counts
    taken = np.floor(shares + 1e-9).astype(np.int64)
    missing = int(np.floor(fraction * len(labels) + 0.5)) - int(taken.sum())
    taken[np.argsort(-(shares - taken), kind="stable")[: max(0, missing)]] += 1
    if 0 < fraction < 1:
        too_small = classes[(taken == 0) | (taken == counts)]
        if len(too_small):
            small = int(too_small[0])
            raise InputError(
                f"cannot split off a fraction of {fraction}: class index {small} has {int((labels == small).sum())} image(s), "
                f"and each of the two parts needs one; add images of it, or change the fraction "
                "(data.init_args.val_fraction, data.init_args.test_fraction)"
            )
    second = [rng.permutation(np.flatnonzero(labels == c))[:k] for c, k in zip(classes, taken, strict=True)]
    in_second = np.zeros(len(labels), dtype=np.bool_)
    in_second[np.concatenate(second)] = True
    return np.flatnonzero(~in_second), np.flatnonzero(in_second)


def in_memory(source: Source) -> bool:
    """Whether a source's samples need no decoding."""
    return isinstance(source.source if isinstance(source, Subset) else source, ArraySource)
