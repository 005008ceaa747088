"""Images that are there twice, as the same pixels or nearly so, without comparing pictures pair by pair in Python.

A perceptual hash proposes pairs, a small picture of each decides. The hash is pHash, based on the discrete cosine
transform: which of the lowest frequencies are above their median. Implementation and Benchmarking of Perceptual Image
Hash Functions, Christoph Zauner, 2010, https://www.phash.org/docs/pubs/thesis_zauner.pdf. Here the lowest frequency of
all, the mean, is left out, so that there are 63 bits, and the picture is shrunk by area instead of a mean filter.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.outputs.geometry import Float32Array

UInt64Array = npt.NDArray[np.uint64]

THUMBNAIL_PX = 16
LEAST_SIDE_PX = 32
"""Smaller images are not searched: of MNIST's 10,000 test digits (28 px), 2,707 would pass for one of training."""
LARGEST_DISTANCE = 10
"""Bits of 63. JPEG quality 60, 80 % of the size or 110 % of the brightness moved none of 1,700 images by more than
6."""
LEAST_CORRELATION = 0.95
"""Of thumbnails. 120 pairs of CIFAR-10's train and test from 0.93 to 0.98 were looked at: all were duplicates."""
LEAST_CONTRAST = 4.0
"""Standard deviation of a thumbnail's grey, of 255; flatter ones are all alike."""

_HASHED_PX = 32
_FREQUENCIES = 8
_ROWS = 256
_PAIRS = 10_000


def thumbnail_and_hash(image: UInt8Array) -> tuple[UInt8Array, int]:
    """What near duplicates are recognized by.

    Args:
        image: RGB, (H, W, 3).

    Returns:
        Its grey at 16x16 pixels, (16, 16), and pHash.
    """
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_HASHED_PX, _HASHED_PX), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(grey.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    bits = np.packbits(np.append(waves > np.median(waves), False))
    thumbnail = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(thumbnail, dtype=np.uint8), int(bits.view(np.uint64)[0])


def near_pairs(
    hashes: UInt64Array, thumbnails: UInt8Array, first: Int64Array, second: Int64Array
) -> Iterator[tuple[int, int, float]]:
    """Pairs of nearly the same picture, one of each group: re-encoded, resized, or somewhat brighter.

    Memory does not grow with the number of pairs; time does with len(first) * len(second), 0.3 s for 10,000 * 10,000.

    Args:
        hashes: pHash of each image, (n,).
        thumbnails: (n, 16, 16).
        first: Rows of the images that are compared with all of `second`.
        second: Rows of the others.

    Yields:
        A row of `first`, one of `second`, and how alike the two are, up to 1; in the order of `first`.
    """
    first, second = (rows[_has_contrast(thumbnails, rows)] for rows in (first, second))
    for start in range(0, len(first), _ROWS):
        rows = first[start : start + _ROWS]
        distance = np.bitwise_count(hashes[rows, None] ^ hashes[second][None])
        i, j = np.nonzero(distance <= LARGEST_DISTANCE)
        for at in range(0, len(i), _PAIRS):
            pair = rows[i[at : at + _PAIRS]], second[j[at : at + _PAIRS]]
            alike = np.einsum("nk,nk->n", *(_normalized(thumbnails[rows_of]) for rows_of in pair))
            for k in np.flatnonzero(alike >= LEAST_CORRELATION):
                yield int(pair[0][k]), int(pair[1][k]), float(alike[k])


def near_groups(hashes: UInt64Array, thumbnails: UInt8Array) -> Int64Array:
    """Number images so that near duplicates, also by way of others, have the same number.

    Args:
        hashes: pHash of each image, (n,); 0 for one that is not compared.
        thumbnails: (n, 16, 16).

    Returns:
        The lowest row among an image's near duplicates, itself included, (n,).
    """
    parent = np.arange(len(hashes))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    rows = np.flatnonzero(hashes)
    for first, second, _ in near_pairs(hashes, thumbnails, rows, rows):
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return np.array([root(row) for row in range(len(parent))], dtype=np.int64)


def equal_groups(digests: Sequence[bytes]) -> list[list[int]]:
    """Rows of images with the same pixels, of each that is there more than once; an empty digest is none."""
    rows: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest:
            rows.setdefault(digest, []).append(row)
    return [group for group in rows.values() if len(group) > 1]


def _has_contrast(thumbnails: UInt8Array, rows: Int64Array) -> npt.NDArray[np.bool_]:
    """Whether each of the given thumbnails is not flat."""
    parts = [thumbnails[rows[at : at + _PAIRS]].std((1, 2)) for at in range(0, len(rows), _PAIRS)]
    return np.concatenate([*parts, np.zeros(0)]) >= LEAST_CONTRAST


def _normalized(thumbnails: UInt8Array) -> Float32Array:
    """Thumbnails whose scalar product is their correlation, (n, 256)."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.sqrt(np.einsum("nk,nk->n", flat, flat))[:, None]
    return flat
