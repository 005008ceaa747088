"""Where the samples of a split lie before they are transformed, and how one source is split in two."""

import copy
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, Protocol, TypedDict, runtime_checkable
from zlib import crc32

import cv2
import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.reader import LeastSize, NotedSize, UInt8Array, read_image
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array

Int64Array = npt.NDArray[np.int64]

BLOCKS, BLOCK_BYTES = 16, 2**16
"""Blocks of a large file whose checksum shows a change."""


class Annotation(TypedDict):
    """What a sample has beside its image, by its target."""

    label: NotRequired[int]
    """Class index."""
    labels_hot: NotRequired[Float32Array]
    """Of each class 1, 0, or NaN where it is not known, (K,)."""
    boxes: NotRequired[Float32Array]
    """xyxy in pixels of the image, (N, 4)."""
    labels: NotRequired[Int64Array]
    """Class index of each box, (N,)."""
    crowd: NotRequired[npt.NDArray[np.bool_]]
    """Which boxes are regions to ignore, (N,)."""
    mask: NotRequired[UInt8Array]
    """Class index of each pixel, 255 where it is not known, (H, W)."""
    full_size: NotRequired[tuple[int, int]]
    """Height and width of an image that was decoded smaller."""


class Sample(Annotation):
    """One sample as a source gives it."""

    image: UInt8Array
    """RGB, (H, W, 3), of any size."""


@runtime_checkable
class Source(Protocol):
    """The samples of one split."""

    labels: Int64Array
    """Class index of each sample (of its first object, -1 without one; 0 for masks), by which splits are stratified."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@runtime_checkable
class DecodingSource(Source, Protocol):
    """Samples whose images have to be decoded each time."""

    def annotation(self, index: int) -> Annotation:
        """What a sample has beside its image, which is not decoded."""
        ...


class ArraySource:
    """Decoded images of one size, held in memory, with labels, a labelled box each, or masks.

    Args:
        images: RGB (n, H, W, 3) or grey (n, H, W).
        labels: Class indices, (n,); 0 for masks.
        boxes: xyxy in pixels, (n, 4).
        masks: Class index of each pixel, (n, H, W).
        paths: The files that the images come from, by which they are named, (n,).
    """

    def __init__(
        self,
        images: UInt8Array,
        labels: npt.NDArray[np.integer],
        *,
        boxes: Float32Array | None = None,
        masks: UInt8Array | None = None,
        paths: Sequence[str] | None = None,
    ) -> None:
        self.images = images
        self.labels = labels.astype(np.int64)
        self.boxes = boxes
        self.masks = masks
        self.paths = None if paths is None else np.array(paths, dtype=np.str_)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Sample:
        image = self.images[index]
        # A copy in both cases, so that a transform that works in place cannot change the source.
        rgb = image.copy() if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
        if self.masks is not None:
            return {"image": rgb, "mask": self.masks[index].copy()}
        if self.boxes is not None:
            row = slice(index, index + 1)
            return {"image": rgb, "boxes": self.boxes[row].copy(), "labels": self.labels[row].copy()}
        return {"image": rgb, "label": int(self.labels[index])}


class FileSource:
    """Image files, decoded when they are asked for.

    Args:
        paths: Image files.
        labels: Class indices, (n,).
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """

    def __init__(self, paths: Sequence[str], labels: npt.NDArray[np.integer], *, max_16bit: int | None = None) -> None:
        # One block of memory: forked workers would copy a list of str by touching its reference counts.
        self.paths = np.array(paths, dtype=np.str_)
        self.labels = labels.astype(np.int64)
        self.max_16bit = max_16bit
        self.least_size: LeastSize | None = None
        """How small images may be decoded, as for `read_image`."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Sample:
        path = str(self.paths[index])
        if self.least_size is None:
            return {"image": read_image(path, max_16bit=self.max_16bit), **self.annotation(index)}
        noted = NotedSize(self.least_size)
        sample: Sample = {
            "image": read_image(path, least_size=noted, max_16bit=self.max_16bit),
            **self.annotation(index),
        }
        return sample if noted.size is None else {**sample, "full_size": noted.size}

    def annotation(self, index: int) -> Annotation:
        """What a sample has beside its image, which is not decoded."""
        return {"label": int(self.labels[index])}


class Subset:
    """Some rows of another source, in the given order.

    Args:
        source: The whole.
        rows: Which of its samples, (m,).
    """

    def __init__(self, source: Source, rows: Int64Array) -> None:
        self.labels = source.labels[rows]
        # of a subset, its own whole: one look-up for each sample
        self.source: Source = source.source if isinstance(source, Subset) else source
        self.rows: Int64Array = source.rows[rows] if isinstance(source, Subset) else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sample:
        return self.source[int(self.rows[index])]


def in_memory(source: Source) -> bool:
    """Whether a source's samples need no decoding."""
    return isinstance(source.source if isinstance(source, Subset) else source, ArraySource)


def reduced(source: Source, least_size: LeastSize | None) -> Source:
    """The same samples, with JPEGs decoded smaller where they have nothing but a label."""
    if isinstance(source, Subset):
        whole = reduced(source.source, least_size)
        if whole is source.source:
            return source
        subset = copy.copy(source)
        subset.source = whole
        return subset
    if least_size is None or not isinstance(source, FileSource):
        return source
    files = copy.copy(source)
    files.least_size = least_size
    return files


def base_row(source: Source, index: int) -> tuple[Source, int]:
    """The source that a sample comes from, never a subset, and its row there."""
    return (source.source, int(source.rows[index])) if isinstance(source, Subset) else (source, index)


def annotation(source: Source, index: int) -> Annotation:
    """What a sample has beside its image, which is not decoded."""
    base, row = base_row(source, index)
    return base.annotation(row) if isinstance(base, DecodingSource) else base[row]


def sample_path(source: Source, index: int) -> str:
    """A sample's image file; empty where it comes from no file of its own."""
    base, row = base_row(source, index)
    paths = getattr(base, "paths", None)
    return "" if paths is None else str(paths[row])


def fingerprint(source: Source) -> str:
    """A name for a source's content: of files by path, size, time and `content_checksum`, of all else by its bytes."""
    found = hashlib.blake2b(type(source).__name__.encode(), digest_size=16)
    for name, value in sorted(vars(source).items()):
        found.update(name.encode())
        if isinstance(value, np.ndarray):
            found.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
        else:
            found.update((fingerprint(value) if isinstance(value, Source) else repr(value)).encode())
    paths = getattr(source, "paths", None)
    for path in () if paths is None else paths:
        status = Path(str(path)).stat()
        found.update(f"{status.st_size} {status.st_mtime_ns} {content_checksum(str(path))}".encode())
    return found.hexdigest()


def content_checksum(path: str) -> int:
    """CRC-32 of a file of up to a megabyte, of a larger one of its head, its tail and blocks evenly between them."""
    checksum = 0
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (half the time of Path.open)
        size = os.fstat(file.fileno()).st_size
        if size <= BLOCKS * BLOCK_BYTES:
            return crc32(file.read())
        for block in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * block // (BLOCKS - 1))
            checksum = crc32(file.read(BLOCK_BYTES), checksum)
    return checksum


def sample_name(source: Source, index: int) -> str:
    """A sample's file name, or its index where it comes from no file of its own."""
    path = sample_path(source, index)
    return Path(path).name if path else str(base_row(source, index)[1])


def divided(whole: Source, *, val_fraction: float, test_fraction: float, split_seed: int) -> dict[str, Source]:
    """Split validation and test off, stratified by label.

    Args:
        whole: Everything.
        val_fraction: Share of the whole for validation.
        test_fraction: Share of the whole for test; 0 for no test split.
        split_seed: Decides which samples go where.

    Returns:
        The sources train, val and perhaps test.

    Raises:
        InputError: As `stratified_split`.
    """
    rows = divide(whole.labels, val_fraction=val_fraction, test_fraction=test_fraction, seed=split_seed)
    return {split: Subset(whole, of_split) for split, of_split in rows.items()}


def stratified_split(labels: Int64Array, fraction: float, seed: int) -> tuple[Int64Array, Int64Array]:
    """Divide rows in two parts with the same proportions of classes.

    The second part gets round(fraction * n) rows: of each class the whole part of its share, and one more
    from the classes with the largest remainders (the lower class where they are equal) until the total is
    reached. Then every class is given at least one row in each part, which with tiny classes can shift the
    total.

    Args:
        labels: Class index of each row, (n,).
        fraction: Share of the second part, between 0 and 1.
        seed: Decides which rows of a class go where.

    Returns:
        Rows of the first and of the second part, each ascending.

    Raises:
        InputError: If a class has a single row, fraction is not between 0 and 1, or seed is negative.
    """
    if not 0 < fraction < 1:
        raise InputError(f"cannot split off a fraction of {fraction}, expected one between 0 and 1")
    if seed < 0:
        raise InputError(f"data.init_args.split_seed: {seed}, expected 0 or more")
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        single = int(classes[counts.argmin()])
        raise InputError(f"cannot split class {single}, it has a single image; expected at least one for each part")
    shares = fraction * counts
    taken = np.floor(shares + 1e-9).astype(np.int64)  # 0.29 * 100 is 28.999999999999996
    missing = int(np.floor(fraction * len(labels) + 0.5)) - int(taken.sum())
    taken[np.argsort(taken - shares, kind="stable")[: max(0, missing)]] += 1
    taken = np.clip(taken, 1, counts - 1)
    rng = np.random.default_rng(seed)
    in_second = np.zeros(len(labels), dtype=np.bool_)
    for label, number in zip(classes, taken, strict=True):
        in_second[rng.permutation(np.flatnonzero(labels == label))[:number]] = True
    return np.flatnonzero(~in_second), np.flatnonzero(in_second)


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Check the shares of the images that a dataset splits off for validation and test.

    Raises:
        InputError: If one is out of range, or they leave nothing to train on.
    """
    if not 0 < val_fraction < 1:
        raise InputError(f"data.init_args.val_fraction: {val_fraction}, expected between 0 and 1, like 0.2")
    if not 0 <= test_fraction <= 1:
        raise InputError(f"data.init_args.test_fraction: {test_fraction}, expected 0 to 1, like 0.2")
    if val_fraction + test_fraction >= 1 and test_fraction != 1:
        raise InputError(
            f"data.init_args.val_fraction: {val_fraction} and test_fraction: {test_fraction} leave "
            "nothing to train on, expected less than 1 together"
        )


def divide(labels: Int64Array, *, val_fraction: float, test_fraction: float, seed: int) -> dict[str, Int64Array]:
    """Split validation and test off with the same proportions of classes, as shares of the whole.

    Args:
        labels: Class index of each row, (n,); every class at least as often as there are parts.
        val_fraction: Share of validation.
        test_fraction: Share of test; 0 for none.
        seed: Decides which rows go where.

    Returns:
        Rows of `train`, `val` and, unless its share is 0, `test`, each ascending.
    """
    rest, test = np.arange(len(labels)), None
    if test_fraction > 0:
        rest, test = stratified_split(labels, test_fraction, seed)
    train, val = stratified_split(labels[rest], val_fraction / (1 - test_fraction), seed)
    parts = {"train": rest[train], "val": rest[val]}
    return parts if test is None else {**parts, "test": test}
